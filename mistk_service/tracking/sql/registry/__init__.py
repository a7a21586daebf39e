"""Registered and logged models in SQL."""
