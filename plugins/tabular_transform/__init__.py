"""A transform plugin for tables: split, scale, one-hot and deduplicate."""

from .transform import TabularTransform

__all__ = ["TabularTransform"]
