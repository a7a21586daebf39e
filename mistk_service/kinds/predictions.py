"""The values of a prediction that cross between a door and a model. Their codecs belong to the doors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

__all__ = ["Answer", "Records", "pack"]


class Records(msgspec.Struct, frozen=True, array_like=True):
    """Records with their identifiers, in order.

    Attributes:
        ids: a unique identifier for each record.
        values: the records, each as bytes, or as the text that a door received.
    """

    ids: tuple[str, ...]
    values: tuple[Any, ...]  # bytes or str; msgspec cannot decode a union of the two

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def size(self) -> int:
        """The total size of the records, in bytes or characters."""
        return sum(map(len, self.values))


class Answer:
    """A model's answer, which is decoded on request.

    Args:
        packed: the value in MessagePack.
    """

    __slots__ = ("_packed",)

    def __init__(self, packed: msgspec.Raw) -> None:
        self._packed = packed

    @property
    def size(self) -> int:
        """The size of the packed value in bytes, which shows how long decoding takes."""
        return memoryview(self._packed).nbytes

    def value(self) -> Any:
        """Return the model's answer as plain values."""
        return _decode(self._packed)


def pack(value: Any, plain: Callable[[Any], Any]) -> msgspec.Raw:
    """Return a value that JSON can express in MessagePack, for :class:`Answer`.

    Args:
        value: the value.
        plain: returns a plain form of a value of an unknown type.

    Raises:
        TypeError: JSON cannot express the value.
    """
    # Keys are converted as JSON would convert them. Any other key is an error here rather than where the value is decoded.
    builtins = msgspec.to_builtins(value, str_keys=True, enc_hook=plain)
    try:
        return msgspec.Raw(msgspec.msgpack.encode(builtins))
    except OverflowError:
        return msgspec.Raw(msgspec.msgpack.encode(_without_long_integers(builtins)))


#: The type of the MessagePack extension that carries an integer of more than 64 bits, as its digits.
_INTEGER = 1


def _without_long_integers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_long_integers(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_long_integers(each) for each in value]
    if type(value) is int and not -(2**63) <= value < 2**64:
        return msgspec.msgpack.Ext(_INTEGER, str(value).encode())
    return value


def _extension(code: int, data: memoryview) -> Any:
    return int(bytes(data)) if code == _INTEGER else msgspec.msgpack.Ext(code, bytes(data))


_decode = msgspec.msgpack.Decoder(ext_hook=_extension).decode
