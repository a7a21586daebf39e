"""A tracking store and server inside another application."""
