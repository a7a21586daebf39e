"""Records are base64, however long, and a long one is looked at in turns."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mistk_service.errors import InvalidRequest
from mistk_service.web.contract import records
from mistk_service.web.contract.records import require_base64


def is_base64(value: str) -> bool:
    """What is accepted, by the library's own word."""
    try:
        base64.b64decode("".join(value.split()), validate=True)
    except ValueError:
        return False
    return True


def accepted(*values: str) -> bool:
    try:
        asyncio.run(require_base64({str(number): value for number, value in enumerate(values)}))
    except InvalidRequest:
        return False
    return True


@given(st.lists(st.text("AZaz09+/=\n -", max_size=24), max_size=3))
def test_records_are_judged_alike_in_one_piece_and_in_many(values: list[str]):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "_AT_ONCE", 4)
        assert accepted(*values) == all(map(is_base64, values))
    assert accepted(*values) == all(map(is_base64, values))


@given(st.binary(max_size=64))
def test_what_was_encoded_is_accepted(data: bytes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "_AT_ONCE", 8)
        assert accepted(base64.b64encode(data).decode(), base64.encodebytes(data).decode())


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
        await require_base64(data_map)
        beside.cancel()
        return count

    assert asyncio.run(others_turns()) >= 15


def test_a_small_request_is_looked_at_at_once():
    looking = require_base64({"a": "AAAA", "b": "AAAA"})
    with pytest.raises(StopIteration):
        looking.send(None)
