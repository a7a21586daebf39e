"""The values of the contract as typed, frozen objects with snake_case attributes.

A model's hooks receive them, and a client returns them. The wire uses camelCase. ``from_wire`` accepts both, since MISTK's
documents use both, and keeps unknown keys in ``extra``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Self

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


@dataclass(frozen=True)
class ObjectInfo:
    """The fields that every MISTK object has. All are optional on the wire.

    Attributes:
        name: the unique name of the object.
        kind: its type, such as ``MistkDataset``.
        id: a UUID.
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

    name: str | None = None
    kind: str | None = None
    id: str | None = None
    display_name: str | None = None
    description: str | None = None
    summary: str | None = None
    owner: str | None = None
    group: str | None = None
    project: str | None = None
    sharable: bool | None = None
    public: bool | None = None
    labels: Mapping[str, Any] | None = None
    resources: tuple[str, ...] | None = None
    resource_version: int | None = None
    creation_time: str | None = None
    modification_time: str | None = None

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        """Build it from the JSON object of the wire. Unknown keys are ignored."""
        known, _ = _known_fields(cls, wire)
        if known.get("resources") is not None:
            known["resources"] = tuple(known["resources"])
        return cls(**known)

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON object of the wire, without unset fields."""
        return _to_wire(self)


@dataclass(frozen=True)
class Dataset:
    """A dataset in MISTK's vocabulary.

    Attributes:
        object_info: its name, kind and so on.
        datastash_id: the store of the files in the MISTK ecosystem; this service does not use it.
        datastash_sub_dir: the folder in that store.
        modality: ``image``, ``audio``, ``video``, ``text`` ...
        format: the name of the file format, by agreement between orchestrator and model (``csv``, ``npz`` ...).
        statistics: facts about the data, such as ``{"size": bytes}``.
        extra: further keys that the orchestrator sent, by their names on the wire.
    """

    object_info: ObjectInfo = field(default_factory=ObjectInfo)
    datastash_id: str | None = None
    datastash_sub_dir: str | None = None
    modality: str | None = None
    format: str | None = None
    statistics: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        """Build it from the JSON object of the wire. Unknown keys go to ``extra``.

        Raises:
            InvalidRequest: the object info is not an object, or a path is not a string.
        """
        known, extra = _known_fields(cls, wire)
        info = known.get("object_info") or {}
        if not isinstance(info, Mapping):
            raise InvalidRequest(f"object_info: {info!r:.80} is not an object.", field="object_info")
        path = known.get("data_path")
        if path is not None and not isinstance(path, str):
            raise InvalidRequest(f"data_path: {path!r:.80} is not a string.", field="data_path")
        known["object_info"] = ObjectInfo.from_wire(info)
        return cls(**known, extra=extra)

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON object of the wire, without unset fields."""
        wire = _to_wire(self)
        return {**wire.pop("extra", {}), **wire, "objectInfo": self.object_info.to_wire()}


@dataclass(frozen=True)
class MistkDataset(Dataset):
    """A dataset for a model to load.

    Attributes:
        data_path: the file or folder with the data, as the worker process sees it.
    """

    data_path: str | None = None


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


def _known_fields(cls: type, wire: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a wire object into the fields of ``cls`` (in snake_case) and the remaining keys (unchanged)."""
    names = {f.name for f in fields(cls)} - {"extra"}
    known: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for key, value in wire.items():
        name = _snake(key)
        if name in names:
            known[name] = value
        else:
            extra[key] = value
    return known, extra


def _to_wire(value: Any) -> dict[str, Any]:
    present = ((f.name, getattr(value, f.name)) for f in fields(value))
    return {_camel(name): list(v) if isinstance(v, tuple) else v for name, v in present if v is not None}
