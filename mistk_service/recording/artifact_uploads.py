"""Uploads of files and folders as artifacts of a run."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mistk_service.recording.file_queue import FileQueue, Job
from mistk_service.tracking.artifacts import AllowedLocations, ArtifactRepository, checked_path, open_artifacts
from mistk_service.tracking.embedded.local_tracking import OpenedTracking
from mistk_service.tracking.errors import InvalidParameter, StoreUnavailable
from mistk_service.tracking.values import RunInfo
from mistk_service.workers.child.spool import remove
from mistk_service.workers.host.files import contents_of
from mistk_service.workers.protocol import FileStamp

logger = logging.getLogger(__name__)


@dataclass
class Saved:
    """Something that a model has saved.

    Attributes:
        folder: the folder.
        before: the contents of the folder before the save; files that have not changed do not belong to the save. None if
            there were too many.
        lost: the number of files that could not be stored.
    """

    folder: str
    before: Mapping[str, FileStamp] | None = field(default_factory=dict)
    lost: int = 0


class ArtifactUploads:
    """Stores files as artifacts of runs. A file that cannot be stored is left out with a note; all others are stored.

    Args:
        excluded: the service's own folder, whose files are never artifacts.
        allowed: further locations where artifacts may be stored.
    """

    def __init__(
        self,
        opened: OpenedTracking,
        queue: FileQueue,
        note: Callable[[str], None],
        excluded: Path,
        allowed: AllowedLocations,
    ) -> None:
        self._opened = opened
        self._queue = queue
        self._note = note
        self._excluded = Path(os.path.realpath(excluded))
        self._allowed = allowed
        self._repositories: dict[str, ArtifactRepository] = {}
        #: The files that earlier saves wrote, by folder; those that the next save leaves unchanged belong to it, too.
        self._written: dict[str, set[str]] = {}

    def upload(self, run: RunInfo, source: Path, target: str, *, move: bool = False) -> None:
        """Store a file at ``target``, or the contents of a folder below it; "" is the root of the run's artifacts."""

        def give_up(error: Exception) -> None:
            self._leave_out(source, error)
            if move:
                remove(source)

        do = partial(self._put_any, run, source, target, give_up, move=move)
        self._do(run, Job(str(source), do, give_up, source if move else None))

    def upload_saved(self, run: RunInfo, saved: Saved, target: str) -> None:
        """Store what a model has saved below ``target``."""
        folder = Path(saved.folder)

        def give_up(file: Path, error: Exception) -> None:
            saved.lost += 1
            self._leave_out(file, error)

        def look() -> Iterable[Job]:
            for file, name in self._saved_files(folder, saved.before):
                yield self._file_job(run, file, f"{target}/{name}", partial(give_up, file))

        self._do(run, Job(str(folder), look, partial(give_up, folder)))

    def remove(self, run: RunInfo, target: str) -> None:
        """Remove what is at ``target``."""

        def do() -> None:
            repository, root = self._place(run)
            repository.delete(f"{root}/{target}" if root else target)

        self._do(run, Job(target, do, lambda error: logger.error("%s could not be removed: %s", target, error)))

    def after_uploads(self, run: RunInfo, about: str, do: Callable[[], None]) -> None:
        """Call ``do`` when every earlier upload has been stored or dropped."""
        self._do(run, Job(about, do, lambda error: self._note(f"{about}: {error}")))

    def _do(self, run: RunInfo, job: Job) -> None:
        self._queue.put("" if _is_own(run.artifact_uri) else run.artifact_uri, job)

    # --- on the queue's thread ----------------------------------------------------------------------------------------------

    def _put_any(
        self, run: RunInfo, source: Path, target: str, give_up: Callable[[Exception], None], *, move: bool
    ) -> Iterable[Job]:
        if not source.is_dir():
            return self._put(run, source, target, move=move)
        below = checked_path(target)
        jobs = [
            self._file_job(run, file, f"{below}/{name}" if below else name, partial(self._leave_out, file), move=move)
            for file, name in self._files(source)
        ]
        if move:
            jobs.append(Job(str(source), lambda: remove(source), give_up, source))
        return jobs

    def _file_job(
        self, run: RunInfo, file: Path, target: str, give_up: Callable[[Exception], None], *, move: bool = False
    ) -> Job:
        return Job(str(file), partial(self._put, run, file, target, move=move), give_up)

    def _put(self, run: RunInfo, file: Path, target: str, *, move: bool) -> Iterable[Job]:
        repository, root = self._place(run)
        repository.put_file(f"{root}/{target}" if root else target, file, move=move)
        if repository is not self._opened.artifacts:
            return ()

        def record() -> None:
            self._opened.store.artifact_logged(run.run_id, checked_path(target))

        # A separate job, since the file may not exist any more for a second attempt.
        return (Job(str(file), record, partial(self._leave_out, file)),)

    def _leave_out(self, source: Path, error: Exception) -> None:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        logger.error("The artifact %s was not stored: %s", source, reason)
        self._note(f"The artifact {source} was not stored: {reason}")

    def _saved_files(self, folder: Path, before: Mapping[str, FileStamp] | None) -> Iterator[tuple[Path, str]]:
        """Yield the files that a save has written to a folder, and their paths below it, in order."""
        if Path(os.path.realpath(folder)) == self._excluded:
            raise InvalidParameter("it is the service's own folder for the store and the artifacts. Save elsewhere.")
        now = contents_of(str(folder), self._excluded) if before is not None else None
        if before is None or now is None:
            raise InvalidParameter(
                "the folder contains too many files to determine which of them the model has saved. Save to a folder of "
                "its own."
            )
        written = self._written.setdefault(os.path.realpath(folder), set())
        written |= {name for name, stamp in now.items() if before.get(name) != stamp}
        for name in sorted(written & now.keys()):
            if not self._is_left_out(folder / name):
                yield folder / name, name

    def _files(self, folder: Path) -> Iterator[tuple[Path, str]]:
        """Yield the regular files of a folder and their paths below it, in order."""
        for current, subfolders, names in os.walk(folder, onerror=lambda error: self._leave_out(folder, error)):
            links = [name for name in subfolders if os.path.islink(os.path.join(current, name))]
            subfolders.sort()
            for name in sorted((*names, *links)):
                file = Path(current, name)
                if not self._is_left_out(file):
                    yield file, file.relative_to(folder).as_posix()

    def _is_left_out(self, file: Path) -> bool:
        """Return whether a path is not a regular file, or is a link, whose target may not belong to the model."""
        if file.is_symlink():
            self._leave_out(file, InvalidParameter("links are not followed"))
            return True
        return not file.is_file()

    def _place(self, run: RunInfo) -> tuple[ArtifactRepository, str]:
        """Return the repository with the artifacts of a run, and the path of their root in it."""
        uri = run.artifact_uri
        if _is_own(uri):
            return self._opened.artifacts, unquote(urlsplit(uri).path).strip("/")
        self._allowed.require(uri)
        if uri not in self._repositories:
            self._repositories[uri] = _opened(uri)
        return self._repositories[uri], ""


def _is_own(uri: str) -> bool:
    parts = urlsplit(uri)
    return parts.scheme == "mlflow-artifacts" and not parts.netloc


def _opened(uri: str) -> ArtifactRepository:
    parts = urlsplit(uri)
    place = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()  # without a login
    try:
        return open_artifacts(uri)
    except StoreUnavailable:
        raise
    except (ConnectionError, TimeoutError, socket.gaierror) as error:
        raise StoreUnavailable(f"The artifacts of the run cannot be stored at {place!r} now: {error}") from error
    except Exception as error:  # the libraries of the storages have no common base class for errors
        raise InvalidParameter(f"The artifacts of the run cannot be stored at {place!r}: {error}") from error
