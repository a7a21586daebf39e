"""A module whose import fails with a message that is not valid Unicode."""

raise ValueError("a lone \udcff surrogate")
