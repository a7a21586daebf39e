"""What a reporter has to know beforehand, and what the orchestrator asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mistk_service.kinds.kind import Kind

__all__ = ["ReporterOptions", "Steering"]

#: The model properties that say where the run goes, and the fields of :class:`Steering` that they set.
_PROPERTIES = {
    "mlflow.experimentName": "experiment_name",
    "mlflow.experimentId": "experiment_id",
    "mlflow.runName": "run_name",
    "mlflow.runId": "run_id",
    "mlflow.parentRunId": "parent_run_id",
    "mlflow.registeredModelName": "registered_model_name",
}


@dataclass(frozen=True)
class Steering:
    """Where a run is to go; None leaves it to the container.

    Attributes:
        experiment_name: the experiment, made if it is not there.
        experiment_id: the experiment, which must be there; counts more than a name, which is the second choice.
        run_name: the run's name for people.
        run_id: a run to go on with.
        parent_run_id: the run that this one is a part of.
        registered_model_name: the registered model that a saved model becomes a version of.
    """

    experiment_name: str | None = None
    experiment_id: str | None = None
    run_name: str | None = None
    run_id: str | None = None
    parent_run_id: str | None = None
    registered_model_name: str | None = None

    def overridden(self, properties: Mapping[str, Any]) -> Steering:
        """Return this with what the model properties of ``initialize`` say instead.

        Whoever names an experiment does not mean the run, or the other experiment, that the environment names.
        """
        given: dict[str, str | None] = {
            field: str(properties[key]) for key, field in _PROPERTIES.items() if properties.get(key)
        }
        if given.keys() & {"experiment_name", "experiment_id", "parent_run_id"}:
            given = {**dict.fromkeys(("experiment_name", "experiment_id", "run_id")), **given}
        return replace(self, **given)

    @staticmethod
    def without(properties: Mapping[str, Any]) -> dict[str, Any]:
        """Return the model properties that steer nothing."""
        return {key: value for key, value in properties.items() if key not in _PROPERTIES}


@dataclass(frozen=True)
class ReporterOptions:
    """What a reporter has to know beforehand.

    Attributes:
        kind: the kind of container.
        container_id: the id of the container, a UUID.
        model: the name of the model class.
        reference: what the model was loaded from; see :mod:`mistk_service.workers.child.loader`.
        state_dir: the folder for what outlives the process; never uploaded.
        api_version: returns the version of the lifecycle API; called on the reporter's thread.
        steering: where runs go unless ``initialize`` says something else. The run id counts for the first run only.
        system_interval: seconds between two measurements of the worker; None for none.
        root_path: the path below which a reverse proxy serves the container; links begin with it.
        artifact_locations: URIs below which artifacts may be kept, besides the container's own folder.
    """

    kind: Kind
    container_id: str
    model: str
    reference: str
    state_dir: Path
    api_version: Callable[[], str]
    steering: Steering = Steering()
    system_interval: float | None = None
    root_path: str = ""
    artifact_locations: tuple[str, ...] = ()

    @property
    def spool(self) -> Path:
        """The folder where the worker puts what the model hands over."""
        return self.state_dir / "spool" / self.container_id

    @property
    def locks(self) -> Path:
        """The folder with the locks of the containers of this state directory."""
        return self.state_dir / "containers"
