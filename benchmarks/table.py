"""Renders figures as a table: a ratio, its two figures, the target, and whether it was met."""

from __future__ import annotations

import os
import platform
import re
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

__all__ = ["Figures", "Row", "machine", "markdown", "render"]


class Figures:
    """The measurements of each round, by server and name."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], list[float]] = defaultdict(list)

    def add(self, server: str, **values: float) -> None:
        """Add the figures of one round."""
        for name, value in values.items():
            self._values[server, name].append(value)

    def median(self, server: str, name: str) -> float:
        """Return the median over the rounds; NaN for what was not measured."""
        values = self._values.get((server, name))
        return statistics.median(values) if values else float("nan")

    def last(self, server: str, name: str) -> float:
        """Return the figure of the latest round."""
        return self._values[server, name][-1]

    def known(self, server: str, name: str) -> bool:
        """Return whether it was measured."""
        return (server, name) in self._values

    def rounds(self) -> int:
        """Return the most rounds that any figure has."""
        return max(map(len, self._values.values()), default=0)


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: the name of the measurement.
        ours: the server and the name of the figure of ours.
        against: those of the peer; None if the figure itself is compared with the target.
        unit: the unit of both.
        target: the target of the ratio or the figure; None for a row without a target.
        at_least: whether the target is a lower bound; otherwise it is an upper one.
        scale: divides the figures before they are shown.
    """

    what: str
    ours: tuple[str, str]
    against: tuple[str, str] | None
    unit: str
    target: float | None
    at_least: bool = True
    scale: float = 1.0

    def cells(self, figures: Figures) -> list[str]:
        """Return the cells of the line."""
        own = figures.median(*self.ours) / self.scale
        other = figures.median(*self.against) / self.scale if self.against else None
        value = own if other is None else own / other
        shown = "" if other is None else f"{_number(other)} {self.unit}"
        ratio = "" if other is None else f"{value:.2f}"
        return [self.what, f"{_number(own)} {self.unit}", shown, ratio, *self._verdict(value, other is None)]

    def _verdict(self, value: float, absolute: bool) -> tuple[str, str]:
        if self.target is None:
            return "", ""
        bound = "at least" if self.at_least else "at most"
        met = value >= self.target if self.at_least else value <= self.target
        return f"{bound} {self.target:.3g}{f' {self.unit}' if absolute else ''}", "yes" if met else "no"


def render(rows: list[Row], figures: Figures) -> str:
    """Return the table in Markdown."""
    known = [row for row in rows if figures.known(*row.ours) and (row.against is None or figures.known(*row.against))]
    return markdown(("what", "ours", "against", "ratio", "target", "met"), [row.cells(figures) for row in known])


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown, with columns of even width."""
    widths = [max(map(len, cells)) for cells in zip(head, *lines, strict=True)]
    rule = ["-" * width for width in widths]
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in [head, rule, *lines])


def machine() -> str:
    """Return the machine and the date in a line."""
    file = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", file.read_text()) if file.exists() else None
    model = found[1] if found else "unknown CPU"
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{os.cpu_count()} cores, {model}, {platform.system()}, Python {platform.python_version()}, {date}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
