"""The commands ``mistk-service tracking ...``."""
