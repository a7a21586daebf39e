"""Small messages are sent between the pieces of large ones, without overtaking any that they must not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mistk_service.kinds.predictions import Tensor, Tensors
from mistk_service.workers.framing import FrameReader, decode_to_worker
from mistk_service.workers.host.sending import PIECE, Sender
from mistk_service.workers.messages import Exit, Predict, Run, ToWorker, Withdraw
from tests.support.harness import records_of

pytestmark = pytest.mark.anyio

PIECES = 4

#: The size of what precedes a piece, in bytes.
HEADER = 4


class Channel:
    """Stands for a transport: has room for so many messages or pieces, and then tells the sender to pause."""

    def __init__(self, sender: Sender, room: int) -> None:
        self.arrived: list[ToWorker] = []
        self.room = room
        self._sender = sender
        self._reader = FrameReader()

    def write(self, data: bytes) -> None:
        assert len(data) <= PIECE + 1024
        self.arrived += map(decode_to_worker, self._reader.feed(data))
        if len(data) > HEADER:
            self.room -= 1
        if self.room <= 0:
            self._sender.pause()

    def take(self, room: int) -> None:
        """Read on the other side."""
        self.room = room
        self._sender.resume()

    def is_closing(self) -> bool:
        return False


def connected(room: int = 1_000) -> tuple[Sender, Channel]:
    sender = Sender()
    channel = Channel(sender, room)
    sender.connect(channel)  # type: ignore[arg-type]
    return sender, channel


def large(number: int) -> Predict:
    return Predict(number, records_of({"a": "x" * (PIECE * PIECES - 100)}))


def small(number: int) -> Predict:
    return Predict(number, records_of({"a": "x"}))


async def turns(count: int = 50) -> None:
    """Let the event loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


def order(channel: Channel) -> list[Any]:
    return [getattr(message, "id", type(message)) for message in channel.arrived]


async def test_a_large_tensor_arrives_in_pieces_as_it_was():
    sender, channel = connected()
    data = memoryview(bytes(range(256)) * (3 * PIECE // 256))
    message = Predict(1, Tensors((Tensor("a", "uint8", (len(data),), data), Tensor("b", "uint8", (3,), data[:3]))))
    sender.send(message)
    sender.send(small(2))
    await turns()
    assert channel.arrived == [small(2), message]


async def test_a_small_message_does_not_wait_for_a_large_one_before_it():
    sender, channel = connected()
    for message in (large(1), large(2), small(3)):
        sender.send(message)
    await turns()
    assert channel.arrived == [small(3), large(1), large(2)]


async def test_a_small_message_goes_between_the_pieces_of_a_large_one():
    sender, channel = connected(room=2)
    sender.send(large(1))
    await turns()
    assert channel.arrived == []
    sender.send(small(2))
    await turns()
    assert channel.arrived == [small(2)], "the transport keeps it while the channel is full"
    channel.take(room=1_000)
    await turns()
    assert order(channel) == [2, 1]


async def test_no_piece_is_written_while_the_channel_is_full():
    sender, channel = connected(room=1)
    sender.send(large(1))
    await turns()
    assert channel.room == 0
    for _ in range(PIECES - 1):
        channel.take(room=1)
        await turns()
        assert channel.room == 0
    assert channel.arrived == [large(1)]


@pytest.mark.parametrize("message", [Exit("do_reset"), Run(9, "do_train"), Run(9, "do_train", ("x" * PIECE * 2,))])
async def test_what_is_not_a_prediction_is_not_overtaken_and_overtakes_nothing(message: ToWorker):
    sender, channel = connected()
    sent = [small(1), large(2), message, small(3), large(4)]
    for each in sent:
        sender.send(each)
    await turns()
    assert channel.arrived == sent


async def test_what_was_sent_before_there_is_a_channel_goes_in_the_same_order():
    sender = Sender()
    for message in (large(1), small(2), Exit("do_reset")):
        sender.send(message)
    channel = Channel(sender, 1_000)
    sender.connect(channel)  # type: ignore[arg-type]
    await turns()
    assert order(channel) == [2, 1, Exit]


async def test_a_large_request_that_has_not_begun_to_go_is_taken_back():
    sender, channel = connected(room=1)
    for number in (1, 2, 3):
        sender.send(large(number))
    await turns()
    assert [sender.take_back(number) for number in (1, 2, 2, 9)] == [False, True, False, False]
    channel.take(room=1_000)
    await turns()
    assert order(channel) == [1, 3]


async def test_a_large_request_that_has_begun_to_go_is_withdrawn_once_it_has_arrived():
    sender, channel = connected(room=1)
    sender.send(large(1))
    sender.send(large(2))
    await turns()
    sender.send(Withdraw(1))
    sender.send(Withdraw(7))
    channel.take(room=1_000)
    await turns()
    assert [message for message in channel.arrived if not isinstance(message, Predict)] == [
        Withdraw(7),
        Withdraw(1),
    ]
    assert channel.arrived.index(Withdraw(1)) > channel.arrived.index(large(1))
