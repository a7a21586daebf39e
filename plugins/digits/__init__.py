"""A classifier of handwritten digits, which uses all features of a container."""

from .model import Digits

__all__ = ["Digits"]
