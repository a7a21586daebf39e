"""A generator of text: the showcase of a model that generates, in characters that follow each other as they do in a book."""

from .model import TextGenerator

__all__ = ["TextGenerator"]
