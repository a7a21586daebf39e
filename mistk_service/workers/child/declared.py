"""Reads what a class declares: its hyperparameters, its tensors, and the encoding of its records."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, TypeVar

import msgspec
import msgspec.inspect

from mistk_service.kinds import kind_of
from mistk_service.kinds.component import Component
from mistk_service.kinds.predictions import CODECS, Signature, TensorSpec

T = TypeVar("T")

#: The data types of the fields of a struct in place of ``inputs`` or ``outputs``.
_DTYPES: dict[type, str] = {
    msgspec.inspect.BoolType: "bool",
    msgspec.inspect.IntType: "int64",
    msgspec.inspect.FloatType: "float64",
    msgspec.inspect.StrType: "bytes",
    msgspec.inspect.BytesType: "bytes",
}


def signature_of(model: Component) -> Signature:
    """Return what a model declares.

    Raises:
        TypeError: a declaration has another form; the message names it and what is expected.
    """
    kind = kind_of(type(model))
    tensors: dict[str, Any] = {"inputs": (), "outputs": ()}
    # A class without the hook may have attributes of these names for its own use.
    if kind.prediction is not None and kind.prediction.tensor_hook in kind.hooks_of(type(model)):
        # The hook gets a column of str as texts; it may return byte strings for one.
        readers: dict[str, Callable[[Any], Any]] = {"inputs": partial(_specs, text="text"), "outputs": _specs}
        tensors = {name: _read(name, read, getattr(type(model), name, ())) for name, read in readers.items()}
    encoding = _read("record_encoding", _encoding, getattr(model, "record_encoding", None))
    declared = hyperparameters_of(model)
    serves = _flag(model, "serve_while_training")
    copying = (hook for row in kind.operations.values() for hook in row.copied_by or ())
    return Signature(
        encoding,
        **tensors,
        hyperparameters=None if declared is None else _read("hyperparameters", _schema, declared),
        idempotent_predictions=_flag(model, "idempotent_predictions"),
        serve_while_training=serves,
        copied_after_training=serves and all(kind.overrides(type(model), hook) for hook in copying),
    )


#: What a declaration has to be.
_TENSORS = "a list of (name, data type, shape), such as [('pixels', 'float32', (-1, 64))], or a struct"
_FORMS = {
    "inputs": _TENSORS,
    "outputs": _TENSORS,
    "record_encoding": "'base64' or None",
    "hyperparameters": "a struct or a dataclass of types that JSON can express",
}


def _read(name: str, read: Callable[[Any], T], declared: Any) -> T:
    """Return what ``read`` makes of a declaration.

    Raises:
        TypeError: it has another form.
    """
    try:
        return read(declared)
    except (msgspec.ValidationError, TypeError, RecursionError) as error:
        raise TypeError(f"{name}: {error}; expected {_FORMS.get(name, 'True or False')}") from error


def _encoding(declared: Any) -> str | None:
    encoding: Literal["base64"] | None = msgspec.convert(declared, Literal["base64"] | None)
    return encoding


def _flag(model: Component, name: str) -> bool:
    return _read(name, lambda declared: msgspec.convert(declared, bool), getattr(type(model), name, False))


def hyperparameters_of(model: Component | None) -> type[Any] | None:
    """Return the type that a model's class declares for its hyperparameters: a msgspec struct or a dataclass."""
    declared = getattr(type(model), "hyperparameters", None)
    return declared if _is_record_type(declared) else None


def _is_record_type(value: Any) -> bool:
    return isinstance(value, type) and (issubclass(value, msgspec.Struct) or dataclasses.is_dataclass(value))


def _specs(declared: Any, text: str | None = None) -> tuple[TensorSpec, ...]:
    """Return the tensors of a list of (name, data type or codec, shape), or of a struct with a column for each field.

    Args:
        declared: the list or the struct.
        text: the codec of columns of the type str.
    """
    if not _is_record_type(declared):
        specs = tuple(_spec(each) for each in msgspec.convert(declared, tuple[Any, ...]))
        if len({spec.name for spec in specs}) < len(specs):
            # No request could name both.
            raise TypeError("two tensors have the same name")
        return specs
    fields = msgspec.inspect.type_info(declared).fields  # type: ignore[attr-defined]  # it is a struct or a dataclass
    unknown = [field.name for field in fields if type(field.type) not in _DTYPES]
    if unknown:
        raise TypeError(f"{', '.join(unknown)}: a column is of the type bool, int, float, str or bytes")
    return tuple(
        TensorSpec(
            field.encode_name,
            _DTYPES[type(field.type)],
            (-1,),
            text if isinstance(field.type, msgspec.inspect.StrType) else None,
        )
        for field in fields
    )


def _spec(declared: Any) -> TensorSpec:
    match declared:
        case (name, codec, *shape) if codec in CODECS:
            if codec == "image" and importlib.util.find_spec("PIL") is None:
                raise TypeError(f"{name}: images need Pillow; install the extra: pip install 'mistk-service[images]'")
            declared = (name, "bytes", (-1,), codec, *shape)
    return msgspec.convert(declared, TensorSpec)


def _schema(declared: type[Any]) -> str:
    """Return the JSON Schema of a type, without references, as JSON."""
    (top,), parts = msgspec.json.schema_components([declared], ref_template="{name}")
    return msgspec.json.encode({**_inlined(top, parts), "additionalProperties": False}).decode()


def _inlined(schema: Any, parts: Mapping[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inlined(each, parts) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(
            {**parts[schema["$ref"]], **{key: each for key, each in schema.items() if key != "$ref"}}, parts
        )
    return {key: _inlined(each, parts) for key, each in schema.items()}
