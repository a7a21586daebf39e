"""Messages arrive unchanged, however the stream is divided; anything else is refused."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mistk_service.errors import Failure
from mistk_service.kinds.predictions import Tensor, Tensors
from mistk_service.workers import framing
from mistk_service.workers import messages as m
from tests.support.harness import records_of

integers = st.integers(-(2**63), 2**63 - 1)
texts = st.text(max_size=8)
plain: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | integers | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(texts, plain, max_size=3)
failures = st.builds(Failure, texts, texts, st.none() | texts, st.lists(texts, max_size=3).map(tuple))

to_worker = st.one_of(
    st.builds(m.Run, integers, texts, st.lists(plain, max_size=3).map(tuple)),
    st.builds(m.Predict, integers, st.dictionaries(texts, texts, max_size=3).map(records_of), st.booleans()),
    st.builds(m.Pause, integers, texts),
    st.builds(m.Withdraw, integers),
    st.builds(m.AllowParts, integers, integers),
    st.builds(m.Resume, integers, texts),
    st.builds(m.Exit, texts),
    st.just(m.CallLastHook()),
    st.builds(m.HoldReports, st.booleans()),
)
points = st.tuples(texts, st.floats(allow_nan=False), st.none() | integers, integers)
from_worker = st.one_of(
    st.builds(m.Loaded, texts, st.lists(texts, max_size=3).map(tuple)),
    st.builds(m.LoadFailed, texts, failures),
    *(st.builds(kind, integers) for kind in (m.Done, m.Stopped, m.PredictionForgotten, m.PredictionEnded)),
    *(st.builds(kind, integers) for kind in (m.Paused, m.PauseOvertaken)),
    *(st.builds(kind, integers, failures) for kind in (m.Failed, m.PauseFailed, m.ResumeFailed)),
    *(st.builds(kind, integers, texts) for kind in (m.Unsupported, m.PauseUnsupported, m.ResumeUnsupported)),
    *(st.builds(kind, integers, texts, st.none() | texts) for kind in (m.Refused, m.PredictionRefused)),
    st.builds(m.Predicted, integers, plain.map(msgspec.msgpack.encode).map(msgspec.Raw)),
    st.builds(m.PartPredicted, integers, plain.map(msgspec.msgpack.encode).map(msgspec.Raw)),
    st.builds(m.PredictionFailed, integers, failures, st.booleans()),
    st.builds(m.StatusUpdated, plain),
    st.builds(
        m.Progressed, integers, st.none() | integers, texts, st.none() | st.floats(0, 9), st.none() | st.floats(0, 9)
    ),
    st.builds(
        m.Reported,
        st.lists(points, max_size=3).map(tuple),
        objects,
        objects,
        st.lists(st.tuples(texts, st.none() | texts, st.none() | texts), max_size=3).map(tuple),
    ),
)


def body_of(message: Any) -> bytes:
    """Return what a frame carries."""
    (body,) = framing.FrameReader().feed(bytes(framing.frame(message)))
    return bytes(body)


@given(to_worker)
def test_a_message_to_the_worker_arrives_as_it_was(message: m.ToWorker):
    assert framing.decode_to_worker(body_of(message)) == message


@given(from_worker)
def test_a_message_from_the_worker_arrives_as_it_was(message: m.FromWorker):
    arrived = framing.decode_from_worker(body_of(message))
    if isinstance(message, m.Predicted):
        assert isinstance(arrived, m.Predicted)
        assert (arrived.id, bytes(arrived.answer)) == (message.id, bytes(message.answer))
    elif isinstance(message, m.PartPredicted):
        assert isinstance(arrived, m.PartPredicted)
        assert (arrived.id, bytes(arrived.part)) == (message.id, bytes(message.part))
    else:
        assert arrived == message


def test_these_tests_know_every_message():
    assert len(get_args(m.ToWorker)) == 9
    assert len(get_args(m.FromWorker)) == 22


def test_a_number_that_is_none_arrives_as_none():
    message = m.Reported((("a", math.nan, None, 0),))
    decoded = framing.decode_from_worker(body_of(message))
    assert isinstance(decoded, m.Reported)
    assert math.isnan(decoded.metrics[0][1])


@given(st.lists(to_worker, max_size=6), st.data())
def test_frames_survive_every_way_of_cutting_the_stream(messages: list[m.ToWorker], data: st.DataObject):
    stream = b"".join(framing.frame(message) for message in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    reader = framing.FrameReader()
    arrived = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        arrived += [framing.decode_to_worker(body) for body in reader.feed(stream[begin:end])]
    assert arrived == messages


def test_a_reader_whose_last_frames_were_not_taken_gives_them_later():
    first, second = framing.frame(m.Pause(1, "do_pause")), framing.frame(m.Pause(2, "do_pause"))
    reader = framing.FrameReader()
    frames = reader.feed(bytes(first + second))
    assert isinstance(frames, Generator)
    assert framing.decode_to_worker(next(frames)) == m.Pause(1, "do_pause")
    frames.close()
    assert [framing.decode_to_worker(body) for body in reader.feed(b"")] == [m.Pause(2, "do_pause")]


@given(st.lists(to_worker, min_size=1, max_size=4), st.lists(to_worker, max_size=6), st.integers(5, 40), st.data())
def test_messages_in_pieces_arrive_whole_and_let_others_between(
    large: list[m.ToWorker], small: list[m.ToWorker], size: int, data: st.DataObject
):
    stream, between, in_order = bytearray(), list(small), []

    def write(frame: bytes | bytearray) -> None:
        """Write a part of a large message, and some of the small ones after it."""
        stream.extend(frame)
        for _ in range(data.draw(st.integers(0, len(between)))):
            in_order.append(between.pop(0))
            stream.extend(framing.frame(in_order[-1]))

    for message in large:
        *some, last = framing.pieces(framing.frame_parts(message), size)
        for piece in some:
            write(b"".join(piece))
        in_order.append(message)
        write(b"".join(last))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    reader = framing.FrameReader()
    arrived = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        arrived += [framing.decode_to_worker(body) for body in reader.feed(bytes(stream[begin:end]))]
    assert arrived == in_order


def test_a_frame_that_is_longer_than_a_chunk_arrives():
    message = m.Predict(1, records_of({"a": "x" * 3_000_000}))
    stream = bytes(framing.frame(message))
    reader = framing.FrameReader()
    arrived = [body for at in range(0, len(stream), 65536) for body in reader.feed(stream[at : at + 65536])]
    assert [framing.decode_to_worker(body) for body in arrived] == [message]


@given(st.lists(st.sampled_from([0, 8, 65_536, 65_537, 300_000]), max_size=4), st.integers(1_000, 400_000))
def test_the_data_of_large_tensors_arrives_without_having_been_copied(sizes: list[int], size: int):
    tensors = [Tensor(str(n), "uint8", (length,), memoryview(bytes([n]) * length)) for n, length in enumerate(sizes)]
    message = m.Predict(1, Tensors(tuple(tensors)))
    parts = framing.frame_parts(message)
    assert [part.obj for part in parts if isinstance(part, memoryview)] == [
        tensor.data.obj for tensor in tensors if tensor.data.nbytes > 65_536
    ]
    for stream in (parts, (part for piece in framing.pieces(parts, size) for part in piece)):
        (body,) = framing.FrameReader().feed(b"".join(stream))
        assert framing.decode_to_worker(body) == message


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("\ud800", "text that is not valid Unicode"),
        ({"\udfff": 1}, "text that is not valid Unicode"),
        (2**64, "ints"),
        (-(2**63) - 1, "ints"),
        (object(), "object"),
    ],
)
def test_what_cannot_cross_is_reported_by_one_error(value: Any, words: str):
    with pytest.raises(framing.Unsendable, match=words):
        framing.frame(m.Run(1, "do_train", (value,)))


def test_nesting_without_end_is_reported_by_the_same_error():
    value: list[Any] = []
    value.append(value)
    with pytest.raises(framing.Unsendable, match="nested too deeply"):
        framing.frame(m.Run(1, "do_train", (value,)))


@pytest.mark.parametrize("message", [m.Done(1), m.Loaded("a", ())])
def test_the_worker_takes_nothing_that_only_the_service_may_be_told(message: m.FromWorker):
    with pytest.raises(msgspec.ValidationError):
        framing.decode_to_worker(body_of(message))


@pytest.mark.parametrize("message", [m.Run(1, "do_train"), m.Exit("do_reset")])
def test_the_service_takes_nothing_that_only_the_worker_may_be_told(message: m.ToWorker):
    with pytest.raises(framing.Undecodable):
        framing.decode_from_worker(body_of(message))


@given(st.binary(max_size=20))
def test_noise_is_an_error_at_once_or_a_message(noise: bytes):
    try:
        message = framing.decode_from_worker(noise)
    except framing.Undecodable:
        return
    assert isinstance(message, get_args(m.FromWorker))


def test_nesting_that_cannot_be_followed_is_noise_too():
    deep = b"\x92\xadStatusUpdated" + b"\x91" * 100_000 + b"\xc0"
    with pytest.raises(framing.Undecodable):
        framing.decode_from_worker(deep)
