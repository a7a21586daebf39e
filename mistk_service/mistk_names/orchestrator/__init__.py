"""``mistk.orchestrator``."""
