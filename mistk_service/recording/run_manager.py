"""Opening runs, storing their artifacts, and registering their models."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from mistk_service.core.events import ArtifactLogged
from mistk_service.recording.artifact_uploads import ArtifactUploads, Saved
from mistk_service.recording.file_queue import FileQueue
from mistk_service.recording.mlmodel import MLMODEL
from mistk_service.recording.open_run import OpenRun
from mistk_service.recording.orphaned_runs import CONTAINER_TAG
from mistk_service.recording.retry import StoreRetry
from mistk_service.recording.run_choice import RunFinder
from mistk_service.recording.run_lease import RunLease
from mistk_service.recording.run_options import RecorderOptions, RunOptions
from mistk_service.recording.source import git_commit, user_name
from mistk_service.recording.spelling import Names, text_of
from mistk_service.tracking.artifacts import AllowedLocations
from mistk_service.tracking.embedded.local_tracking import OpenedTracking
from mistk_service.tracking.errors import InvalidParameter, ResourceExists

#: The tag with the id of the run whose results a run was made from, and the beginning of those with the folders that a run
#: has saved to.
MADE_FROM_TAG, _SAVED_TAG = "mistk.madeFromRunId", "mistk.savedTo."

#: MLflow's tags that the container sets itself, and that model properties cannot override.
_OWN_TAGS = frozenset({"mlflow.source.name", "mlflow.source.type", "mlflow.source.git.commit"})


class RunManager:
    """Opens runs in one store, stores their artifacts, and registers their models. Used by one thread."""

    def __init__(
        self,
        opened: OpenedTracking,
        options: RecorderOptions,
        retry: StoreRetry,
        queue: FileQueue,
        note: Callable[[str], None],
        lease: RunLease | None = None,
    ) -> None:
        self.note = note
        self._lease = lease
        self._store = opened.store
        self._options = options
        self._retry = retry
        self._finder = RunFinder(opened.store, options.model, retry, note, lease)
        allowed = AllowedLocations(options.artifact_locations)
        self._uploads = ArtifactUploads(opened, queue, note, excluded=options.state_dir, allowed=allowed)

    # --- opening runs --------------------------------------------------------------------------------------------

    def open_run(
        self, run_options: RunOptions, tags: Mapping[str, Any], now: int, run_id: str | None = None
    ) -> OpenRun:
        """Return the requested run, with all its tags; it starts at ``now``, in milliseconds since 1970.

        A new run gets the id ``run_id``, if given.
        """
        # The run has the container's tags from the start, so that it is found as an orphan if the container is killed.
        names = Names()
        all_tags = {names.spelled(key): value for key, value in {**tags, **self._origin_tags}.items()}
        run = self._finder.find(run_options, self._origin_tags["mlflow.user"], now, all_tags, run_id)
        opened = OpenRun(self._store, run, self._retry, self.note, self._lease)
        opened.log_values(
            tags={key: value for key, value in all_tags.items() if opened.tags.get(key) != text_of(value)}
        )
        return opened

    def instance_tags(self, tags: Mapping[str, Any], properties: Mapping[str, Any]) -> dict[str, Any]:
        """Return tags with the properties of a request. A property with a name of MLflow becomes MLflow's tag."""
        all_tags = dict(tags)
        for key, value in properties.items():
            if key.startswith("mlflow.") and key not in _OWN_TAGS:
                all_tags[key] = value
            else:
                all_tags[f"mistk.property.{key}"] = value
        return all_tags

    def run_that_saved(self, what: str, place: str) -> str | None:
        """Return the id of the latest run that saved something to a folder, or of ``runs:/ID/PATH``; None if it is unknown.

        Args:
            what: the folder of the run's artifacts (``predictions``).
            place: the folder that it was saved to, or an artifact's URI.
        """
        if (named := re.match("runs:/+([^/]+)", place)) is not None:
            return named[1]
        path = text_of(os.path.realpath(place))
        if "'" in path:  # it cannot be quoted in a filter
            return None
        experiments = self._retry.call(lambda: [each.experiment_id for each in self._store.search_experiments()])
        where = f"tags.`{_SAVED_TAG}{what}` = '{path}'"
        found = self._retry.call(lambda: self._store.search_runs(experiments, where, max_results=1))
        return next((run.info.run_id for run in found), None)

    @cached_property
    def _origin_tags(self) -> dict[str, Any]:
        options = self._options
        commit = git_commit(options.reference)
        return {
            "mlflow.user": user_name(),
            "mlflow.source.name": options.reference,
            "mlflow.source.type": "LOCAL",
            **({"mlflow.source.git.commit": commit} if commit else {}),
            "mistk.modelClass": options.model,
            CONTAINER_TAG: options.container_id,
            "mistk.apiVersion": options.api_version(),
        }

    # --- artifacts ----------------------------------------------------------------------------------------------------

    def keep_artifact(self, run: OpenRun, event: ArtifactLogged) -> None:
        """Store a file or folder of the model as an artifact of the run, under its own name."""
        name = Path(event.path).name
        target = f"{event.artifact_path}/{name}" if event.artifact_path else name
        self._uploads.upload(run.info, Path(event.kept or event.path), target, move=event.kept is not None)

    @property
    def reference(self) -> str:
        """What the model was loaded from."""
        return self._options.reference

    def keep_saved(
        self, run: OpenRun, saved: Saved, target: str, run_options: RunOptions, flavor: Callable[[str, str], bytes]
    ) -> None:
        """Store what was saved as artifacts of the run, and register it if it is a model and the options say so.

        A later save replaces the artifacts of an earlier one. A registered model keeps its own, since a version never changes.
        ``flavor`` returns the file ``MLmodel`` for a model without one, given the run and the place.
        """
        run.log_values(tags={_SAVED_TAG + target: os.path.realpath(saved.folder)})
        wanted = run_options.registered_model_name if target == "model" else None
        if wanted is None:
            self._uploads.remove(run.info, target)
            self._uploads.upload_saved(run.info, saved, target)
            self._keep_flavor(run, saved, target, flavor)
            return
        number = int(run.tags.get("mistk.savedModels", "0")) + 1
        place = target if number == 1 else f"{target}-{number}"
        run.log_values(tags={"mistk.savedModels": number})
        self._uploads.upload_saved(run.info, saved, place)
        self._keep_flavor(run, saved, place, flavor)
        source = f"{run.info.artifact_uri.rstrip('/')}/{place}"
        about = f"The model was saved and not registered as {wanted!r}"
        self._uploads.after_uploads(run.info, about, lambda: self._register(run.id, source, wanted, saved))

    def _keep_flavor(self, run: OpenRun, saved: Saved, place: str, flavor: Callable[[str, str], bytes]) -> None:
        if not place.startswith("model") or Path(saved.folder, MLMODEL).exists():
            return
        spool = self._options.spool
        spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = spool / uuid.uuid4().hex
        file.write_bytes(flavor(run.id, place))
        self._uploads.upload(run.info, file, f"{place}/{MLMODEL}", move=True)

    def _register(self, run_id: str, source: str, name: str, saved: Saved) -> None:
        if saved.lost:
            raise InvalidParameter("not all of its files could be stored.")
        with suppress(ResourceExists):
            self._store.create_registered_model(name)
        self._store.create_model_version(name, source, run_id)
