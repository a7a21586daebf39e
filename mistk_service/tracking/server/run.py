"""Serving alone."""


def serve_tracking() -> None: ...
