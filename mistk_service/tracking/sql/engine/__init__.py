"""Connections, the writer, and the differences between databases."""
