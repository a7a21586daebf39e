"""The inputs and answers of predictions, independent of any API. The doors convert them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

#: The data types of tensors, by their names in numpy, and the size of an element in bytes; 0 for a variable size.
DTYPES = {
    "bool": 1,
    **{f"{sign}int{8 * size}": size for sign in ("", "u") for size in (1, 2, 4, 8)},
    **{f"float{8 * size}": size for size in (2, 4, 8)},
    "bytes": 0,
}


#: The codecs of records that are byte strings on the wire.
CODECS = ("text", "json", "csv", "image")

#: The channels of images, as dimensions.
IMAGE_CHANNELS = ((), (3,), (4,))


class TensorSpec(msgspec.Struct, frozen=True, array_like=True):
    """What a class declares about a tensor.

    Attributes:
        name: its name.
        dtype: one of :data:`DTYPES`.
        shape: its dimensions; -1 for any.
        codec: one of :data:`CODECS`, by which the records of a tensor of byte strings are encoded; None for none.
        decoded: the dimensions of decoded images; empty for any.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    codec: str | None = None
    decoded: tuple[int, ...] = ()

    @property
    def type_name(self) -> str:
        """The type as the class declares it: the codec, or else the data type."""
        return self.codec or self.dtype

    @property
    def hook_shape(self) -> tuple[int, ...]:
        """The dimensions of the array that the hook gets or returns."""
        return self.decoded or self.shape

    def fits(self, shape: Sequence[int]) -> bool:
        """Return whether a tensor may have this shape."""
        return len(shape) == len(self.shape) and all(
            want in (-1, have) for want, have in zip(self.shape, shape, strict=True)
        )

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES or not all(-1 <= dimension < 2**63 for dimension in self.shape):
            raise ValueError(
                f"{self.name}: expected a data type among {', '.join(DTYPES)} with dimensions of -1 or more, or a codec among "
                f"{', '.join(CODECS)}"
            )
        if self.decoded and (self.codec != "image" or self.decoded[3:] not in IMAGE_CHANNELS):
            raise ValueError(
                f"{self.name}: only images have a shape: [-1, HEIGHT, WIDTH] if they are grey, or [-1, HEIGHT, WIDTH, 3] or 4"
            )


class Signature(msgspec.Struct, frozen=True, array_like=True):
    """What a class declares.

    Attributes:
        record_encoding: the encoding of its records: ``base64``, or None.
        inputs: the tensors that it takes.
        outputs: the tensors that it returns.
        hyperparameters: the JSON Schema of its hyperparameters, as JSON; None if it declares none.
        idempotent_predictions: whether a prediction may be repeated after its replica has died.
        serve_while_training: whether replicas predict with the previous model while the worker trains.
        copied_after_training: whether they follow a training from a copy that the worker saves.
    """

    record_encoding: str | None = None
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    hyperparameters: str | None = None
    idempotent_predictions: bool = False
    serve_while_training: bool = False
    copied_after_training: bool = False

    @property
    def has_records(self) -> bool:
        """Whether the first dimension of all declared tensors counts records."""
        return all(spec.shape[:1] == (-1,) for spec in (*self.inputs, *self.outputs))


class Records(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Records with their identifiers, in order.

    Attributes:
        ids: a unique identifier for each record.
        values: the records, each as bytes, as the text that a door received, or as a list for kinds that have lists.
    """

    ids: tuple[str, ...]
    values: tuple[Any, ...]  # bytes, str or list; msgspec cannot decode a union of bytes and str

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def size(self) -> int:
        """The total size of the records, in bytes, characters or elements."""
        return sum(map(len, self.values))


class Tensor(msgspec.Struct, frozen=True, array_like=True):
    """A named tensor.

    Attributes:
        name: its name.
        dtype: the name of its data type in numpy, such as ``float32``; ``bytes`` for byte strings.
        shape: its dimensions.
        data: its elements as bytes, little-endian, in row-major order. A byte string is preceded by its length (32 bits).
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: memoryview


class Tensors(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """Tensors with unique names. Their first dimension counts the records, unless they have no elements."""

    tensors: tuple[Tensor, ...]

    def __len__(self) -> int:
        records = 0
        for tensor in self.tensors:
            shape = tensor.shape
            if 0 not in shape:
                records = max(records, shape[0] if shape else 1)
        return records

    @property
    def layout(self) -> tuple[Any, ...] | None:
        """The property that tensors must share to be joined record by record; None if they cannot be joined."""
        records = (len(self),)
        shared = []
        for tensor in self.tensors:
            if tensor.shape[:1] != records:
                return None
            shared.append((tensor.name, tensor.dtype, tensor.shape[1:]))
        return tuple(shared) or None

    @staticmethod
    def joined(several: Sequence[Tensors]) -> Tensors:
        """Return the records of tensors that have the same layout, one after the other."""
        joined = []
        for column in zip(*[each.tensors for each in several], strict=True):
            first = column[0]
            shape = (sum([tensor.shape[0] for tensor in column]), *first.shape[1:])
            data = memoryview(b"".join([tensor.data for tensor in column]))
            joined.append(Tensor(first.name, first.dtype, shape, data))
        return Tensors(tuple(joined))

    @property
    def size(self) -> int:
        """The total size of the tensors in bytes."""
        return sum(tensor.data.nbytes for tensor in self.tensors)


class Prompt(msgspec.Struct, frozen=True, array_like=True, tag=True):
    """A text to continue.

    Attributes:
        text: the text.
        parameters: parameters of the generation, by name; any JSON values.
    """

    text: str
    parameters: dict[str, Any] = {}

    def __len__(self) -> int:
        return 1

    @property
    def size(self) -> int:
        """The length of the text in characters."""
        return len(self.text)


#: The inputs of a prediction.
Inputs = Records | Tensors | Prompt


class Answer:
    """A model's answer, which is decoded on request."""

    __slots__ = ("_packed",)

    def __init__(self, packed: msgspec.Raw) -> None:
        self._packed = packed

    @property
    def size(self) -> int:
        """The size of the packed value in bytes, which shows how long decoding takes."""
        return memoryview(self._packed).nbytes

    def value(self) -> Any:
        """Return the model's answer to records, as plain values."""
        return _decode(self._packed)

    def tensors(self) -> tuple[Tensor, ...]:
        """Return the model's answer to tensors."""
        return _decode_tensors(self._packed).tensors


def pack(value: Any, plain: Callable[[Any], Any]) -> msgspec.Raw:
    """Return a value that JSON can express in MessagePack, for :class:`Answer`.

    Raises:
        TypeError: JSON cannot express the value.
    """
    # Keys are converted as in JSON. An invalid key is an error here and not when the value is decoded.
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
_decode_tensors = msgspec.msgpack.Decoder(Tensors).decode
