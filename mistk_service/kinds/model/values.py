"""The values that the contract speaks of, as typed, frozen objects with snake_case attributes.

These are what a model's hooks are given and what a client gets back. The wire's own spelling is camelCase; ``from_wire``
takes both, since MISTK's documents use both, and keeps what it does not know in ``extra``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Self

from mistk_service.errors import InvalidRequest

__all__ = ["Dataset", "InitParams", "MistkDataset", "ObjectInfo", "Objective"]


class Objective(StrEnum):
    """What a model instance is going to be used for.

    The values are the spelling of MISTK's types, which its models compare with; :meth:`parse` also takes the short spelling
    of MISTK's descriptions.
    """

    TRAINING = "training"
    PREDICTION = "prediction"
    STREAMING_PREDICTION = "streaming_prediction"
    GENERATION = "generation"
    TRANSFER_LEARNING = "transfer_learning"

    @classmethod
    def parse(cls, text: str) -> Objective:
        """Return the objective that ``text`` names, in either spelling.

        Raises:
            InvalidRequest: it names none.
        """
        try:
            return _OBJECTIVE_SPELLINGS[text]
        except (KeyError, TypeError):
            known = ", ".join(sorted(_OBJECTIVE_SPELLINGS))
            raise InvalidRequest(
                f"objectives: {text!r} is no objective; expected one of {known}.", field="objectives"
            ) from None


_OBJECTIVE_SPELLINGS: dict[str, Objective] = {o.value: o for o in Objective} | {
    "train": Objective.TRAINING,
    "predict": Objective.PREDICTION,
    "stream_predict": Objective.STREAMING_PREDICTION,
    "generate": Objective.GENERATION,
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
        display_name: the name as people see it.
        description: a text, possibly in Markdown.
        summary: one line.
        owner: who made it.
        group: whose it is.
        project: the same, as later versions of MISTK call it.
        sharable: whether other projects may use it.
        public: whether others may see it.
        labels: annotations.
        resources: URIs of what belongs to it.
        resource_version: the version that the server gives; for a status, the number that a watch can start from.
        creation_time: ISO 8601.
        modification_time: ISO 8601.
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
        """Build it from the JSON object of the wire; keys that are not known are ignored."""
        known, _ = _known_fields(cls, wire)
        if known.get("resources") is not None:
            known["resources"] = tuple(known["resources"])
        return cls(**known)

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON object of the wire, without the fields that are not set."""
        return _to_wire(self)


@dataclass(frozen=True)
class Dataset:
    """A dataset as the ecosystem knows it.

    Attributes:
        object_info: name, kind and the like.
        datastash_id: where the ecosystem keeps the files; this service does not use it.
        datastash_sub_dir: the folder below it.
        modality: ``image``, ``audio``, ``video``, ``text`` ...
        format: the name of the file format, by agreement between orchestrator and model (``csv``, ``npz`` ...).
        statistics: such as ``{"size": bytes}``.
        extra: what else the orchestrator sent, by the wire's names.
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
        """Build it from the JSON object of the wire; keys that are not known go to ``extra``.

        Raises:
            InvalidRequest: the object info is none, or a path is no text.
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
        """Return the JSON object of the wire, without the fields that are not set."""
        wire = _to_wire(self)
        return {**wire.pop("extra", {}), **wire, "objectInfo": self.object_info.to_wire()}


@dataclass(frozen=True)
class MistkDataset(Dataset):
    """A dataset that a model is to load.

    Attributes:
        data_path: the file or folder with the data, as the worker process sees it.
    """

    data_path: str | None = None


@dataclass(frozen=True)
class InitParams:
    """What ``initialize`` brings.

    Attributes:
        objectives: what the instance is for, without repetition, in the order given.
        model_properties: settings that are no hyperparameters.
        hyperparameters: values by name.
    """

    objectives: tuple[Objective, ...] = ()
    model_properties: Mapping[str, Any] = field(default_factory=dict)
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        """Build it from the JSON object of the wire.

        Raises:
            InvalidRequest: an objective is none.
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
    """Split a wire object into the fields of ``cls`` (snake_case) and the rest (as it came)."""
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
