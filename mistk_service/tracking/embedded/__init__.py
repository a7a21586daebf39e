"""A store and a server inside another application."""
