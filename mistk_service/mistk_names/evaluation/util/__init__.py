"""``mistk.evaluation.util``."""
