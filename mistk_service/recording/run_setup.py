"""What a run needs beside the run itself: its beginning, its files, and the registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from mistk_service.core.events import ArtifactLogged
from mistk_service.recording.file_queue import FileLane
from mistk_service.recording.open_run import OpenRun
from mistk_service.recording.options import ReporterOptions, Steering
from mistk_service.recording.orphaned_runs import CONTAINER_TAG
from mistk_service.recording.retry import Patience
from mistk_service.recording.run_choice import RunFinder
from mistk_service.recording.source import git_commit, user_name
from mistk_service.recording.spelling import Names, text_of
from mistk_service.recording.uploads import Saved, Uploads
from mistk_service.tracking.artifacts import AllowedLocations
from mistk_service.tracking.embedded.local import OpenedTracking
from mistk_service.tracking.errors import InvalidParameter, ResourceExists

__all__ = ["Desk"]

#: The tags of MLflow that a container sets itself, whatever the model properties say.
_OWN_TAGS = frozenset({"mlflow.source.name", "mlflow.source.type", "mlflow.source.git.commit"})


class Desk:
    """Opens runs in one store, keeps their files and registers their models. Used by one thread.

    Args:
        opened: the store and its artifacts.
        options: who is asking.
        patience: makes the calls.
        lane: takes care of files.
        note: is told of what could not be done as it was asked, in a sentence.
    """

    def __init__(
        self,
        opened: OpenedTracking,
        options: ReporterOptions,
        patience: Patience,
        lane: FileLane,
        note: Callable[[str], None],
    ) -> None:
        self.note = note
        self._store = opened.store
        self._options = options
        self._patience = patience
        self._finder = RunFinder(opened.store, options.model, patience, note)
        allowed = AllowedLocations(options.artifact_locations)
        self._uploads = Uploads(opened, lane, note, excluded=options.state_dir, allowed=allowed)

    # --- the beginning --------------------------------------------------------------------------------------------

    def open_run(self, steering: Steering, tags: Mapping[str, Any], now: int, run_id: str | None = None) -> OpenRun:
        """Return the run that is asked for, with all its tags; it began at ``now``, in milliseconds since 1970.

        A new one gets the id ``run_id``, if one is given.
        """
        # The container's own stand from the first moment: whoever looks for runs that a killed one left finds this one.
        names = Names()
        all_tags = {names.spelled(key): value for key, value in {**tags, **self._origin_tags}.items()}
        run = self._finder.find(steering, self._user, now, all_tags, run_id)
        opened = OpenRun(self._store, run, self._patience, self.note)
        opened.log_values(
            tags={key: value for key, value in all_tags.items() if opened.tags.get(key) != text_of(value)}
        )
        return opened

    def instance_tags(self, objectives: Sequence[str], properties: Mapping[str, Any]) -> dict[str, Any]:
        """Return the tags that ``initialize`` brings; a property of MLflow's name is MLflow's tag."""
        tags: dict[str, Any] = {"mistk.objectives": ",".join(objectives)}
        for key, value in properties.items():
            if key.startswith("mlflow.") and key not in _OWN_TAGS:
                tags[key] = value
            else:
                tags[f"mistk.property.{key}"] = value
        return tags

    @cached_property
    def _user(self) -> str:
        return user_name()

    @cached_property
    def _origin_tags(self) -> dict[str, Any]:
        options = self._options
        commit = git_commit(options.reference)
        return {
            "mlflow.user": self._user,
            "mlflow.source.name": options.reference,
            "mlflow.source.type": "LOCAL",
            **({"mlflow.source.git.commit": commit} if commit else {}),
            "mistk.modelClass": options.model,
            CONTAINER_TAG: options.container_id,
            "mistk.apiVersion": options.api_version(),
        }

    # --- files ----------------------------------------------------------------------------------------------------

    def keep_artifact(self, run: OpenRun, event: ArtifactLogged) -> None:
        """Put what the model handed over among the run's artifacts, under its own name."""
        name = Path(event.path).name
        target = f"{event.artifact_path}/{name}" if event.artifact_path else name
        self._uploads.upload(run.info, Path(event.kept or event.path), target, move=event.kept is not None)

    def keep_saved(self, run: OpenRun, saved: Saved, target: str, steering: Steering) -> None:
        """Put what was saved among the run's artifacts, and register it where it is a model and that is asked for.

        What is saved again replaces what was saved before, except for a registered model: a version stays what it is.
        """
        wanted = steering.registered_model_name if target == "model" else None
        if wanted is None:
            self._uploads.remove(run.info, target)
            self._uploads.upload_saved(run.info, saved, target)
            return
        number = int(run.tags.get("mistk.savedModels", "0")) + 1
        place = target if number == 1 else f"{target}-{number}"
        run.log_values(tags={"mistk.savedModels": number})
        self._uploads.upload_saved(run.info, saved, place)
        source = f"{run.info.artifact_uri.rstrip('/')}/{place}"
        about = f"The model was saved and not registered as {wanted!r}"
        self._uploads.then(run.info, about, lambda: self._register(run.id, source, wanted, saved))

    def _register(self, run_id: str, source: str, name: str, saved: Saved) -> None:
        if saved.lost:
            raise InvalidParameter("not all of its files could be kept.")
        with suppress(ResourceExists):
            self._store.create_registered_model(name)
        self._store.create_model_version(name, source, run_id)
