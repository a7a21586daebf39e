"""Files and folders that become artifacts of a run."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mistk_service.tracking.artifacts import ArtifactRepository, checked_path, open_artifacts
from mistk_service.tracking.entities import RunInfo
from mistk_service.tracking.errors import InvalidParameter, StoreUnavailable
from mistk_service.tracking.local import OpenedTracking
from mistk_service.tracking.reporter.patience import Patience

__all__ = ["Uploads"]

logger = logging.getLogger(__name__)


class Uploads:
    """Puts files where the artifacts of a run are. What cannot be read is told, and keeps nothing else from being put there.

    Args:
        opened: the store and its artifacts.
        patience: makes the calls.
        note: is told of what was left out, in a sentence.
        excluded: a folder whose files are nobody's artifacts: the service's own.
    """

    def __init__(self, opened: OpenedTracking, patience: Patience, note: Callable[[str], None], excluded: Path) -> None:
        self._opened = opened
        self._insist = patience.insist
        self._note = note
        self._excluded = Path(os.path.realpath(excluded))

    def upload(self, run: RunInfo, source: Path, target: str, *, move: bool = False) -> None:
        """Put a file at ``target``, or what is in a folder below it.

        Args:
            run: whose artifacts they become.
            source: the file or folder.
            target: a path below the run's artifacts; "" stands for their root, which no file can be.
            move: whether the source is not needed any more; it is gone afterwards.
        """
        try:
            repository, root = self._place(run)
            if source.is_dir():
                below = checked_path(target)
                for file, name in self._files(source):
                    self._put(repository, root, file, f"{below}/{name}" if below else name, run, move=move)
                if move:
                    shutil.rmtree(source, ignore_errors=True)
            else:
                self._put(repository, root, source, target, run, move=move)
        except InvalidParameter as error:
            self._leave_out(source, error)

    def remove(self, run: RunInfo, target: str) -> None:
        """Remove what is at ``target``."""
        with suppress(InvalidParameter):
            repository, root = self._place(run)
            self._insist(lambda: repository.delete(f"{root}/{target}" if root else target))

    def _put(
        self, repository: ArtifactRepository, root: str, file: Path, target: str, run: RunInfo, *, move: bool
    ) -> None:
        path = f"{root}/{target}" if root else target
        try:
            self._insist(lambda: repository.put_file(path, file, move=move))
        except (OSError, InvalidParameter) as error:
            self._leave_out(file, error)
            return
        if repository is self._opened.artifacts:
            self._insist(lambda: self._opened.store.artifact_logged(run.run_id, checked_path(target)))

    def _leave_out(self, source: Path, error: Exception) -> None:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        logger.error("The artifact %s was not kept: %s", source, reason)
        self._note(f"The artifact {source} was not kept: {reason}")

    def _files(self, folder: Path) -> Iterator[tuple[Path, str]]:
        """Yield the regular files of a folder and their paths below it, in order."""
        if Path(os.path.realpath(folder)) == self._excluded:
            raise InvalidParameter(
                "it is the folder in which the service keeps its store and the artifacts; save elsewhere."
            )
        for current, subfolders, names in os.walk(folder, onerror=lambda error: self._leave_out(folder, error)):
            for name in subfolders:
                if os.path.islink(os.path.join(current, name)):
                    self._leave_out(Path(current, name), InvalidParameter("links to folders are not followed"))
            kept = [name for name in subfolders if Path(os.path.realpath(Path(current, name))) != self._excluded]
            subfolders[:] = sorted(kept)
            for name in sorted(names):
                file = Path(current, name)
                if file.is_file():
                    yield file, file.relative_to(folder).as_posix()

    def _place(self, run: RunInfo) -> tuple[ArtifactRepository, str]:
        """Return the repository that holds the artifacts of a run, and the path of their root in it."""
        uri, own = run.artifact_uri, self._opened.artifacts
        parts = urlsplit(uri)
        if parts.scheme == "mlflow-artifacts" and not parts.netloc:
            return own, unquote(parts.path).strip("/")
        return self._insist(lambda: _opened(uri)), ""


def _opened(uri: str) -> ArtifactRepository:
    try:
        return open_artifacts(uri)
    except StoreUnavailable:
        raise
    except Exception as error:
        raise InvalidParameter(f"The artifacts of the run cannot be kept at {uri!r}: {error}") from error
