"""``mistk.transform``."""
