"""Encodes the messages between the service and the worker as frames of bytes.

A frame is four bytes of length (big-endian), then MessagePack. A large message may travel in pieces, with other frames between
them. The highest bit of the length marks a piece, and a piece of length zero ends the message. Each side only decodes the
messages that it may receive, so anything else is an error at once. Pickle is not used, so messages can only contain data.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence

import msgspec
from msgspec.structs import replace

from mistk_service.kinds.predictions import Tensors
from mistk_service.workers.messages import FromWorker, Predict, ToWorker

_encoder = msgspec.msgpack.Encoder()
_from_worker = msgspec.msgpack.Decoder(FromWorker)
_to_worker = msgspec.msgpack.Decoder(ToWorker)

#: The size of the length that precedes every message, in bytes.
_HEADER = 4

#: The bit of the length that marks a piece.
_PIECE = 1 << 31

#: The maximum size of a message from a worker in bytes, since the service holds it in memory as a whole.
LARGEST_FROM_WORKER = 256 * 1024 * 1024

#: Bytes above which the data of a tensor is sent without copying it.
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
    """Return the message as a frame in parts. The data of each large tensor is a separate part, which is not copied.

    Raises:
        Unsendable: the message contains a value that cannot be encoded, or is too large.
    """
    tensors = message.inputs.tensors if isinstance(message, Predict) and isinstance(message.inputs, Tensors) else ()
    apart = [tensor.data for tensor in tensors if tensor.data.nbytes > _APART]
    if not apart:
        return [frame(message)]
    assert isinstance(message, Predict)
    # The message is encoded with a placeholder for the data, which is then replaced by the data.
    mark = secrets.token_bytes(16)
    marked = [replace(tensor, data=memoryview(mark)) if tensor.data.nbytes > _APART else tensor for tensor in tensors]
    texts = frame(replace(message, inputs=Tensors(tuple(marked)))).split(_BIN_8 + bytes([len(mark)]) + mark)
    # The data is preceded by five bytes: its type and its length.
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
        #: The beginning of a frame that is not complete yet.
        self._buffer = bytearray()
        #: The pieces of a message that is not complete yet, and the number of bytes that the last piece lacks.
        self._pieces = bytearray()
        self._missing = 0

    def feed(self, data: bytes) -> Iterator[memoryview]:
        """Take the bytes that arrived and yield every complete payload, which shares their memory.

        Raises:
            Undecodable: a payload is too large; this is raised as soon as its length is known.
        """
        held = self._buffer
        if held:
            held += data
            self._buffer = bytearray()
        rest = memoryview(held or data)
        try:
            while True:
                if self._missing:
                    self._pieces += rest[: self._missing]
                    taken = min(self._missing, len(rest))
                    self._missing -= taken
                    rest = rest[taken:]
                if len(rest) < _HEADER:
                    break
                length = int.from_bytes(rest[:_HEADER], "big")
                size = length & ~_PIECE
                whole = size + (len(self._pieces) if length & _PIECE else 0)
                if whole > self._largest:
                    raise Undecodable(f"{whole} bytes were announced; the limit is {self._largest}")
                if length & _PIECE:
                    self._missing = size
                    rest = rest[_HEADER:]
                    if not size:
                        pieces, self._pieces = self._pieces, bytearray()
                        yield memoryview(pieces)
                    continue
                end = _HEADER + size
                if len(rest) < end:
                    break
                body, rest = rest[_HEADER:end], rest[end:]
                yield body
        finally:
            if held and len(rest) == len(held):  # a large frame, which is not copied each time that more of it arrives
                rest.release()
                self._buffer = held
            else:
                self._buffer += rest
