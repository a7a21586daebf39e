"""The values of the contract as typed objects with snake_case attributes.

A model's hooks receive them, and a client returns them. The wire uses camelCase. ``from_wire`` accepts both, since MISTK's
documents use both, and keeps unknown keys in ``extra``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Self, get_args, get_origin, get_type_hints

from mistk_service.errors import InvalidRequest


class Objective(StrEnum):
    """What a model instance will be used for.

    The values are the spelling of MISTK's types, with which its models compare. :meth:`parse` also accepts the short spelling
    of MISTK's descriptions.
    """

    TRAINING = "training"
    PREDICTION = "prediction"
    STREAMING_PREDICTION = "streaming_prediction"
    GENERATION = "generation"
    TRANSFER_LEARNING = "transfer_learning"
    MINIATURIZATION = "miniaturization"

    @classmethod
    def parse(cls, text: str) -> Objective:
        """Return the objective that ``text`` names, in either spelling.

        Raises:
            InvalidRequest: ``text`` is not an objective.
        """
        try:
            return _OBJECTIVE_SPELLINGS[text]
        except (KeyError, TypeError):
            known = ", ".join(sorted(_OBJECTIVE_SPELLINGS))
            raise InvalidRequest(
                f"objectives: {text!r} is not an objective; expected one of {known}.", field="objectives"
            ) from None


_OBJECTIVE_SPELLINGS: dict[str, Objective] = {o.value: o for o in Objective} | {
    "train": Objective.TRAINING,
    "predict": Objective.PREDICTION,
    "stream_predict": Objective.STREAMING_PREDICTION,
    "generate": Objective.GENERATION,
    "miniaturize": Objective.MINIATURIZATION,
}


def _snake(name: str) -> str:
    return "".join("_" + c.lower() if c.isupper() else c for c in name)


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


@dataclass
class Value:
    """The root of the contract's types. Its fields are their attributes in snake_case."""

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        """Build it from the JSON object of the wire. Unknown keys go to ``extra``, if it has that, and are ignored otherwise.

        Raises:
            InvalidRequest: a value that has to be an object is not one.
        """
        kinds = _types_of(cls)
        known: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for key, value in wire.items():
            name = _snake(key)
            if name in kinds and name != "extra":
                known[name] = _converted(name, value, kinds[name])
            else:
                extra[key] = value
        return cls(
            **{name: value for name, value in known.items() if value is not None},
            **{"extra": extra} if "extra" in kinds else {},
        )

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON object of the wire, without unset fields."""
        present = {f.name: getattr(self, f.name) for f in fields(self)}
        extra = present.pop("extra", {})
        return {
            **extra,
            **{_camel(name): _plain(value, Value.to_wire) for name, value in present.items() if value is not None},
        }

    def to_dict(self) -> dict[str, Any]:
        """Return all fields by their names, including unset ones, as MISTK's types do."""
        return {f.name: _plain(getattr(self, f.name), Value.to_dict) for f in fields(self)}


def _types_of(cls: type[Value]) -> dict[str, Any]:
    """Return the type of each field, without the None of a field that need not be set."""
    hints = get_type_hints(cls)
    members = {f.name: [each for each in get_args(hints[f.name]) if each is not NoneType] for f in fields(cls)}
    return {name: each[0] if isinstance(hints[name], UnionType) else hints[name] for name, each in members.items()}


def _converted(name: str, value: Any, kind: Any) -> Any:
    """Convert a value of the wire for a field."""
    if value is None:
        return None
    if isinstance(kind, type) and issubclass(kind, Value):
        if not isinstance(value, Mapping):
            raise InvalidRequest(f"{name}: {value!r:.80} is not an object.", field=name)
        return kind.from_wire(value)
    if get_origin(kind) in (list, tuple) and isinstance(value, list):
        return get_origin(kind)(_converted(name, each, get_args(kind)[0]) for each in value)
    return value


def _plain(value: Any, convert: Callable[[Value], dict[str, Any]]) -> Any:
    if isinstance(value, Value):
        return convert(value)
    return [_plain(each, convert) for each in value] if isinstance(value, list | tuple) else value


@dataclass
class ObjectInfo(Value):
    """The fields that every MISTK object has, in MISTK's order. All are optional on the wire.

    Attributes:
        kind: its type, such as ``MistkDataset``.
        id: a UUID.
        name: the unique name of the object.
        display_name: the name to display.
        description: a text, possibly in Markdown.
        summary: one line.
        owner: the owner of the object.
        group: the group that owns it.
        project: the name of ``group`` in later versions of MISTK.
        sharable: whether other projects may use it.
        public: whether others may see it.
        labels: annotations.
        resources: URIs of related resources.
        resource_version: the version that the server assigns; a watch can start from the version of a status.
        creation_time: when it was created, ISO 8601.
        modification_time: when it was last modified, ISO 8601.
    """

    kind: str | None = None
    id: str | None = None
    name: str | None = None
    display_name: str | None = None
    description: str | None = None
    summary: str | None = None
    owner: str | None = None
    group: str | None = None
    project: str | None = None
    sharable: bool | None = None
    public: bool | None = None
    labels: dict[str, Any] | None = None
    resources: tuple[str, ...] | None = None
    resource_version: int | None = None
    creation_time: str | None = None
    modification_time: str | None = None


@dataclass
class ObjectReference(Value):
    """A reference to another object, by its id or its name.

    Attributes:
        kind: the type of the object.
        group: the group that owns it.
        project: the name of ``group`` in later versions of MISTK.
        id: its UUID.
        name: its unique name.
        instance: the object itself.
        extra: further keys, by their names on the wire.
    """

    kind: str | None = None
    group: str | None = None
    project: str | None = None
    id: str | None = None
    name: str | None = None
    instance: dict[str, Any] | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass
class DatasetStatistics(Value):
    """Facts about a dataset.

    Attributes:
        size: the size in bytes.
        extra: further facts, by their names on the wire.
    """

    size: int | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass
class Dataset(Value):
    """A dataset in MISTK's vocabulary.

    Attributes:
        object_info: its name, kind and so on.
        datastash_id: the store of the files in the MISTK ecosystem; this service does not use it.
        datastash_sub_dir: the folder in that store.
        modality: ``image``, ``audio``, ``video``, ``text`` ...
        format: the name of the file format, by agreement between orchestrator and model (``csv``, ``npz`` ...).
        statistics: facts about the data, such as its size.
        default_ground_truth_set_reference: the dataset with the truth.
        extra: further keys that the orchestrator sent, by their names on the wire.
    """

    object_info: ObjectInfo = field(default_factory=ObjectInfo)
    datastash_id: str | None = None
    datastash_sub_dir: str | None = None
    modality: str | None = None
    format: str | None = None
    statistics: DatasetStatistics | None = None
    default_ground_truth_set_reference: ObjectReference | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass
class MistkDataset(Dataset):
    """A dataset for a model to load.

    Attributes:
        data_path: the file or folder with the data, as the worker process sees it.
    """

    data_path: str | None = None

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        """Build it from the JSON object of the wire. Unknown keys go to ``extra``.

        Raises:
            InvalidRequest: a value that has to be an object is not one, or a path is not a string.
        """
        dataset = super().from_wire(wire)
        if not isinstance(dataset.data_path, str | None):
            raise InvalidRequest(f"data_path: {dataset.data_path!r:.80} is not a string.", field="data_path")
        return dataset


def dataset_of(field: str, wire: Mapping[str, Any]) -> MistkDataset:
    """Build the dataset that is a field of a request.

    Raises:
        InvalidRequest: as :meth:`MistkDataset.from_wire`; it names the field of the request.
    """
    try:
        return MistkDataset.from_wire(wire)
    except InvalidRequest as error:
        raise InvalidRequest(f"{field}.{error}", field=f"{field}.{error.field}") from error


@dataclass(frozen=True)
class InitParams:
    """The arguments of ``initialize``.

    Attributes:
        objectives: what the instance will be used for, without duplicates, in the given order.
        model_properties: settings other than hyperparameters.
        hyperparameters: values by name.
    """

    objectives: tuple[Objective, ...] = ()
    model_properties: Mapping[str, Any] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        """Build it from the JSON object of the wire.

        Raises:
            InvalidRequest: an objective is unknown.
        """
        objectives = dict.fromkeys(Objective.parse(text) for text in wire.get("objectives") or ())
        return cls(tuple(objectives), wire.get("modelProperties") or {}, wire.get("hyperparameters") or {})

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON object of the wire."""
        return {
            "objectives": [o.value for o in self.objectives],
            "modelProperties": dict(self.model_properties),
            "hyperparameters": dict(self.hyperparameters),
        }
