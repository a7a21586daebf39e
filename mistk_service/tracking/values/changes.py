"""Changes of runs, as the journal keeps them until every remote has them.

A change describes a write to the local store; ids in it are local ones. The form on disk is MessagePack,
which can express NaN and the infinities.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from mistk_service.tracking.values import (
    DatasetInput,
    LifecycleStage,
    Metric,
    ModelInput,
    ModelOutput,
    Param,
    RunStatus,
    Tag,
)


class RunCreated(msgspec.Struct, frozen=True, tag="run", array_like=True):
    """A run was created; what it was created with is read from the store."""


class BatchLogged(msgspec.Struct, frozen=True, tag="batch", array_like=True):
    """Metrics, params and tags were written.

    Attributes:
        points: the first fields of each metric: key, value, timestamp, step. The logged model that was measured is left out,
            since logged models have other ids on the remote.
        params: (key, value) of each.
        tags: (key, value) of each.
    """

    points: list[tuple[str, float, int, int]]
    params: list[tuple[str, str]]
    tags: list[tuple[str, str]]

    @classmethod
    def of(cls, metrics: Sequence[Metric], params: Sequence[Param], tags: Sequence[Tag]) -> BatchLogged:
        """Return the change for a batch."""
        return cls(
            [(metric.key, metric.value, metric.timestamp, metric.step) for metric in metrics],
            [(param.key, param.value) for param in params],
            [(tag.key, tag.value) for tag in tags],
        )


class TagDeleted(msgspec.Struct, frozen=True, tag="untag", array_like=True):
    """A tag was removed."""

    key: str


class RunUpdated(msgspec.Struct, frozen=True, tag="update", array_like=True):
    """The status (by name), the end time or the name changed; None if it did not."""

    status: str | None
    end_time: int | None
    name: str | None

    @classmethod
    def of(cls, status: RunStatus | None, end_time: int | None, name: str | None) -> RunUpdated:
        """Return the change for an update."""
        return cls(status.name if status else None, end_time, name or None)


class RunMoved(msgspec.Struct, frozen=True, tag="move", array_like=True):
    """The run was deleted or restored; ``stage`` is its lifecycle stage now."""

    stage: LifecycleStage


class InputsLogged(msgspec.Struct, frozen=True, tag="inputs", array_like=True):
    """Datasets and models were logged as inputs."""

    datasets: list[DatasetInput]
    models: list[ModelInput]


class OutputsLogged(msgspec.Struct, frozen=True, tag="outputs", array_like=True):
    """Models were logged as outputs."""

    models: list[ModelOutput]


class ArtifactLogged(msgspec.Struct, frozen=True, tag="artifact", array_like=True):
    """A file was put into the run's artifacts, at ``path`` below their root."""

    path: str


class VersionCreated(msgspec.Struct, frozen=True, tag="version", array_like=True):
    """A version of a registered model was made from the run."""

    name: str
    version: str


class ModelChanged(msgspec.Struct, frozen=True, tag="model", array_like=True):
    """A logged model that the run made was finished, or got tags or params; its state is read from the store."""

    model_id: str


Change = (
    RunCreated
    | BatchLogged
    | TagDeleted
    | RunUpdated
    | RunMoved
    | InputsLogged
    | OutputsLogged
    | ArtifactLogged
    | VersionCreated
    | ModelChanged
)

#: To the form on disk, and back.
encode = msgspec.msgpack.Encoder().encode
decode: Callable[[bytes], Change] = msgspec.msgpack.Decoder(Change).decode
