"""Stream predictions that have queued are computed together, where the model and the requests allow it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mistk_service.errors import (
    HookFailed,
)
from mistk_service.kinds.predictions import Tensor, Tensors
from mistk_service.workers.child.tensors import arrays_of
from tests.core.test_stream_predictions import Launch, begin, held
from tests.support.harness import Gate, Instance

pytestmark = pytest.mark.anyio


async def test_what_has_queued_goes_together_up_to_the_limit(launch: Launch, gate: Gate, kind: str):
    instance, first = await held(launch, gate, kind)
    answers = begin(instance, *({"a": str(n), "b": str(n), "c": str(n)} for n in range(5)))
    await instance.heard()
    gate.tell("g")
    together = [answer["a"]["together"] for answer in await asyncio.gather(*answers)]
    assert together == [6, 6, 6, 6, 3], "eight records at most, and no request is divided"
    await first


async def test_a_request_beyond_the_limit_goes_alone_and_undivided(launch: Launch, gate: Gate, kind: str):
    instance, first = await held(launch, gate, kind)
    answers = begin(instance, {"a": "1"}, {str(n): "2" for n in range(20)}, {"a": "3"})
    await instance.heard()
    gate.tell("g")
    one, many, three = await asyncio.gather(*answers)
    assert one["a"]["together"] == 1
    assert {value["together"] for value in many.values()} == {20}
    assert three["a"]["together"] == 1
    await first


def infer(instance: Instance, *records: str, name: str = "a") -> asyncio.Future[Any]:
    """Begin a prediction for a tensor of byte strings."""
    data = b"".join(len(each).to_bytes(4, "little") + each.encode() for each in records)
    tensor = Tensor(name, "bytes", (len(records),), memoryview(data))
    return asyncio.ensure_future(instance.controller.predict(Tensors((tensor,))))


async def inferred(answer: asyncio.Future[Any]) -> dict[str, list[Any]]:
    return {name: array.tolist() for name, array in arrays_of(Tensors((await answer).tensors())).items()}


async def test_tensors_of_one_layout_go_together_and_each_request_gets_its_records(
    launch: Launch, gate: Gate, kind: str
):
    instance, first = await held(launch, gate, kind, "BatchingTensors")
    requests = [["1"], ["2", "3"], ["4", "forgotten"], ["5"], ["6"], ["7"], ["8", "9"]]
    answers = [infer(instance, *request) for request in requests]
    await instance.heard()
    gate.tell("g")
    for request, answer in zip(requests, answers, strict=True):
        if "forgotten" in request:
            assert (await inferred(answer))["record"] == [b"4"]  # alone, it is whatever the model answers
        else:
            assert (await inferred(answer))["record"] == [each.encode() for each in request]
    await first
    instance, first = await held(launch, gate, kind, "BatchingTensors")
    answers = [infer(instance, "1"), infer(instance, "2", "3"), infer(instance, "4"), infer(instance, "5", "guilty")]
    await instance.heard()
    gate.tell("g")
    found = await asyncio.gather(*map(inferred, answers), return_exceptions=True)
    assert [each["record"] for each in found if isinstance(each, dict)] == [[b"1"], [b"2", b"3"], [b"4"]]
    assert isinstance(found[-1], HookFailed)
    await first


async def test_tensors_of_other_layouts_go_alone(launch: Launch, gate: Gate, kind: str):
    instance, first = await held(launch, gate, kind, "BatchingTensors")
    together = [infer(instance, "1"), infer(instance, "2", "3")]
    other = infer(instance, "4", name="b")
    records = asyncio.ensure_future(instance.stream({"a": "5"}))
    await instance.heard()
    gate.tell("g")
    assert [(await inferred(each))["together"] for each in together] == [[3], [3, 3]]
    with pytest.raises(HookFailed, match="KeyError"):
        await other
    assert (await records)["a"]["together"] == 1
    await first


async def test_tensors_whose_first_dimension_counts_no_records_are_not_joined(launch: Launch, gate: Gate, kind: str):
    instance, first = await held(launch, gate, kind, "WholeVectors")
    answers = [infer(instance, *records) for records in ("1234", "5678")]
    await instance.heard()
    gate.tell("g")
    assert [(await inferred(each))["together"] for each in answers] == [[4] * 4] * 2
    await first


async def test_a_model_that_wants_one_at_a_time_gets_one_at_a_time(launch: Launch, gate: Gate, kind: str):
    instance, first = await held(launch, gate, kind, "OneAtATime")
    answers = begin(instance, *({"a": str(n)} for n in range(5)))
    await instance.heard()
    gate.tell("g")
    results = await asyncio.gather(*answers)
    assert [answer["a"]["together"] for answer in results] == [1] * 5
    assert [answer["a"]["call"] for answer in results] == [2, 3, 4, 5, 6], "in the order in which they came"
    await first


async def test_requests_for_details_are_not_merged(launch: Launch, gate: Gate, kind: str):
    instance, first = await held(launch, gate, kind)
    plain = begin(instance, {"a": "1"}, {"a": "2"})
    await instance.heard()
    detailed = begin(instance, {"a": "3"}, {"a": "4"}, details=True)
    await instance.heard()
    gate.tell("g")
    assert [(a["a"]["together"], a["a"]["details"]) for a in await asyncio.gather(*plain)] == [(2, False)] * 2
    assert [(a["a"]["together"], a["a"]["details"]) for a in await asyncio.gather(*detailed)] == [(1, True)] * 2
    await first


async def test_an_empty_request_gets_an_empty_answer(launch: Launch, gate: Gate, kind: str):
    instance, first = await held(launch, gate, kind)
    answers = begin(instance, {}, {"a": "1"}, {})
    await instance.heard()
    gate.tell("g")
    empty, one, also_empty = await asyncio.gather(*answers)
    assert (empty, one["a"]["record"], also_empty) == ({}, "1", {})
    await first
