"""The order in which messages go to a worker: small ones at once, large ones in pieces between them.

A stream prediction of many megabytes takes a while to cross the channel, and later messages must not wait for its end. So
large messages are sent one after the other, in pieces. The next piece is sent when the channel has accepted the last one, and
small predictions may go in between. All other messages keep their order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from mistk_service.workers.framing import frame_parts, pieces
from mistk_service.workers.messages import AllowParts, Predict, ToWorker, Withdraw

#: Bytes of a message that are sent at once; a larger message is sent in pieces.
PIECE = 256 * 1024


@dataclass(eq=False)
class _Transfer:
    """A message in the queue.

    Attributes:
        pieces: what is still to be sent.
        stream: its id, if it is a stream prediction.
        started: whether a part of it has been sent.
    """

    pieces: deque[tuple[bytes | bytearray | memoryview, ...]]
    stream: int | None
    started: bool = False


class Sender:
    """Writes messages to a transport. Messages are queued until it has a transport. It lives on one event loop."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        #: The messages to send at the end of this iteration of the event loop.
        self._small: list[bytearray | memoryview] = []
        #: The messages to send in pieces, and those that must not overtake them.
        self._large: deque[_Transfer] = deque()
        #: Whether the transport is paused.
        self.paused = False
        self._scheduled = False

    def connect(self, transport: asyncio.Transport) -> None:
        """Set the transport."""
        self._transport = transport
        self._schedule()

    def send(self, message: ToWorker) -> None:
        """Queue a message.

        Raises:
            Unsendable: the message contains a value that cannot be encoded.
        """
        parts = frame_parts(message)
        is_large = sum(map(len, parts)) > PIECE
        if is_large or (self._large and not self._may_overtake(message)):
            several = deque(pieces(parts, PIECE) if is_large else [tuple(parts)])
            self._large.append(_Transfer(several, message.id if isinstance(message, Predict) else None))
        else:
            self._small += parts
        self._schedule()

    def take_back(self, number: int) -> bool:
        """Remove a queued stream prediction; return False if it is not queued or a part of it has been sent."""
        for transfer in self._large:
            if transfer.stream == number and not transfer.started:
                self._large.remove(transfer)
                return True
        return False

    def pause(self) -> None:
        """Stop sending pieces for now. The transport still buffers small messages."""
        self.paused = True

    def resume(self) -> None:
        """Resume sending."""
        self.paused = False
        self._schedule()

    def _may_overtake(self, message: ToWorker) -> bool:
        if isinstance(message, Withdraw):
            return self._large[0].stream != message.id
        if isinstance(message, AllowParts):
            return True  # its request has arrived, since parts have come back
        return isinstance(message, Predict) and all(each.stream is not None for each in self._large)

    def _schedule(self) -> None:
        # Requests come in bursts, and a system call for each would cost more than everything else done here.
        if not self._scheduled and self._transport is not None:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        transport = self._transport
        if transport is None or transport.is_closing():
            self._small.clear()
            self._large.clear()
            return
        data, self._small = self._small, []
        # Not writelines: that of asyncio's selector transport in Python 3.12 and 3.13 never pauses the protocol.
        if data:
            transport.write(b"".join(data))
        if self._large and not self.paused:
            self._send_piece(transport)
            if self._large and not self.paused:
                self._schedule()

    def _send_piece(self, transport: asyncio.Transport) -> None:
        """Send the next piece of the first message, and remove the message if that was its last piece."""
        transfer = self._large[0]
        for part in transfer.pieces.popleft():
            transport.write(part)
        transfer.started = True
        if not transfer.pieces:
            self._large.popleft()
