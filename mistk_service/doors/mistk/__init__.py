"""MISTK's lifecycle API."""
