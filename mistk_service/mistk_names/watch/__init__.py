"""``mistk.watch``."""
