"""A generator of text, which learns from a book which characters follow each other."""

from .model import TextGenerator

__all__ = ["TextGenerator"]
