"""The images of a dataset."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["CLASSES", "DARKEST", "PIXELS", "SIDE", "Floats", "Images", "Ints"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: An image is SIDE x SIDE pixels, row by row from the top left.
SIDE = 8
PIXELS = SIDE * SIDE
#: A pixel counts how many of the 16 dots of its 4 x 4 block are on.
DARKEST = 16.0
#: The digits 0 to 9.
CLASSES = 10


@dataclass(frozen=True, eq=False)
class Images:
    """Images of digits, which have been checked.

    Attributes:
        ids: a name for each image, all different.
        pixels: shape (n, 64), each value finite and in 0..16.
        labels: shape (n,), each in 0..9; None if the data has no labels.
    """

    ids: tuple[str, ...]
    pixels: Floats
    labels: Ints | None

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"<Images: {len(self)}, {'un' if self.labels is None else ''}labelled>"

    def fingerprint(self) -> str:
        """Return a digest of the pixels and labels in their order; ids do not matter."""
        digest = hashlib.sha256(np.ascontiguousarray(self.pixels).tobytes())
        if self.labels is not None:
            digest.update(self.labels.tobytes())
        return digest.hexdigest()
