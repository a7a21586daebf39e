"""``mistk.agent``."""
