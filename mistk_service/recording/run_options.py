"""The options of the recorder and of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mistk_service.kinds.kind import Kind

#: The model properties with options of the run, and the fields of :class:`RunOptions` that they set.
_PROPERTIES = {
    "mlflow.experimentName": "experiment_name",
    "mlflow.experimentId": "experiment_id",
    "mlflow.runName": "run_name",
    "mlflow.runId": "run_id",
    "mlflow.parentRunId": "parent_run_id",
    "mlflow.registeredModelName": "registered_model_name",
}


@dataclass(frozen=True)
class RunOptions:
    """The options of a run; None leaves the choice to the container.

    Attributes:
        experiment_name: the experiment, which is created if it does not exist.
        experiment_id: an existing experiment; takes precedence over the name.
        run_name: the name of the run.
        run_id: an existing run to resume.
        parent_run_id: the parent of the run.
        registered_model_name: the registered model to which a saved model is added as a version.
    """

    experiment_name: str | None = None
    experiment_id: str | None = None
    run_name: str | None = None
    run_id: str | None = None
    parent_run_id: str | None = None
    registered_model_name: str | None = None

    def overridden(self, properties: Mapping[str, Any]) -> RunOptions:
        """Return a copy that is overridden by the model properties of ``initialize``.

        Properties that name an experiment or a parent also override the experiment and the run of the environment.
        """
        given: dict[str, str | None] = {
            field: str(properties[key]) for key, field in _PROPERTIES.items() if properties.get(key)
        }
        if given.keys() & {"experiment_name", "experiment_id", "parent_run_id"}:
            given = {**dict.fromkeys(("experiment_name", "experiment_id", "run_id")), **given}
        return replace(self, **given)

    @staticmethod
    def other_properties(properties: Mapping[str, Any]) -> dict[str, Any]:
        """Return the model properties that are not options of the run."""
        return {key: value for key, value in properties.items() if key not in _PROPERTIES}


@dataclass(frozen=True)
class RecorderOptions:
    """The options of the recorder.

    Attributes:
        kind: the kind of container.
        container_id: the id of the container, a UUID.
        model: the name of the model class.
        reference: what the model was loaded from; see :mod:`mistk_service.workers.child.loader`.
        state_dir: the folder for data that outlives the process; never uploaded.
        api_version: returns the version of the lifecycle API; called on the recorder's thread.
        run_options: the defaults of ``initialize``. The run id applies to the first run only.
        system_interval: seconds between two samples of the system metrics; None for none.
        root_path: the path prefix under which a reverse proxy serves the container; links start with it.
        artifact_locations: further URIs below which artifacts may be stored.
        run_lease: seconds after which another container may end the runs of this one, in a store that they share.
    """

    kind: Kind
    container_id: str
    model: str
    reference: str
    state_dir: Path
    api_version: Callable[[], str]
    run_options: RunOptions = RunOptions()
    system_interval: float | None = None
    root_path: str = ""
    artifact_locations: tuple[str, ...] = ()
    run_lease: float = 30.0

    @property
    def spool(self) -> Path:
        """The folder for the worker's copies of artifacts."""
        return self.state_dir / "spool" / self.container_id

    @property
    def locks(self) -> Path:
        """The folder with the locks of the containers of this state directory."""
        return self.state_dir / "containers"
