"""Predictions as answers, as a CSV file, and as an explanation."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .files import write_atomically
from .images import DARKEST, SIDE, Floats, Ints

__all__ = ["FILE_NAME", "Predictions", "explanation", "picture", "save_predictions"]

FILE_NAME = "predictions.csv"
#: From an empty pixel to a full one.
_INK = " .:-=+*#%@"
#: Digits after the point: further digits may depend on the images that were computed together.
_DIGITS = 6


@dataclass(frozen=True, eq=False)
class Predictions:
    """The predictions for some images.

    Attributes:
        ids: the names of the images.
        probabilities: shape (n, 10), rows that add up to 1.
    """

    ids: tuple[str, ...]
    probabilities: Floats

    @property
    def labels(self) -> Ints:
        """The most probable digit of each image."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    @property
    def confidences(self) -> Floats:
        """The probability of that digit, as it is shown."""
        return np.asarray(self.probabilities.max(axis=1), dtype=np.float64).round(_DIGITS)

    def answers(self) -> dict[str, dict[str, Any]]:
        """Return ``{"label": digit, "confidence": probability}`` for each image."""
        return {
            identifier: {"label": int(label), "confidence": float(confidence)}
            for identifier, label, confidence in zip(self.ids, self.labels, self.confidences, strict=True)
        }

    def accuracy(self, truth: Ints) -> float:
        """Return the share of images whose label is that of ``truth``."""
        return float((self.labels == truth).mean())


def save_predictions(folder: str | Path, predictions: Predictions) -> Path:
    """Write ``predictions.csv`` with the columns ``id,label,confidence`` to ``folder``.

    Raises:
        CannotWrite: the folder cannot be created or written to.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("id", "label", "confidence"))
    for identifier, answer in predictions.answers().items():
        writer.writerow((identifier, answer["label"], f"{answer['confidence']:.{_DIGITS}f}"))
    return write_atomically(folder, FILE_NAME, text.getvalue().encode())


def explanation(pixels: Floats, probabilities: Floats) -> str:
    """Return Markdown with the decoded image, and the probability of each digit, highest first."""
    ranking = np.argsort(-probabilities, kind="stable")
    best, second = (int(digit) for digit in ranking[:2])
    rows = "\n".join(f"| {digit} | {probabilities[digit]:.4f} | {_bar(probabilities[digit])} |" for digit in ranking)
    return (
        f"**{best}** with probability {probabilities[best]:.4f}; "
        f"the next is {second} with {probabilities[second]:.4f}.\n\n"
        f"```text\n{picture(pixels)}\n```\n\n"
        f"| digit | probability | |\n| ---: | ---: | :--- |\n{rows}\n"
    )


def picture(pixels: Floats) -> str:
    """Return the image as text, two characters a pixel since characters are twice as high as wide."""
    levels = np.rint(pixels / DARKEST * (len(_INK) - 1)).astype(int).reshape(SIDE, SIDE)
    return "\n".join("".join(_INK[level] * 2 for level in row).rstrip() for row in levels)


def _bar(probability: float) -> str:
    return "█" * round(float(probability) * 20)
