"""What the service and the worker say to each other: one frozen type a message, one terminal message a command.

Messages travel as frames, four bytes of length (big-endian) and then MessagePack. A large one may travel in pieces, with other
frames between them: the highest bit of the length tells of a piece, and one of no length ends the message. Each side decodes
into the union of what it may be told, so that anything else is an error at once and never a surprise later. No pickle: what
crosses is data.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from mistk_service.errors import Failure
from mistk_service.kinds.predictions import Records

__all__ = [
    "END_OF_PIECES",
    "LARGEST_FROM_WORKER",
    "Done",
    "Exit",
    "Failed",
    "FrameReader",
    "FromWorker",
    "Hasten",
    "HoldReports",
    "LoadFailed",
    "Loaded",
    "Pause",
    "PauseFailed",
    "PauseOvertaken",
    "PauseUnsupported",
    "Paused",
    "Predict",
    "Predicted",
    "PredictionFailed",
    "PredictionForgotten",
    "PredictionRefused",
    "Progressed",
    "Refused",
    "Reported",
    "Resume",
    "ResumeFailed",
    "ResumeUnsupported",
    "Run",
    "StatusUpdated",
    "Stopped",
    "ToWorker",
    "Undecodable",
    "Unsendable",
    "Unsupported",
    "Withdraw",
    "decode_from_worker",
    "decode_to_worker",
    "frame",
    "piece",
]


class _Message(msgspec.Struct, frozen=True, tag=True, array_like=True):
    pass


# --- from the service to the worker ------------------------------------------------------------------------------------


class Run(_Message, frozen=True):
    """Call a hook with positional arguments.

    Ends in Done, Failed, Refused, Unsupported or Stopped with the same id.

    The arguments have no names because MISTK's models name them freely. ``run`` is the id of the run that it is tracked as,
    and the address of the store that has it; None where there is none.
    """

    id: int
    hook: str
    arguments: tuple[Any, ...] = ()
    run: tuple[str, str] | None = None


class Predict(_Message, frozen=True):
    """Predict for records. Ends in Predicted, PredictionFailed, PredictionRefused or PredictionForgotten.

    ``details`` asks for an explanation of each prediction.
    """

    id: int
    records: Records
    details: bool = False


class Withdraw(_Message, frozen=True):
    """Forget the stream prediction ``id``, for which nobody waits any more. One that has begun ends as it would have."""

    id: int


class Pause(_Message, frozen=True):
    """Pause the activity ``id``, by the given hook. Ends in Paused, PauseOvertaken, PauseUnsupported or PauseFailed."""

    id: int
    hook: str


class Resume(_Message, frozen=True):
    """Let the activity ``id`` go on, by the given hook. Answered only when that does not work."""

    id: int
    hook: str


class Exit(_Message, frozen=True):
    """End what runs at its next pause point, answer what has queued, call the given hook, and end the worker."""

    hook: str


class Hasten(_Message, frozen=True):
    """After Exit: call the last hook now, beside the activity, if that has not ended. It may be what lets it end."""


class HoldReports(_Message, frozen=True):
    """Keep metrics back from now on, or send them again. A model that has reported very many has to wait meanwhile."""

    held: bool


ToWorker = Run | Predict | Withdraw | Pause | Resume | Exit | Hasten | HoldReports


# --- from the worker to the service ------------------------------------------------------------------------------------


class Loaded(_Message, frozen=True):
    """The model is there and the worker takes work."""

    model: str
    hooks: tuple[str, ...]
    max_batch_size: int
    record_encoding: str | None = None


class LoadFailed(_Message, frozen=True):
    """The model cannot be had; the worker ends after this. ``error`` is the name of a ModelLoadError subclass."""

    error: str
    failure: Failure


class Done(_Message, frozen=True):
    """The hook returned."""

    id: int


class Failed(_Message, frozen=True):
    """The hook raised."""

    id: int
    failure: Failure


class Refused(_Message, frozen=True):
    """The hook raised RequestError: ``field`` of the request, or the whole of it, is wrong."""

    id: int
    message: str
    field: str | None = None


class Unsupported(_Message, frozen=True):
    """The hook of a saving raised NotImplementedError."""

    id: int
    message: str


class Stopped(_Message, frozen=True):
    """The hook ended at a pause point, as it had been told to."""

    id: int


class Predicted(_Message, frozen=True):
    """What the model answered to one request, in MessagePack."""

    id: int
    answer: msgspec.Raw


class PredictionFailed(_Message, frozen=True):
    """One request failed; the others are not concerned."""

    id: int
    failure: Failure
    unsupported: bool = False


class PredictionRefused(_Message, frozen=True):
    """The model calls one request wrong; the others are not concerned."""

    id: int
    message: str
    field: str | None = None


class PredictionForgotten(_Message, frozen=True):
    """The request was forgotten before the model was asked."""

    id: int


class Paused(_Message, frozen=True):
    """The activity ``id`` stands still."""

    id: int


class PauseOvertaken(_Message, frozen=True):
    """There was nothing left to pause."""

    id: int


class PauseUnsupported(_Message, frozen=True):
    """The model does not pause; the activity goes on."""

    id: int
    message: str


class PauseFailed(_Message, frozen=True):
    """The model's own ``do_pause`` raised."""

    id: int
    failure: Failure


class ResumeUnsupported(_Message, frozen=True):
    """The model does not resume; the activity stays paused."""

    id: int
    message: str


class ResumeFailed(_Message, frozen=True):
    """The model's own resume hook raised."""

    id: int
    failure: Failure


class StatusUpdated(_Message, frozen=True):
    """What the model last gave to ``update_status``."""

    payload: Any


class Progressed(_Message, frozen=True):
    """How far the activity has come; ``rate`` in units a second, ``left`` in seconds."""

    done: int
    total: int | None
    unit: str
    rate: float | None
    left: float | None


class Reported(_Message, frozen=True):
    """What the model reported since the last such message, in order.

    A metric is ``(key, value, step, timestamp in milliseconds)``, an artifact ``(path, artifact_path, kept)``: what the model
    named, the folder of the run that it belongs in, and the copy of it in the spool, which is the service's from then on.
    """

    metrics: tuple[tuple[str, float, int | None, int], ...] = ()
    params: dict[str, Any] = {}
    tags: dict[str, Any] = {}
    artifacts: tuple[tuple[str, str | None, str | None], ...] = ()


FromWorker = (
    Loaded
    | LoadFailed
    | Done
    | Failed
    | Refused
    | Unsupported
    | Stopped
    | Predicted
    | PredictionFailed
    | PredictionRefused
    | PredictionForgotten
    | Paused
    | PauseOvertaken
    | PauseUnsupported
    | PauseFailed
    | ResumeUnsupported
    | ResumeFailed
    | StatusUpdated
    | Progressed
    | Reported
)

_encoder = msgspec.msgpack.Encoder()
_from_worker = msgspec.msgpack.Decoder(FromWorker)
_to_worker = msgspec.msgpack.Decoder(ToWorker)

#: Bytes of the length that precedes every message.
_HEADER = 4

#: The bit of the length that tells of a piece.
_PIECE = 1 << 31

#: Bytes of the largest message that the service takes from a worker, which it has to hold in memory whole.
LARGEST_FROM_WORKER = 256 * 1024 * 1024

#: Follows the last piece of a message.
END_OF_PIECES = _PIECE.to_bytes(_HEADER, "big")


class Unsendable(ValueError):
    """A message cannot cross to the other side: text that is no Unicode, a number beyond 64 bits, deep nesting, its size."""


class Undecodable(ValueError):
    """A frame is larger than this side takes, or holds no message that it may be told."""


def frame(message: ToWorker | FromWorker, largest: int = _PIECE - 1) -> bytearray:
    """Return the message as a frame; as it was built, since it may be large.

    Args:
        message: the message.
        largest: how many bytes of it the other side takes.

    Raises:
        Unsendable: it holds something that cannot cross.
    """
    buffer = bytearray(_HEADER)
    try:
        _encoder.encode_into(message, buffer, _HEADER)
        if len(buffer) - _HEADER > largest:
            raise Unsendable(f"{len(buffer) - _HEADER} bytes at once, where at most {largest} are taken")
        buffer[:_HEADER] = (len(buffer) - _HEADER).to_bytes(_HEADER, "big")
    except UnicodeEncodeError as error:
        raise Unsendable(f"text that is no Unicode ({error.reason})") from error
    except RecursionError as error:
        raise Unsendable("values that are nested too deeply") from error
    except (TypeError, OverflowError) as error:
        raise Unsendable(str(error)) from error
    return buffer


def piece(whole: bytearray, begin: int, size: int) -> list[bytes | bytearray | memoryview]:
    """Return a piece of a message, not copied: ``size`` bytes of its frame from ``begin`` on, or what is left of it."""
    part = memoryview(whole)[max(begin, _HEADER) : begin + size]
    return [(_PIECE | len(part)).to_bytes(_HEADER, "big"), part]


def decode_to_worker(body: bytes | memoryview) -> ToWorker:
    """Decode what the service said."""
    message: ToWorker = _to_worker.decode(body)
    return message


def decode_from_worker(body: bytes | memoryview) -> FromWorker:
    """Decode what the worker said.

    Raises:
        Undecodable: it is no message.
    """
    try:
        message: FromWorker = _from_worker.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(str(error)) from error
    return message


class FrameReader:
    """Cuts a stream of bytes into the bodies of its frames.

    Args:
        largest: how many bytes a body may have.
    """

    def __init__(self, largest: int = _PIECE - 1) -> None:
        self._largest = largest
        self._buffer = bytearray()
        #: The pieces of a message that is not whole.
        self._pieces = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes | memoryview]:
        """Take what arrived and yield every body that is whole.

        One that came in pieces, or is alone in the buffer, as a large one mostly is, is handed over and not copied.

        Raises:
            Undecodable: a body has more bytes than one may have, which is known as soon as they are announced.
        """
        self._buffer += data
        position = 0
        try:
            while len(self._buffer) - position >= _HEADER:
                start = position + _HEADER
                length = int.from_bytes(self._buffer[position:start], "big")
                end = start + (length & ~_PIECE)
                size = end - start + (len(self._pieces) if length & _PIECE else 0)
                if size > self._largest:
                    raise Undecodable(f"{size} bytes were announced, where at most {self._largest} are taken")
                if len(self._buffer) < end:
                    break
                if length == end - start and position == 0 and end == len(self._buffer):
                    whole, self._buffer = self._buffer, bytearray()
                    yield memoryview(whole)[_HEADER:]
                    break
                position = end
                if length == end - start:
                    yield bytes(memoryview(self._buffer)[start:end])
                elif start < end:
                    self._pieces += memoryview(self._buffer)[start:end]
                else:
                    whole, self._pieces = self._pieces, bytearray()
                    yield memoryview(whole)
        finally:
            del self._buffer[:position]
