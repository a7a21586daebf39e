"""The items of a document are counted in its text, without the memory of decoding."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mistk_service.web.json_limits import JsonLimits, JsonTooLarge, check_json, strings_in

DOCUMENTS = st.recursive(
    st.none() | st.integers() | st.text('a"\\,[]{}:é', max_size=6),
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.text('k"\\,[', max_size=4), children, max_size=4)
    ),
)


def contents(value: Any, depth: int = 0) -> tuple[int, int, int, int]:
    """The members of all arrays and objects, the arrays and objects, their depth, and the strings in a value."""
    if not isinstance(value, list | dict):
        return 0, 0, depth, isinstance(value, str)
    members = list(value.values()) if isinstance(value, dict) else value
    found = [contents(member, depth + 1) for member in members]
    values = len(members) + sum(each[0] for each in found)
    keys = len(value) if isinstance(value, dict) else 0
    return (
        values,
        1 + sum(each[1] for each in found),
        max([depth + 1, *(each[2] for each in found)]),
        keys + sum(each[3] for each in found),
    )


def is_accepted(body: bytes, **limits: int) -> bool:
    try:
        check_json(body, JsonLimits(**{"size": 0, "values": 10**6, "containers": 10**6, "depth": 10**6} | limits))
    except JsonTooLarge:
        return False
    return True


@given(document=DOCUMENTS, escaped=st.booleans(), spaced=st.booleans())
def test_a_document_is_accepted_up_to_what_it_holds(document, escaped, spaced):
    body = json.dumps(document, ensure_ascii=escaped, separators=None if spaced else (",", ":")).encode()
    values, containers, depth, strings = contents(document)
    assert strings_in(body) == strings
    assert is_accepted(body, containers=containers, depth=depth, values=values + containers)
    assert not containers or not is_accepted(body, containers=containers - 1)
    assert not depth or not is_accepted(body, depth=depth - 1)
    assert not values or is_accepted(body, values=max(1, values) // 2 - 1) is False


@pytest.mark.parametrize(
    "body",
    [b"[" + b"[]," * 10**6 + b"[]]", b"[" * 10**6, b'{"a":' * 10**6, b"[" + b'"",' * 10**6 + b'""]', b"[" + b"1," * 10**6],
    ids=["siblings", "nested arrays", "nested objects", "strings", "numbers"],
)  # fmt: skip
def test_what_holds_too_much_is_refused_in_little_memory(body):
    tracemalloc.start()
    try:
        with pytest.raises(JsonTooLarge, match=r"more than|nested too deeply"):
            check_json(body, JsonLimits(size=len(body)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * len(body)


def test_a_quotation_mark_behind_escaped_backslashes_ends_a_string():
    assert strings_in(rb'["\\", "\\\"", "\\\\", ",[[[["]') == 4
    assert is_accepted(rb'["\\", "\\\"", "\\\\", ",[[[["]', depth=1, containers=1)
    assert not is_accepted(rb'["\\", [["\\\\"]]]', depth=2)
