"""Reads images from a table of text: a row is an image, with 64 columns of pixels and optionally an id and a label.

With a header, columns are identified by name. Otherwise their number decides: 64 are pixels; 66 are id, label and pixels; 65
are pixels and the label, as in the UCI repository, or the id and pixels if the first column cannot be a pixel.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .errors import UnreadableData
from .images import CLASSES, DARKEST, PIXELS, Floats, Images, Ints

__all__ = ["parse_csv"]

_DELIMITERS = ",;\t|"
_ID_NAMES = {"", "id", "ids", "name", "key", "index", "image", "image_id", "filename"}
_LABEL_NAMES = {"label", "labels", "digit", "class", "target", "y"}
_EXPECTED = f"Expected {PIXELS} pixel columns and optionally one id and one label column"

#: A line number, from 1, and its cells.
_Row = tuple[int, Sequence[str]]


@dataclass(frozen=True)
class _Layout:
    """The columns of a table; ``names`` are those of the header, or empty."""

    width: int
    pixels: Sequence[int]
    label: int | None = None
    identifier: int | None = None
    names: Sequence[str] = ()

    def place(self, row: _Row, column: int) -> str:
        """Return the position of a cell, for messages."""
        name = f" ({self.names[column]})" if self.names and self.names[column] else ""
        return f"line {row[0]}, column {column + 1}{name}"


def parse_csv(text: str, source: str) -> Images:
    """Read a table of images.

    Args:
        text: comma, semicolon, tab, bar or white space between the cells; empty lines do not count, nor do lines
            that begin with # at the top.
        source: the name for error messages.

    Raises:
        UnreadableData: it is not a table of images; the message names line and column.
    """
    rows = list(_rows(text, source))
    if not rows:
        raise UnreadableData(f"{source} is empty. {_EXPECTED}.")
    header = _is_header(rows[0][1])
    layout = _named_layout(rows[0][1], source) if header else _bare_layout(rows[0][1], source)
    body = rows[1:] if header else rows
    if not body:
        raise UnreadableData(f"{source} has a header but no images below it.")
    _check_widths(body, layout, source)
    return Images(_ids(body, layout, source), _pixels(body, layout, source), _labels(body, layout, source))


def _rows(text: str, source: str) -> Iterator[_Row]:
    lines = text.splitlines(keepends=True)
    # Only at the top: further down, it may be the id of an image.
    above = sum(1 for _ in itertools.takewhile(lambda line: not line.strip() or line.startswith("#"), lines))
    lines = lines[above:]
    delimiter = max(_DELIMITERS, key=lines[0].count) if lines else ","
    if lines and delimiter not in lines[0]:
        yield from ((number, line.split()) for number, line in enumerate(lines, above + 1) if line.strip())
        return
    # With csv instead of split: a quoted id may contain the delimiter or a line break.
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    before = above
    try:
        for cells in reader:
            if any(cells):
                yield before + 1, [cell.strip() for cell in cells]
            before = above + reader.line_num
    except csv.Error as error:
        raise UnreadableData(f"{source}, line {above + reader.line_num}: {error}.") from error


def _is_header(cells: Sequence[str]) -> bool:
    return sum(_number(cell) is None for cell in cells) > len(cells) / 2


def _named_layout(cells: Sequence[str], source: str) -> _Layout:
    names = [cell.strip() for cell in cells]
    identifiers = [i for i, name in enumerate(names) if name.lower() in _ID_NAMES]
    labels = [i for i, name in enumerate(names) if name.lower() in _LABEL_NAMES]
    pixels = [i for i in range(len(names)) if i not in {*identifiers, *labels}]
    if len(pixels) != PIXELS or len(labels) > 1 or len(identifiers) > 1:
        raise UnreadableData(
            f"{source}: the header names {len(pixels)} pixel, {len(identifiers)} id and {len(labels)} label columns. "
            f"{_EXPECTED} (the id called id or name, the label called label, digit, class, target or y)."
        )
    return _Layout(len(names), _in_order(pixels, names), next(iter(labels), None), next(iter(identifiers), None), names)


def _in_order(pixels: list[int], names: Sequence[str]) -> list[int]:
    """Sort the columns by the numbers in their names (p0, p1, p10 ...), where these are the numbers of the pixels."""
    numbers = {i: int(match[1]) for i in pixels if (match := re.fullmatch(r"[^\d]*(\d{1,2})", names[i], re.ASCII))}
    if sorted(numbers.values()) in (list(range(PIXELS)), list(range(1, PIXELS + 1))):
        return sorted(pixels, key=numbers.__getitem__)
    return pixels


def _bare_layout(cells: Sequence[str], source: str) -> _Layout:
    width = len(cells)
    if width == PIXELS:
        return _Layout(width, range(PIXELS))
    if width == PIXELS + 2:
        return _Layout(width, range(2, width), label=1, identifier=0)
    if width == PIXELS + 1:
        first = _number(cells[0])
        if first is None or not 0 <= first <= DARKEST:
            return _Layout(width, range(1, width), identifier=0)
        return _Layout(width, range(PIXELS), label=PIXELS)
    raise UnreadableData(f"{source} has {width} column{'' if width == 1 else 's'}. {_EXPECTED}.")


def _check_widths(body: Sequence[_Row], layout: _Layout, source: str) -> None:
    for number, cells in body:
        if len(cells) != layout.width:
            raise UnreadableData(
                f"{source}, line {number}: it has {len(cells)} columns, but the first line has {layout.width}."
            )


def _pixels(body: Sequence[_Row], layout: _Layout, source: str) -> Floats:
    try:
        pixels = np.array([[cells[i] for i in layout.pixels] for _, cells in body], dtype=np.float64)
    except ValueError:
        raise UnreadableData(_not_numeric(body, layout, source)) from None
    wrong = np.argwhere(~((pixels >= 0) & (pixels <= DARKEST)))
    if len(wrong):
        row, pixel = wrong[0]
        raise UnreadableData(
            f"{source}, {layout.place(body[row], layout.pixels[pixel])}: the pixel is {pixels[row, pixel]:g}, and "
            f"not in 0..{DARKEST:g}. {_hint(layout)}"
        )
    return pixels


def _not_numeric(body: Sequence[_Row], layout: _Layout, source: str) -> str:
    row, column = next((row, i) for row in body for i in layout.pixels if _number(row[1][i]) is None)
    return f"{source}, {layout.place(row, column)}: {row[1][column]!r} is not a number. {_hint(layout)}"


def _labels(body: Sequence[_Row], layout: _Layout, source: str) -> Ints | None:
    if layout.label is None:
        return None
    column = layout.label
    if not any(cells[column] for _, cells in body):
        return None
    labels = np.empty(len(body), dtype=np.int64)
    for index, row in enumerate(body):
        value = _number(row[1][column])
        if value is None or value not in range(CLASSES):
            raise UnreadableData(
                f"{source}, {layout.place(row, column)}: the label is {row[1][column]!r}; expected a digit 0..9. "
                f"{_hint(layout)}"
            )
        labels[index] = int(value)
    return labels


def _ids(body: Sequence[_Row], layout: _Layout, source: str) -> tuple[str, ...]:
    if layout.identifier is None:
        return tuple(str(index) for index in range(len(body)))
    lines: dict[str, int] = {}
    for number, cells in body:
        identifier = cells[layout.identifier]
        if identifier in lines:
            raise UnreadableData(
                f"{source}, line {number}: the id {identifier!r} is also that of line {lines[identifier]}."
            )
        lines[identifier] = number
    return tuple(lines)


def _hint(layout: _Layout) -> str:
    if layout.names:
        return "Pixels are numbers 0..16, labels digits 0..9."
    taken = "its last column for the label" if layout.label == PIXELS else "its columns for pixels"
    taken = "its first column for the id and the second for the label" if layout.label == 1 else taken
    return f"The table has no header, so {taken} was assumed; if that is wrong, add a header."


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None
