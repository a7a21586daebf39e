"""The messages between the service and the worker: one frozen type per message, one terminal message per command.

Messages travel as frames: four bytes of length (big-endian), then MessagePack. A large message may travel in pieces, with
other frames between them. The highest bit of the length marks a piece, and a piece of length zero ends the message. Each side
only decodes the messages that it may receive, so anything else is an error at once. Pickle is not used, so messages can only
contain data.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from mistk_service.errors import Failure
from mistk_service.kinds.predictions import Inputs, Records, Signature, Tensors


class _Message(msgspec.Struct, frozen=True, tag=True, array_like=True):
    pass


# --- from the service to the worker ------------------------------------------------------------------------------------


class Run(_Message, frozen=True):
    """Call a hook with positional arguments.

    Ends in Done, Failed, Refused, Unsupported or Stopped with the same id.

    The arguments have no names, because MISTK's models name them freely. ``run`` is the id of the run that tracks the activity
    and the URL of its store; None if there is no run.
    """

    id: int
    hook: str
    arguments: tuple[Any, ...] = ()
    run: tuple[str, str] | None = None


class Predict(_Message, frozen=True):
    """Predict for records or tensors. Ends in Predicted, PredictionFailed, PredictionRefused or PredictionForgotten.

    A model that answers in parts sends any number of PartPredicted first, and PredictionEnded instead of Predicted.

    ``details`` asks for an explanation of each prediction.
    """

    id: int
    inputs: Inputs
    details: bool = False

    @property
    def merged_with(self) -> Any:
        """What requests must have in common for the model to answer them together; None if it may not."""
        if isinstance(self.inputs, Tensors):
            return self.inputs.layout
        return Records if isinstance(self.inputs, Records) and not self.details else None


class Withdraw(_Message, frozen=True):
    """Forget the stream prediction ``id``, whose client has disconnected.

    A prediction that has begun ends as usual; one that is answered in parts ends at its next part.
    """

    id: int


class AllowParts(_Message, frozen=True):
    """The client of the prediction ``id`` has received so many parts, so the model may produce as many more."""

    id: int
    parts: int


class Pause(_Message, frozen=True):
    """Pause the activity ``id`` with the given hook. Ends in Paused, PauseOvertaken, PauseUnsupported or PauseFailed."""

    id: int
    hook: str


class Resume(_Message, frozen=True):
    """Resume the activity ``id`` with the given hook. The worker only answers if that fails."""

    id: int
    hook: str


class Exit(_Message, frozen=True):
    """End the running activity at its next pause point, finish the queue, call the given hook, and end the worker."""

    hook: str


class Hasten(_Message, frozen=True):
    """Follows Exit: call the last hook now, even if the activity is still running. The hook may be what ends the activity."""


class HoldReports(_Message, frozen=True):
    """Hold metrics back from now on, or send them again. A model that reports very many of them is blocked in the meantime."""

    held: bool


ToWorker = Run | Predict | Withdraw | AllowParts | Pause | Resume | Exit | Hasten | HoldReports


# --- from the worker to the service ------------------------------------------------------------------------------------


class Loaded(_Message, frozen=True):
    """The model is loaded and the worker accepts work."""

    model: str
    hooks: tuple[str, ...]
    max_batch_size: int
    signature: Signature = Signature()
    documents: dict[str, Any] = {}


class LoadFailed(_Message, frozen=True):
    """The model cannot be loaded, and the worker ends after this. ``error`` is the name of a ModelLoadError subclass."""

    error: str
    failure: Failure


class Done(_Message, frozen=True):
    """The hook returned. ``state`` is the state that follows, if the hook's call chose one."""

    id: int
    state: str | None = None


class Failed(_Message, frozen=True):
    """The hook raised."""

    id: int
    failure: Failure


class Refused(_Message, frozen=True):
    """The hook raised RequestError: ``field`` of the request is wrong, or the request as a whole."""

    id: int
    message: str
    field: str | None = None


class Unsupported(_Message, frozen=True):
    """The hook of an operation that saves raised NotImplementedError."""

    id: int
    message: str


class Stopped(_Message, frozen=True):
    """The activity was asked to end, and its hook ended at a pause point."""

    id: int


class Predicted(_Message, frozen=True):
    """The model's answer to one request, in MessagePack."""

    id: int
    answer: msgspec.Raw


class PartPredicted(_Message, frozen=True):
    """A part of the model's answer to one request, in MessagePack."""

    id: int
    part: msgspec.Raw


class PredictionEnded(_Message, frozen=True):
    """All parts of an answer have been sent."""

    id: int


class PredictionFailed(_Message, frozen=True):
    """One request failed. Others are not affected."""

    id: int
    failure: Failure
    unsupported: bool = False


class PredictionRefused(_Message, frozen=True):
    """The model rejects one request as invalid. Others are not affected."""

    id: int
    message: str
    field: str | None = None


class PredictionForgotten(_Message, frozen=True):
    """The request was forgotten before it reached the model, or between two parts of its answer."""

    id: int


class Paused(_Message, frozen=True):
    """The activity ``id`` is paused."""

    id: int


class PauseOvertaken(_Message, frozen=True):
    """The activity ended before it could pause."""

    id: int


class PauseUnsupported(_Message, frozen=True):
    """The model cannot pause; the activity continues."""

    id: int
    message: str


class PauseFailed(_Message, frozen=True):
    """The model's own ``do_pause`` raised."""

    id: int
    failure: Failure


class ResumeUnsupported(_Message, frozen=True):
    """The model cannot resume; the activity stays paused."""

    id: int
    message: str


class ResumeFailed(_Message, frozen=True):
    """The model's own resume hook raised."""

    id: int
    failure: Failure


class StatusUpdated(_Message, frozen=True):
    """The latest payload that the model passed to ``update_status``."""

    payload: Any


class Progressed(_Message, frozen=True):
    """The progress of the activity. ``rate`` is in units per second, ``left`` in seconds."""

    done: int
    total: int | None
    unit: str
    rate: float | None
    left: float | None


class Reported(_Message, frozen=True):
    """What the model has reported since the last such message, in order.

    A metric is ``(key, value, step, timestamp in milliseconds)``. An artifact is ``(path, artifact_path, kept)``: the path
    that the model named, the folder of the run to store it in, and the copy in the spool, which the service owns from then on.
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
    | PartPredicted
    | PredictionEnded
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

#: The size of the length that precedes every message, in bytes.
_HEADER = 4

#: The bit of the length that marks a piece.
_PIECE = 1 << 31

#: The maximum size of a message from a worker in bytes, since the service holds it in memory as a whole.
LARGEST_FROM_WORKER = 256 * 1024 * 1024

#: The number of parts of an answer that a model may be ahead of the client.
PARTS_AHEAD = 16

#: Bytes above which the data of a tensor is sent from where it lies.
_APART = 64 * 1024

#: The first byte of binary data in MessagePack, with a length of 8 and of 32 bits.
_BIN_8, _BIN_32 = b"\xc4", b"\xc6"


class Unsendable(ValueError):
    """A message cannot be encoded: it contains invalid Unicode, an integer beyond 64 bits or deep nesting, or is too large."""


class Undecodable(ValueError):
    """A frame is too large, or does not contain a message that this side may receive."""


def frame(message: ToWorker | FromWorker, largest: int = _PIECE - 1) -> bytearray:
    """Return the message as a frame. The buffer is not copied, since it may be large.

    Args:
        message: the message.
        largest: the maximum size that the other side accepts, in bytes.

    Raises:
        Unsendable: the message contains a value that cannot be encoded, or is too large.
    """
    buffer = bytearray(_HEADER)
    try:
        _encoder.encode_into(message, buffer, _HEADER)
        if len(buffer) - _HEADER > largest:
            raise Unsendable(f"{len(buffer) - _HEADER} bytes at once; the limit is {largest}")
        buffer[:_HEADER] = (len(buffer) - _HEADER).to_bytes(_HEADER, "big")
    except UnicodeEncodeError as error:
        raise Unsendable(f"text that is not valid Unicode ({error.reason})") from error
    except RecursionError as error:
        raise Unsendable("values that are nested too deeply") from error
    except (TypeError, OverflowError) as error:
        raise Unsendable(str(error)) from error
    return buffer


def frame_parts(message: ToWorker) -> list[bytearray | memoryview]:
    """Return the message as a frame in parts. The data of large tensors is a part of its own, which is not copied.

    Raises:
        Unsendable: the message contains a value that cannot be encoded, or is too large.
    """
    tensors = message.inputs.tensors if isinstance(message, Predict) and isinstance(message.inputs, Tensors) else ()
    apart = [tensor.data for tensor in tensors if tensor.data.nbytes > _APART]
    if not apart:
        return [frame(message)]
    assert isinstance(message, Predict)
    # The message is encoded with a mark in place of the data, and the mark gives way to the data.
    mark = secrets.token_bytes(16)
    marked = [replace(tensor, data=memoryview(mark)) if tensor.data.nbytes > _APART else tensor for tensor in tensors]
    texts = frame(replace(message, inputs=Tensors(tuple(marked)))).split(_BIN_8 + bytes([len(mark)]) + mark)
    # Before the data come five bytes: its type and its length.
    size = sum(map(len, texts)) - _HEADER + sum(5 + data.nbytes for data in apart)
    if size >= _PIECE:
        raise Unsendable(f"{size} bytes at once; the limit is {_PIECE - 1}")
    parts: list[bytearray | memoryview] = [texts[0]]
    for before, data, after in zip(texts, apart, texts[1:], strict=False):
        before.extend(_BIN_32 + data.nbytes.to_bytes(4, "big"))
        parts += [data, after]
    texts[0][:_HEADER] = size.to_bytes(_HEADER, "big")
    return parts


def pieces(parts: Sequence[bytearray | memoryview], size: int) -> Iterator[tuple[bytes | memoryview, ...]]:
    """Yield the pieces of a frame without copying them: each after its header, the last one with the end of the message.

    Args:
        parts: the frame; see :func:`frame_parts`.
        size: the maximum size of a piece in bytes.
    """
    payload = [memoryview(part)[0 if number else _HEADER :] for number, part in enumerate(parts)]
    cut = [part[begin : begin + size] for part in payload for begin in range(0, len(part), size)]
    end = _PIECE.to_bytes(_HEADER, "big")
    for number, data in enumerate(cut, 1):
        header = (_PIECE | len(data)).to_bytes(_HEADER, "big")
        yield (header, data) if number < len(cut) else (header, data, end)


def decode_to_worker(body: bytes | memoryview) -> ToWorker:
    """Decode a message from the service."""
    message: ToWorker = _to_worker.decode(body)
    return message


def decode_from_worker(body: bytes | memoryview) -> FromWorker:
    """Decode a message from the worker.

    Raises:
        Undecodable: it is not a valid message.
    """
    try:
        message: FromWorker = _from_worker.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(str(error)) from error
    return message


class FrameReader:
    """Splits a stream of bytes into the payloads of its frames.

    Args:
        largest: the maximum size of a payload in bytes.
    """

    def __init__(self, largest: int = _PIECE - 1) -> None:
        self._largest = largest
        self._buffer = bytearray()
        #: The pieces of a message that is not complete yet.
        self._pieces = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes | memoryview]:
        """Take the bytes that arrived and yield every complete payload.

        A payload that came in pieces, or is alone in the buffer like most large ones, is passed on without being copied.

        Raises:
            Undecodable: a payload is too large; this is raised as soon as its length is known.
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
                    raise Undecodable(f"{size} bytes were announced; the limit is {self._largest}")
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
