"""``mistk.model``."""
