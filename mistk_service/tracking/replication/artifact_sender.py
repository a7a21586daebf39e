"""Sending the files of runs and of logged models."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mistk_service.tracking.artifacts import ArtifactRepository, StoredFile
from mistk_service.tracking.artifacts.locations import Locations
from mistk_service.tracking.errors import ResourceNotFound, StoreError
from mistk_service.tracking.remotes import Remote
from mistk_service.tracking.replication.remote import is_refusal
from mistk_service.tracking.replication.run_sender import RunSender
from mistk_service.tracking.store._store import Store
from mistk_service.tracking.store.outbox import Ledger
from mistk_service.tracking.values import Run

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ArtifactFolder:
    """The files of a run or of a logged model.

    Attributes:
        owner: its id in the ledger.
        uri: the local location of its files.
        target: returns the destination; called when it is first needed.
    """

    owner: str
    uri: str
    target: Callable[[], ArtifactRepository]


class ArtifactSender:
    """Sends the files of runs and of logged models, one part at a time.

    Args:
        store: the local store.
        artifacts: where its artifacts are; None if they are not accessible, and are not sent.
        remote: the remote.
        ledger: records which files it has.
    """

    def __init__(self, store: Store, artifacts: ArtifactRepository | None, remote: Remote, ledger: Ledger) -> None:
        self._locations = Locations(store, artifacts) if artifacts is not None else None
        self._remote = remote
        self._ledger = ledger
        self._last_target: tuple[str, ArtifactRepository | None] = "", None

    def of_run(self, run: Run, sender: RunSender) -> ArtifactFolder:
        """Return the artifact folder of a run."""
        return ArtifactFolder(run.info.run_id, run.info.artifact_uri, lambda: self._target(sender))

    def send(self, folder: ArtifactFolder, path: str, sender: RunSender) -> None:
        """Send a file, unless the remote has the same version of it.

        Args:
            folder: the folder that it belongs to.
            path: the file's path below the root of the folder.
            sender: sends to the remote's run.

        Raises:
            RunRefused: the remote's run does not exist any more.
            StoreUnavailable: the file has to be sent again.
        """
        if self._locations is None:
            return
        sender.attempt(f"artifact {path}", lambda: self._send(folder, path))

    def send_all(self, folder: ArtifactFolder, sender: RunSender) -> None:
        """Send all files of a folder that the remote does not have. Unrecorded files of the same size count as the same."""
        if self._locations is None:
            return
        paths = [info.path for info in self._locations.files(folder.uri)]
        in_progress = self._ledger.uploads(folder.owner)
        there: dict[str, int | None] | None = None
        for path in paths:
            # While a file is being uploaded, the remote may still have an older version.
            if self._ledger.sent_file(folder.owner, path) is None and path not in in_progress:
                if there is None:
                    there = self._listing(folder)
                if self._adopt(folder, path, there.get(path)):
                    continue
            self.send(folder, path, sender)
        for path in in_progress.difference(paths):
            self.send(folder, path, sender)

    def _listing(self, folder: ArtifactFolder) -> dict[str, int | None]:
        """Return the sizes of the files that the remote has, or nothing if it does not list them."""
        try:
            return dict(_files(folder.target()))
        except StoreError as error:
            if not is_refusal(error):
                raise
            return {}

    def _target(self, sender: RunSender) -> ArtifactRepository:
        run_id, target = self._last_target
        if target is None or run_id != sender.remote_run_id:
            target = self._remote.run_artifacts(self._remote.get_run(sender.remote_run_id))
            self._last_target = sender.remote_run_id, target
        return target

    def _send(self, folder: ArtifactFolder, path: str) -> None:
        target = folder.target()
        stored = self._open(folder, path)
        notes = self._ledger.upload(folder.owner, path)
        if stored is None:
            logger.info("The artifact %s of %s was removed before it was sent.", path, folder.owner)
            target.give_up(notes)
            return
        with stored:
            if self._ledger.sent_file(folder.owner, path) == stored.etag:
                return
            target.resume(path, stored, notes, lambda: self._has_etag(folder, path, stored.etag))
            self._ledger.file_sent(folder.owner, path, stored.etag)

    def _has_etag(self, folder: ArtifactFolder, path: str, etag: str) -> bool:
        stored = self._open(folder, path)
        if stored is None:
            return False
        with stored:
            return stored.etag == etag

    def _adopt(self, folder: ArtifactFolder, path: str, size: int | None) -> bool:
        """Record that the remote has a file, if it has one of the same size."""
        stored = None if size is None else self._open(folder, path)
        if stored is None:
            return False
        with stored:
            if stored.size != size:
                return False
            self._ledger.file_sent(folder.owner, path, stored.etag)
        return True

    def _open(self, folder: ArtifactFolder, path: str) -> StoredFile | None:
        assert self._locations is not None
        try:
            return self._locations.artifacts.open(self._locations.place(folder.uri, path))
        except ResourceNotFound:
            return None


def _files(repository: ArtifactRepository, folder: str = "") -> Iterator[tuple[str, int | None]]:
    for info in repository.list_folder(folder):
        path = f"{folder}/{info.path}" if folder else info.path
        if info.is_dir:
            yield from _files(repository, path)
        else:
            yield path, info.file_size
