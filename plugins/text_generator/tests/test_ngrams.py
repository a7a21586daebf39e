"""The counts and the probabilities: against a count by hand, and against themselves."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from text_generator.errors import UnreadableText
from text_generator.language import Language
from text_generator.ngrams import MAX_ORDER, NgramCounts

texts = st.text("abcde \n", min_size=1, max_size=60)
orders = st.integers(1, MAX_ORDER)
discounts = st.floats(0.05, 0.95)


def learned(text: str, order: int, cuts: list[int] | None = None) -> Language:
    language = Language("", NgramCounts(order))
    language.learn_alphabet(text)
    edges = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts or [])})
    for start, stop in itertools.pairwise(edges):
        language.counts.add(language.encode(text), start, stop)
    return language


@given(texts, orders, st.lists(st.integers(0, 60)))
def test_the_counts_are_those_of_a_count_by_hand_however_the_text_is_cut(
    text: str, order: int, cuts: list[int]
) -> None:
    language = learned(text, order, cuts)
    arrays = language.counts.arrays()
    for length in range(1, order + 1):
        expected = Counter(text[i : i + length] for i in range(len(text) - length + 1))
        found = {
            "".join(language.alphabet[byte - 1] for byte in int(key).to_bytes(length, "big")): int(count)
            for key, count in zip(arrays[f"keys_{length}"], arrays[f"counts_{length}"], strict=True)
        }
        assert found == expected


def by_hand(text: str, context: str, character: str, discount: float, alphabet: int) -> float:
    """Return the probability as its definition says it, with no regard to time."""
    total = sum(text[i : i + len(context)] == context for i in range(len(text) - len(context)))
    lower = by_hand(text, context[1:], character, discount, alphabet) if context else 1 / (alphabet + 1)
    if not total:
        return lower
    length = len(context)
    after = Counter(text[i + length] for i in range(len(text) - length) if text[i : i + length] == context)
    return (max(after[character] - discount, 0) + discount * len(after) * lower) / total


@given(texts, st.integers(1, 4), discounts, st.text("abcdex", max_size=6))
def test_a_probability_is_what_its_definition_says(text: str, order: int, discount: float, context: str) -> None:
    language = learned(text, order)
    found = language.counts.distribution(language.encode(context), len(language.alphabet), discount)
    seen = context[max(0, len(context) - order + 1) :]
    for code, character in enumerate(language.alphabet, 1):
        assert found[code] == pytest.approx(by_hand(text, seen, character, discount, len(language.alphabet)))


@given(texts, orders, discounts, st.text("abcdexyz ", max_size=20))
def test_probabilities_are_positive_and_add_up_to_one(text: str, order: int, discount: float, context: str) -> None:
    language = learned(text, order)
    found = language.counts.distribution(language.encode(context), len(language.alphabet), discount)
    assert found.sum() == pytest.approx(1)
    assert (found > 0).all()


@given(texts, orders, discounts, st.text("abcdexyz ", min_size=1, max_size=20))
def test_measuring_a_text_agrees_with_foreseeing_it_character_by_character(
    text: str, order: int, discount: float, other: str
) -> None:
    language = learned(text, order)
    codes, size = language.encode(other), len(language.alphabet)
    singly = [language.counts.distribution(codes[:i], size, discount)[code] for i, code in enumerate(codes)]
    np.testing.assert_allclose(language.counts.probabilities(codes, size, discount), singly)


def test_every_byte_can_be_counted_at_the_highest_order() -> None:
    text = "".join(chr(0x100 + i) for i in range(255)) * 2
    language = learned(text, MAX_ORDER)
    assert language.counts.distribution(language.encode(text[:254]), 255, 0.5)[255] > 0.7


def test_too_many_characters_are_refused() -> None:
    language = learned("abc", 2)
    with pytest.raises(UnreadableText, match="303 different characters, and this model supports 255"):
        language.learn_alphabet("".join(chr(0x4E00 + i) for i in range(300)))
    assert language.alphabet == "abc"


def first(language: Language, temperature: float, seed: int) -> str:
    rng = np.random.default_rng(seed)
    return next(language.write("ab", discount=0.5, temperature=temperature, rng=rng))


def test_the_temperature_sharpens_and_flattens() -> None:
    language = learned("abcabcabcabd" * 5, 3)
    shares = [
        np.mean([first(language, temperature, seed) == "c" for seed in range(300)]) for temperature in (0.3, 1.0, 10.0)
    ]
    assert shares[0] > shares[1] > shares[2]
    assert shares[1] == pytest.approx(language.following("ab", 0.5)[language.alphabet.index("c")], abs=0.1)
    assert {first(language, 0, seed) for seed in range(20)} == {"c"}
    assert {first(language, 1e-3, seed) for seed in range(20)} == {"c"}
