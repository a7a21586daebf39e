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

__all__ = ["Workspace"]


@dataclass(frozen=True)
class _Active:
    """The ids that count where none is given."""

    project: str | None = None
    experiment: str | None = None


class Workspace:
    """Projects and what belongs to them, in one store, with an active project and an active experiment.

    What is active is known to this object alone, and everything else to the store alone, so any number of workspaces, in
    any number of processes, can work on one store. All methods may be called from any thread. Besides the errors that are
    told there, every method raises ``InvalidParameter`` for an argument of the wrong kind, and ``StoreUnavailable`` where
    the store cannot be used at the moment.

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
        """The iterations that were started here and have not been sent, as far as somebody holds them."""
        return [iteration for iteration in list(self._started) if not iteration.ended]

    def create_project(
        self, title: str, description: str | None = None, status: str | None = None, archived: bool = False
    ) -> Json:
        """Create a project, and return it as JSON.

        Args:
            title: unique in the store.
            description: for people.
            status: any word for how the project stands.
            archived: whether it is kept for the record only; nothing is refused to an archived project.

        Raises:
            ResourceExists: a project or an experiment has that title.
        """
        checked_text(title, "title")
        if title == DATASETS_EXPERIMENT:
            raise InvalidParameter(f"The datasets are kept under {title!r}. Choose another title.", field="title")
        tags = project_tags(
            optional_text(description, "description"),
            optional_text(status, "status"),
            checked_bool(archived, "archived"),
        )
        try:
            return self.get_project(self.store.create_experiment(title, tags=tags))
        except ResourceExists as error:
            raise ResourceExists(
                f"The title {title!r} is taken: {error} Choose another one, or get the project by its id.",
                kind="project",
                key=title,
            ) from error

    def get_project(self, project_id: str | int) -> Json:
        """Return a project as JSON.

        Raises:
            ResourceNotFound: there is none with that id.
            InvalidState: it was deleted.
        """
        return project_json(self._project(project_id))

    def create_experiment(self, name: str, description: str | None = None, project_id: str | int | None = None) -> Json:
        """Create an experiment in a project, by default in the active one, and return it as JSON.

        Args:
            name: unique within the project.
            description: for people.
            project_id: None for the active project.

        Raises:
            ResourceNotFound: there is no such project.
            ResourceExists: the project has an experiment of that name.
            InvalidParameter: no project is given and none is active.
        """
        checked_text(name, "name")
        note = optional_text(description, "description")
        project = self._project(self._project_id(project_id))
        full = experiment_name(project, name)
        try:
            made = self.store.create_experiment(full, tags=experiment_tags(project, note))
        except ResourceExists as error:
            raise ResourceExists(
                f"The project {project.name!r} cannot have another experiment {name!r}: {error} Choose another name.",
                kind="experiment",
                key=full,
            ) from error
        return experiment_json(self._experiment(made))

    def get_experiment(self, experiment_id: str | int, project_id: str | int | None = None) -> Json:
        """Return an experiment as JSON.

        Args:
            experiment_id: its id.
            project_id: the project that it has to belong to; None for the active one, or any where none is active.

        Raises:
            ResourceNotFound: there is none with that id.
            InvalidParameter: it belongs to another project.
            InvalidState: it was deleted.
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
        """Describe a dataset, for iterations of any project to use, and return it as JSON.

        Args:
            dataset_name: at most 500 characters; need not be unique.
            path_to_dataset: where it is, a path or a URL; it is noted as it is, and not read.
            dataset_description: for people.
            tags: a dictionary, several words, or one.
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
            self._discard(run)
            raise
        return dataset_json(run)

    def start_iteration(
        self, iteration_name: str, project_id: str | int | None = None, experiment_id: str | int | None = None
    ) -> Iteration:
        """Start an iteration, by default of the active experiment.

        Args:
            iteration_name: a name for people; need not be unique.
            project_id: the project that the experiment has to belong to; None for the active one.
            experiment_id: None for the active experiment.

        Raises:
            ResourceNotFound: there is no such experiment.
            InvalidParameter: no experiment is given and none is active, or it belongs to another project.
            InvalidState: the experiment was deleted.
        """
        name = checked_text(iteration_name, "iteration_name")
        experiment_id = self._active.experiment if experiment_id is None else experiment_id
        if experiment_id is None:
            raise InvalidParameter(
                "No experiment is active. Give an experiment_id, or call set_active_experiment first.",
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
        """Let a project be the one that counts where none is given, and return a message that says so.

        An active experiment of another project is not active any more.

        Raises:
            ResourceNotFound: there is none with that id.
            InvalidState: it was deleted.
        """
        project = self._project(project_id)
        with self._lock:
            kept = self._active.experiment if self._active.project == project.experiment_id else None
            self._active = _Active(project.experiment_id, kept)
        return f"The active project is {project.name!r} (id {project.experiment_id})."

    def set_active_experiment(self, experiment_id: str | int) -> str:
        """Let an experiment, and its project with it, count where none is given, and return a message that says so.

        Raises:
            ResourceNotFound: there is none with that id.
            InvalidState: it was deleted.
        """
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
        except (
            InvalidParameter,
            ResourceNotFound,
        ) as error:  # which of them for a text that is no id, is the store's choice
            raise _no_such(kind, key, str(error)) from error
        if not is_a(kind, item.tags):
            raise _no_such(kind, key, f"That is the experiment {item.name!r} of the store.")
        if item.lifecycle_stage is not LifecycleStage.ACTIVE:
            raise InvalidState(
                f"The {kind} {item.name!r} (id {key}) was deleted. Restore it in the store, or use another."
            )
        return item

    def _project_id(self, project_id: str | int | None) -> str | int:
        found = self._active.project if project_id is None else project_id
        if found is None:
            raise InvalidParameter(
                "No project is active. Give a project_id, or call set_active_project first.", field="project_id"
            )
        return found

    def _require_member(self, experiment: Experiment, project_id: str | int | None) -> None:
        """Refuse an experiment of another project than the given or the active one."""
        wanted = self._active.project if project_id is None else checked_id(project_id, "project_id")
        own = project_of(experiment)
        if wanted is not None and wanted != own:
            which = "the active project" if project_id is None else "the project"
            raise InvalidParameter(
                f"The experiment {experiment.name!r} (id {experiment.experiment_id}) belongs to the project with id "
                f"{own}, and not to {which} with id {wanted}. Give its own project_id.",
                field="project_id",
            )

    def _datasets_experiment(self) -> str:
        """Return the id of the experiment that holds the datasets, which the first of them brings about."""
        note = Tag("mlflow.note.content", "The datasets that iterations use; each run describes one.")
        try:
            return self.store.create_experiment(DATASETS_EXPERIMENT, tags=[note])
        except ResourceExists:
            return self.store.get_experiment_by_name(DATASETS_EXPERIMENT).experiment_id

    def _new_run(self, experiment_id: str, name: str, tags: list[Tag]) -> Run:
        return self.store.create_run(experiment_id, user_name(), name, self._clock(), tags)

    def _discard(self, run: Run) -> None:
        """Delete a run that could not be finished, if that much is possible; the caller hears what went wrong first."""
        with contextlib.suppress(StoreError):
            self.store.delete_run(run.info.run_id)


def _no_such(kind: str, key: str, reason: str) -> ResourceNotFound:
    message = (
        f"There is no {kind} with the id {key!r}: {reason.rstrip('.')}. Expected an id that create_{kind} returned."
    )
    return ResourceNotFound(message, kind=kind, key=key)
