"""A classifier of handwritten digits: the showcase of a model that uses everything a container offers."""

from .model import Digits

__all__ = ["Digits"]
