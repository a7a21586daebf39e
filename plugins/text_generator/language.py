"""The trained model: an alphabet and the counts of its n-grams, with which texts are measured and written."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .errors import UnreadableText
from .ngrams import MAX_ALPHABET, Codes, Floats, NgramCounts

__all__ = ["Language"]


class Language:
    """A character n-gram model.

    Attributes:
        alphabet: the known characters, in the order of their first occurrence.
        counts: the counts of the n-grams.
    """

    def __init__(self, alphabet: str, counts: NgramCounts) -> None:
        self.alphabet = alphabet
        self.counts = counts

    def learn_alphabet(self, text: str) -> None:
        """Add the characters of ``text`` to the alphabet.

        Raises:
            UnreadableText: there are too many; the alphabet has not changed.
        """
        alphabet = "".join(dict.fromkeys(self.alphabet + text))
        if len(alphabet) > MAX_ALPHABET:
            raise UnreadableText(
                f"The text has {len(alphabet)} different characters, and this model supports {MAX_ALPHABET}. Expected "
                "a text in one alphabetic script."
            )
        self.alphabet = alphabet

    def encode(self, text: str) -> Codes:
        """Return the codes of the characters: their positions in the alphabet from 1, and 0 for any other character."""
        codes = {character: code for code, character in enumerate(self.alphabet, 1)}
        return np.fromiter((codes.get(character, 0) for character in text), dtype=np.uint8, count=len(text))

    def bits_per_character(self, text: str, discount: float) -> float:
        """Return the cross-entropy of ``text`` in bits per character."""
        found = self.counts.probabilities(self.encode(text), len(self.alphabet), discount)
        return float(-np.log2(found).mean())

    def following(self, text: str, discount: float) -> Floats:
        """Return the probability that each character of the alphabet is the next one, in its order."""
        found = self.counts.distribution(self.encode(text[-self.counts.order :]), len(self.alphabet), discount)[1:]
        return np.asarray(found / found.sum(), dtype=np.float64)

    def write(self, prompt: str, *, discount: float, temperature: float, rng: np.random.Generator) -> Iterator[str]:
        """Continue ``prompt``, one character at a time, without an end.

        Args:
            prompt: the existing text, which is not returned.
            discount: see :meth:`NgramCounts.distribution`.
            temperature: the probabilities are raised to its inverse; with 0 the likeliest character is taken.
            rng: makes the choices.
        """
        context = prompt
        while True:
            chances = self.following(context, discount)
            if temperature:
                # With logarithms, since small probabilities would all become zero at a low temperature.
                weights = np.log(chances) / temperature
                steps = np.cumsum(np.exp(weights - weights.max()))
                choice = int(np.searchsorted(steps, rng.random() * steps[-1], side="right"))
            else:
                choice = int(chances.argmax())
            character = self.alphabet[min(choice, len(self.alphabet) - 1)]
            yield character
            context = context[-self.counts.order :] + character
