"""Projects, experiments, datasets and iterations in one store."""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from mistk_service.tracking.errors import InvalidParameter, InvalidState, ResourceExists, ResourceNotFound, StoreError
from mistk_service.tracking.mlops.arguments import checked_bool, checked_id, checked_labels, checked_text, optional_text
from mistk_service.tracking.mlops.iteration import Iteration
from mistk_service.tracking.mlops.storing import (
    DATASETS_EXPERIMENT,
    EXPERIMENT,
    PROJECT,
    Json,
    dataset_input,
    dataset_json,
    dataset_tags,
    experiment_json,
    experiment_name,
    experiment_tags,
    is_a,
    iteration_tags,
    project_json,
    project_of,
    project_tags,
    user_name,
)
from mistk_service.tracking.store._store import Store
from mistk_service.tracking.values import Experiment, LifecycleStage, Run, RunStatus, Tag
from mistk_service.tracking.values.limits import MAX_DATASET_NAME


@dataclass(frozen=True)
class _Active:
    """The ids that are used if none is passed."""

    project: str | None = None
    experiment: str | None = None


class Workspace:
    """Projects and what belongs to them, in one store, with an active project and an active experiment.

    Only the active project and experiment belong to this object. Everything else is in the store, so that any number of
    workspaces, in any number of processes, can use one store. All methods may be called from any thread. Every method raises
    ``InvalidParameter`` for an argument of the wrong type, ``ResourceNotFound`` for an id of no project or experiment,
    ``InvalidState`` for that of a deleted one, and ``StoreUnavailable`` if the store is temporarily unavailable.

    Args:
        store: any store; it is not closed.
        clock: milliseconds since 1970.
    """

    def __init__(self, store: Store, clock: Callable[[], int] = lambda: int(time.time() * 1000)) -> None:
        self.store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._active = _Active()
        self._started: weakref.WeakSet[Iteration] = weakref.WeakSet()

    def __repr__(self) -> str:
        active = self._active
        return f"<Workspace in {self.store.uri}, project {active.project}, experiment {active.experiment}>"

    @property
    def open_iterations(self) -> list[Iteration]:
        """The iterations that were started here, are still referenced, and have not been stored."""
        return [iteration for iteration in list(self._started) if not iteration.ended]

    def create_project(
        self, title: str, description: str | None = None, status: str | None = None, archived: bool = False
    ) -> Json:
        """Create a project, and return it as a dictionary.

        Args:
            title: unique in the store.
            description: any text.
            status: any text, such as ``"active"``.
            archived: whether the project is archived. This is a label only; an archived project can still be changed.

        Raises:
            ResourceExists: a project or an experiment already has that title.
        """
        checked_text(title, "title")
        if title == DATASETS_EXPERIMENT:
            raise InvalidParameter(
                f"The title {title!r} is reserved for datasets. Choose another title.", field="title"
            )
        tags = project_tags(
            optional_text(description, "description"),
            optional_text(status, "status"),
            checked_bool(archived, "archived"),
        )
        try:
            return self.get_project(self.store.create_experiment(title, tags=tags))
        except ResourceExists as error:
            raise ResourceExists(
                f"The title {title!r} is taken: {error} Choose another one, or get the project by its id."
            ) from error

    def get_project(self, project_id: str | int) -> Json:
        """Return a project as a dictionary."""
        return project_json(self._project(project_id))

    def create_experiment(self, name: str, description: str | None = None, project_id: str | int | None = None) -> Json:
        """Create an experiment in a project, by default in the active one, and return it as a dictionary.

        Args:
            name: unique within the project.
            description: any text.
            project_id: None for the active project.

        Raises:
            ResourceExists: the project already has an experiment of that name.
            InvalidParameter: no project is passed and none is active.
        """
        checked_text(name, "name")
        note = optional_text(description, "description")
        project = self._project(self._project_id(project_id))
        full = experiment_name(project, name)
        try:
            made = self.store.create_experiment(full, tags=experiment_tags(project, note))
        except ResourceExists as error:
            raise ResourceExists(
                f"The project {project.name!r} cannot have another experiment {name!r}: {error} Choose another name."
            ) from error
        return experiment_json(self._experiment(made))

    def get_experiment(self, experiment_id: str | int, project_id: str | int | None = None) -> Json:
        """Return an experiment as a dictionary.

        Args:
            experiment_id: its id.
            project_id: the project that it has to belong to; None for the active one, or for any if none is active.

        Raises:
            InvalidParameter: it belongs to another project.
        """
        experiment = self._experiment(experiment_id)
        self._require_member(experiment, project_id)
        return experiment_json(experiment)

    def create_dataset(
        self,
        dataset_name: str,
        path_to_dataset: str,
        dataset_description: str | None = None,
        tags: Mapping[str, str] | Iterable[str] | None = None,
        version: str | None = None,
    ) -> Json:
        """Describe a dataset that iterations of any project can use, and return it as a dictionary.

        Args:
            dataset_name: at most 500 characters; need not be unique.
            path_to_dataset: a path or a URL, which is stored unchanged and not read.
            dataset_description: any text.
            tags: a dictionary, a list of strings, or one string.
            version: any text.
        """
        name = checked_text(dataset_name, "dataset_name", MAX_DATASET_NAME)
        written = dataset_tags(
            checked_text(path_to_dataset, "path_to_dataset"),
            optional_text(dataset_description, "dataset_description"),
            checked_labels(tags, "tags"),
            optional_text(version, "version"),
        )
        run = self._new_run(self._datasets_experiment(), name, written)
        try:
            self.store.log_inputs(run.info.run_id, [dataset_input(run)])
            self.store.update_run(run.info.run_id, RunStatus.FINISHED, run.info.start_time)
        except StoreError:
            with contextlib.suppress(StoreError):
                self.store.delete_run(run.info.run_id)
            raise
        return dataset_json(run)

    def start_iteration(
        self, iteration_name: str, project_id: str | int | None = None, experiment_id: str | int | None = None
    ) -> Iteration:
        """Start an iteration, by default of the active experiment.

        Args:
            iteration_name: need not be unique.
            project_id: the project that the experiment has to belong to; None for the active one.
            experiment_id: None for the active experiment.

        Raises:
            InvalidParameter: no experiment is passed and none is active, or it belongs to another project.
        """
        name = checked_text(iteration_name, "iteration_name")
        experiment_id = self._active.experiment if experiment_id is None else experiment_id
        if experiment_id is None:
            raise InvalidParameter(
                "No experiment is active. Pass an experiment_id, or call set_active_experiment first.",
                field="experiment_id",
            )
        experiment = self._experiment(experiment_id)
        self._require_member(experiment, project_id)
        project = project_of(experiment)
        run = self._new_run(experiment.experiment_id, name, iteration_tags(project))
        iteration = Iteration(self.store, run, project, self._clock)
        with self._lock:
            self._started.add(iteration)
        return iteration

    def set_active_project(self, project_id: str | int) -> str:
        """Make a project the default, and return a confirmation message.

        An active experiment of another project is not active any more.
        """
        project = self._project(project_id)
        with self._lock:
            kept = self._active.experiment if self._active.project == project.experiment_id else None
            self._active = _Active(project.experiment_id, kept)
        return f"The active project is {project.name!r} (id {project.experiment_id})."

    def set_active_experiment(self, experiment_id: str | int) -> str:
        """Make an experiment and its project the default, and return a confirmation message."""
        experiment = self._experiment(experiment_id)
        project = project_of(experiment)
        with self._lock:
            self._active = _Active(project, experiment.experiment_id)
        name = experiment_json(experiment)["name"]
        return f"The active experiment is {name!r} (id {experiment.experiment_id}) of the project with id {project}."

    def _project(self, project_id: str | int) -> Experiment:
        return self._found(PROJECT, checked_id(project_id, "project_id"))

    def _experiment(self, experiment_id: str | int) -> Experiment:
        return self._found(EXPERIMENT, checked_id(experiment_id, "experiment_id"))

    def _found(self, kind: str, key: str) -> Experiment:
        try:
            item = self.store.get_experiment(key)
        except (InvalidParameter, ResourceNotFound) as error:  # for a malformed id, it depends on the store
            raise _no_such(kind, key, str(error)) from error
        if not is_a(kind, item.tags):
            raise _no_such(kind, key, f"The experiment {item.name!r} with this id is not a {kind} of mlops.")
        if item.lifecycle_stage is not LifecycleStage.ACTIVE:
            raise InvalidState(
                f"The {kind} {item.name!r} (id {key}) was deleted. Restore it in the store, or use another."
            )
        return item

    def _project_id(self, project_id: str | int | None) -> str | int:
        found = self._active.project if project_id is None else project_id
        if found is None:
            raise InvalidParameter(
                "No project is active. Pass a project_id, or call set_active_project first.", field="project_id"
            )
        return found

    def _require_member(self, experiment: Experiment, project_id: str | int | None) -> None:
        """Raise an error for an experiment of another project than the given or the active one."""
        wanted = self._active.project if project_id is None else checked_id(project_id, "project_id")
        own = project_of(experiment)
        if wanted is not None and wanted != own:
            which = "the active project" if project_id is None else "the project"
            raise InvalidParameter(
                f"The experiment {experiment.name!r} (id {experiment.experiment_id}) belongs to the project with id "
                f"{own}, not to {which} with id {wanted}. Pass the project_id {own}.",
                field="project_id",
            )

    def _datasets_experiment(self) -> str:
        """Return the id of the experiment that contains the datasets, and create it if it does not exist."""
        note = Tag("mlflow.note.content", "The datasets of iterations. Each run describes one.")
        try:
            return self.store.create_experiment(DATASETS_EXPERIMENT, tags=[note])
        except ResourceExists:
            return self.store.get_experiment_by_name(DATASETS_EXPERIMENT).experiment_id

    def _new_run(self, experiment_id: str, name: str, tags: list[Tag]) -> Run:
        return self.store.create_run(experiment_id, user_name(), name, self._clock(), tags)


def _no_such(kind: str, key: str, reason: str) -> ResourceNotFound:
    message = f"There is no {kind} with the id {key!r}: {reason.rstrip('.')}. Pass an id that create_{kind} returned."
    return ResourceNotFound(message)
