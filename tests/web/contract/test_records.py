"""Base64 records of any length are checked without blocking the event loop."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mistk_service.doors.mistk.record_codec import records_of
from mistk_service.errors import InvalidRequest


def is_base64(value: str) -> bool:
    """What is accepted, by the library's own word."""
    try:
        base64.b64decode("".join(value.split()), validate=True)
    except ValueError:
        return False
    return True


def accepted(*values: str, **options: int) -> bool:
    try:
        asyncio.run(records_of({str(number): value for number, value in enumerate(values)}, "base64", **options))
    except InvalidRequest:
        return False
    return True


@given(st.lists(st.text("AZaz09+/=\n -", max_size=24), max_size=3))
def test_records_are_judged_alike_in_one_piece_and_in_many(values: list[str]):
    assert accepted(*values, chunk=4) == all(map(is_base64, values))
    assert accepted(*values) == all(map(is_base64, values))


@given(st.binary(max_size=64))
def test_what_was_encoded_is_accepted(data: bytes):
    assert accepted(base64.b64encode(data).decode(), base64.encodebytes(data).decode(), chunk=8)


@pytest.mark.parametrize("data_map", [{"a": "A" * 4_000_000}, dict.fromkeys(map(str, range(4_000)), "A" * 1_000)])
def test_a_large_request_lets_others_have_their_turn(data_map: dict[str, Any]):
    async def others_turns() -> int:
        count = 0

        async def other() -> None:
            nonlocal count
            while True:
                count += 1
                await asyncio.sleep(0)

        beside = asyncio.create_task(other())
        await records_of(data_map, "base64")
        beside.cancel()
        return count

    assert asyncio.run(others_turns()) >= 15


def test_a_small_request_is_looked_at_at_once():
    looking = records_of({"a": "AAAA", "b": "AAAA"}, "base64")
    with pytest.raises(StopIteration):
        looking.send(None)
