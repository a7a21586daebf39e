"""``mistk.utils``."""
