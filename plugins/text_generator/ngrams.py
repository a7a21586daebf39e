"""The counts of a character n-gram model, and its probabilities.

A character is a code in one byte, 0 for any that is not in the alphabet. The last n characters of a text are one 64-bit
number, the latest character in the lowest byte. In a sorted array of such numbers, all followers of a context are adjacent,
so bisection finds thousands of contexts at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["MAX_ALPHABET", "MAX_ORDER", "Codes", "Floats", "NgramCounts"]

Codes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
_Keys = npt.NDArray[np.uint64]
_Counts = npt.NDArray[np.int64]

#: The number of characters that fit into 64 bits, one byte each.
MAX_ORDER = 8
#: Codes but for 0.
MAX_ALPHABET = 255
_BYTE = np.uint64(8)
_LAST = np.uint64(0xFF)


@dataclass(frozen=True, eq=False)
class _Level:
    """The n-grams of one length.

    Attributes:
        keys: the n-grams that occur, ascending.
        counts: how often each occurs.
        before: shape (len(keys) + 1,), the sum of the counts before each.
    """

    keys: _Keys
    counts: _Counts
    before: _Counts

    @classmethod
    def of(cls, keys: _Keys, counts: _Counts) -> _Level:
        return cls(keys, counts, np.concatenate([[0], np.cumsum(counts)]))

    @classmethod
    def empty(cls) -> _Level:
        return cls.of(np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64))

    def plus(self, keys: _Keys) -> _Level:
        """Return a level that has also counted ``keys``, which may be unsorted and repeated."""
        new, new_counts = np.unique(keys, return_counts=True)
        merged, where = np.unique(np.concatenate([self.keys, new]), return_inverse=True)
        counts = np.zeros(len(merged), dtype=np.int64)
        np.add.at(counts, where, np.concatenate([self.counts, new_counts]))
        return _Level.of(merged, counts)

    def followers(self, contexts: _Keys) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Return the range of indices, for each context, of the n-grams that begin with it."""
        first = contexts << _BYTE
        return np.searchsorted(self.keys, first), np.searchsorted(self.keys, first | _LAST, side="right")

    def count(self, keys: _Keys) -> _Counts:
        """Return how often each of ``keys`` occurs."""
        at = np.minimum(np.searchsorted(self.keys, keys), max(len(self.keys) - 1, 0))
        return np.where(self.keys[at] == keys, self.counts[at], 0) if len(self.keys) else np.zeros(len(keys), np.int64)


class NgramCounts:
    """The n-grams of every length up to ``order`` in the text that was counted.

    Attributes:
        order: the length of the longest; a character is predicted from the ``order - 1`` characters before it.
    """

    def __init__(self, order: int) -> None:
        self.order = order
        self._levels = [_Level.empty() for _ in range(order)]

    def add(self, codes: Codes, start: int, stop: int) -> None:
        """Count the n-grams of the text ``codes`` that end in ``start:stop``."""
        for index, keys in enumerate(_keys(codes, start, stop, self.order)):
            self._levels[index] = self._levels[index].plus(keys)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the counts as arrays by name."""
        return {
            f"{what}_{index + 1}": getattr(level, what)
            for index, level in enumerate(self._levels)
            for what in ("keys", "counts")
        }

    @classmethod
    def from_arrays(cls, order: int, arrays: dict[str, npt.NDArray[Any]]) -> NgramCounts:
        """Return the counts from the result of ``arrays``.

        Raises:
            KeyError: an array is missing.
            ValueError: the arrays are inconsistent.
        """
        found = cls(order)
        for index in range(order):
            keys, counts = arrays[f"keys_{index + 1}"], arrays[f"counts_{index + 1}"]
            if keys.dtype != np.uint64 or counts.dtype != np.int64 or keys.ndim != 1 or keys.shape != counts.shape:
                raise ValueError(f"the {index + 1}-grams and their counts are of wrong types or sizes")
            if not (np.all(keys[1:] > keys[:-1]) and np.all(counts > 0)):
                raise ValueError(f"the {index + 1}-grams are not in order, or a count is not positive")
            found._levels[index] = _Level.of(keys.astype(np.uint64), counts.astype(np.int64))
        return found

    @property
    def characters(self) -> int:
        """The number of characters that were counted."""
        return int(self._levels[0].before[-1])

    @property
    def size(self) -> int:
        """The number of different n-grams of all lengths."""
        return sum(len(level.keys) for level in self._levels)

    @property
    def highest_code(self) -> int:
        """The highest code of a character that was counted; 0 if none was."""
        return int(self._levels[0].keys[-1]) if self.characters else 0

    def distribution(self, context: Codes, alphabet: int, discount: float) -> Floats:
        """Return the probability of each code after ``context``.

        Every known length of context contributes its relative frequencies, with each count reduced by ``discount``. The rest
        is distributed by the next shorter context. Below the shortest, all codes are equally likely.

        Args:
            context: the characters before; only the last ``order - 1`` matter.
            alphabet: the number of characters, which is the highest code.
            discount: above 0 and below 1.

        Returns:
            Shape (alphabet + 1,), from code 0 (any other character) on.
        """
        result = np.full(alphabet + 1, 1.0 / (alphabet + 1))
        for length in range(min(len(context), self.order - 1) + 1):
            level = self._levels[length]
            (first,), (stop,) = level.followers(_packed(context[len(context) - length :])[None])
            total = level.before[stop] - level.before[first]
            if not total:
                break
            result *= discount * (stop - first) / total
            codes = (level.keys[first:stop] & _LAST).astype(np.intp)
            result[codes] += (level.counts[first:stop] - discount) / total
        return result

    def probabilities(self, codes: Codes, alphabet: int, discount: float) -> Floats:
        """Return the probability of each character of ``codes`` after those before it, as in ``distribution``."""
        result = np.full(len(codes), 1.0 / (alphabet + 1))
        for index, keys in enumerate(_keys(codes, 0, len(codes), self.order)):
            level, tail = self._levels[index], result[index:]
            first, stop = level.followers(keys >> _BYTE)
            total = level.before[stop] - level.before[first]
            known = total > 0
            held = np.maximum(level.count(keys) - discount, 0.0)[known] + discount * (stop - first)[known] * tail[known]
            tail[known] = held / total[known]
        return result


def _keys(codes: Codes, start: int, stop: int, order: int) -> Sequence[_Keys]:
    """Return the n-grams that end in ``start:stop``, for n from 1 to ``order``. None begins before the text."""
    wide = codes.astype(np.uint64)
    found = []
    for length in range(1, order + 1):
        ends = np.arange(max(start, length - 1), stop)
        keys = np.zeros(len(ends), dtype=np.uint64)
        for back in range(length):
            keys |= wide[ends - back] << np.uint64(8 * back)
        found.append(keys)
    return found


def _packed(context: Codes) -> npt.NDArray[np.uint64]:
    """Return the characters as one number, in an array without dimensions."""
    return np.array(int.from_bytes(context.tobytes(), "big"), dtype=np.uint64)
