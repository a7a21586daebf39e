"""The kinds of container."""
