"""``mistk.evaluation``."""
