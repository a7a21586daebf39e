"""Rows and columns, as several APIs have them, and predictions for them."""
