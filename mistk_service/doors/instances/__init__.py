"""Rows and columns, in the formats of several APIs, and predictions for them."""
