"""A module whose import fails with an exception that has no text."""


class NoTextError(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


raise NoTextError
