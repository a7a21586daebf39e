"""The projects of the mlops module, and what belongs to them."""

from __future__ import annotations

from contextlib import suppress

from mistk_service.tracking.artifacts.locations import Locations
from mistk_service.tracking.errors import InvalidParameter, ResourceNotFound
from mistk_service.tracking.lookup import every_experiment
from mistk_service.tracking.mlops.storing import EXPERIMENT, PROJECT, PROJECT_ID, is_a
from mistk_service.tracking.store._store import Store
from mistk_service.tracking.values import Experiment, LifecycleStage, Run, ViewType


class Projects:
    """Finds projects of the mlops module and their experiments and runs.

    The number of an experiment within its project is its position among all that the project ever had, so it never changes.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        #: The project's id and the number there of an experiment, by its id in the store.
        self._numbers: dict[str, tuple[str, int]] = {}

    def project(self, project: str) -> Experiment:
        """Return a project by its id or its title.

        Raises:
            ResourceNotFound: it does not exist or was deleted.
        """
        for find in (self._store.get_experiment, self._store.get_experiment_by_name):
            with suppress(InvalidParameter, ResourceNotFound):
                found: Experiment = find(project)
                if is_a(PROJECT, found.tags) and found.lifecycle_stage is LifecycleStage.ACTIVE:
                    return found
        raise ResourceNotFound(
            f"There is no project {project!r}. Expected the id or the title of one that create_project of "
            "mistk_service.tracking.mlops made."
        )

    def experiments(self, project: Experiment) -> dict[int, Experiment]:
        """Return the experiments of a project that are not deleted, by their numbers."""
        filter = f"tags.`{PROJECT_ID}` = '{project.experiment_id}'"
        found = every_experiment(self._store, ViewType.ALL, filter)
        members = sorted(
            (item for item in found if is_a(EXPERIMENT, item.tags)), key=lambda item: int(item.experiment_id)
        )
        for number, experiment in enumerate(members, 1):
            self._numbers[experiment.experiment_id] = project.experiment_id, number
        return {
            number: experiment
            for number, experiment in enumerate(members, 1)
            if experiment.lifecycle_stage is LifecycleStage.ACTIVE
        }

    def number(self, project: Experiment, experiment_id: str) -> int | None:
        """Return the number of an experiment in a project, or None if it does not belong to the project."""
        if experiment_id not in self._numbers:
            self.experiments(project)
        owner, number = self._numbers.get(experiment_id, ("", 0))
        return number if owner == project.experiment_id else None

    def run(self, project: Experiment, run_id: str) -> Run:
        """Return a run of a project.

        Raises:
            ResourceNotFound: the project does not have the run.
        """
        run = self._store.get_run(run_id)
        deleted = run.info.lifecycle_stage is LifecycleStage.DELETED
        if deleted or self.number(project, run.info.experiment_id) is None:
            raise ResourceNotFound(f"The project {project.name!r} has no run with the id {run_id!r}.")
        return run

    def check_artifact(self, locations: Locations, project: str, place: str) -> None:
        """Return if ``place`` below the artifact root belongs to a run of a project.

        Raises:
            ResourceNotFound: it does not.
        """
        owner = self.project(project)
        # The artifact folder of a run itself is looked up by a path below it.
        found = locations.owner(f"{place}/artifact" if place.endswith("/artifacts") else place)
        if found is None:
            raise ResourceNotFound(f"The project {owner.name!r} has no artifact {place!r}.")
        self.run(owner, found[0])
