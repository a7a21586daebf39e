"""Positions that are equal after a rotation or a reflection."""

from __future__ import annotations

from functools import cache


def _turned(cells: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(cells[cell] for cell in (6, 3, 0, 7, 4, 1, 8, 5, 2))


def _mirrored(cells: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(cells[cell] for cell in (2, 1, 0, 5, 4, 3, 8, 7, 6))


def canonical(board: list[float], cell: int) -> str:
    """Return the name of the position after a move, the same for all its symmetric forms: ``x`` has moved, ``o`` is next."""
    after = "".join("x" if number == cell or value > 0 else "o" if value else "." for number, value in enumerate(board))
    return _smallest(after)


@cache
def _smallest(position: str) -> str:
    cells = tuple(range(9))
    forms = []
    for _ in range(4):
        forms += [cells, _mirrored(cells)]
        cells = _turned(cells)
    return min("".join(position[cell] for cell in form) for form in forms)
