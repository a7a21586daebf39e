"""Artifacts in a folder of this machine."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import IO

from mistk_service.tracking.artifacts.paths import SCRATCH, checked_file, checked_path
from mistk_service.tracking.artifacts.repository import ArtifactRepository, StoredFile, Upload, translated
from mistk_service.tracking.errors import InvalidParameter, StoreUnavailable
from mistk_service.tracking.values import FileInfo

#: Seconds after which an upload that no process has locked counts as abandoned; and where the file
#: system has no locks, any upload that was not written to.
_ABANDONED_AFTER, _ABANDONED_AFTER_WITHOUT_LOCKS = 60, 24 * 3600

#: The number of attempts to create a folder that disappears before it is used.
_RACES = 5


class LocalArtifacts(ArtifactRepository):
    """Artifacts in a folder of this machine.

    Symbolic links inside the folder are followed as long as they stay inside it.

    Args:
        root: the folder, which is created if it does not exist.

    Raises:
        InvalidParameter: a part of its path is a file.
        StoreUnavailable: it cannot be created or written.
    """

    def __init__(self, root: Path) -> None:
        problem = f"The folder for artifacts {str(root)!r} cannot be created or written"
        try:
            (root / SCRATCH).mkdir(parents=True, exist_ok=True)
        except (NotADirectoryError, FileExistsError) as error:
            raise InvalidParameter(f"{problem}: a part of its path is a file. Name another one.") from error
        except OSError as error:
            raise StoreUnavailable(
                f"{problem}: {error.strerror}. Name another one, or change its owner or mode."
            ) from error
        self._root = Path(os.path.realpath(root))
        self._scratch = self._root / SCRATCH
        self._remove_abandoned()

    @property
    def uri(self) -> str:
        """The folder as a ``file:`` URI."""
        return self._root.as_uri()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._root)!r})"

    def list_folder(self, path: str = "") -> list[FileInfo]:
        folder = self._inside(checked_path(path))
        found = []
        with translated(path):
            try:
                entries = list(os.scandir(folder))
            except (FileNotFoundError, NotADirectoryError):
                return []
            for entry in entries:
                # Entries that have disappeared, dangling links, and links out of the root do not exist for clients.
                with suppress(OSError, InvalidParameter):
                    if entry.path != str(self._scratch):
                        found.append(self._info(entry))
        return sorted(found, key=lambda info: info.path)

    def _info(self, entry: os.DirEntry[str]) -> FileInfo:
        """Describe ``entry``. A link out of the root raises InvalidParameter, a dangling one an OSError."""
        if entry.is_symlink():
            self._refuse_outside(os.path.realpath(entry.path), entry.name)
        status = entry.stat()
        if stat.S_ISDIR(status.st_mode):
            return FileInfo(entry.name, is_dir=True)
        return FileInfo(entry.name, is_dir=False, file_size=status.st_size)

    def open(self, path: str) -> StoredFile:
        place = self._inside(checked_path(path))
        with translated(path):
            if not place.is_file():
                raise FileNotFoundError(path)
            stream = place.open("rb")
        status = os.fstat(stream.fileno())
        # The inode distinguishes two files of the same size and time: every upload is a new file.
        identity = f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"
        etag = hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()
        return StoredFile(place.name, status.st_size, etag, status.st_mtime, stream)

    def create(self, path: str) -> Upload:
        place = self._target(path)
        with translated(path):
            if place.is_dir():
                raise IsADirectoryError(path)
            self._scratch.mkdir(exist_ok=True)
            return _LocalUpload(path, self._scratch / uuid.uuid4().hex, place)

    def put_file(self, path: str, source: Path, *, move: bool = False) -> None:
        """Move the file if that is allowed and both are on one file system; else copy it."""
        if move and not source.is_symlink():
            place = self._target(path)
            with translated(path), suppress(FileNotFoundError):
                if place.is_dir():
                    raise IsADirectoryError(path)
                place.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.replace(source, place)
                except OSError as error:
                    if error.errno != errno.EXDEV:
                        raise
                else:
                    return
        super().put_file(path, source, move=move)

    def delete(self, path: str) -> None:
        place = self._target(path)
        with translated(path), suppress(FileNotFoundError, NotADirectoryError):
            # A link is removed, not what it points to.
            if place.is_dir() and not place.is_symlink():
                self._remove_tree(place)
            else:
                place.unlink()

    def _remove_tree(self, folder: Path) -> None:
        """Remove a folder of any depth: each folder in it is moved up first, which avoids long paths and recursion."""
        self._scratch.mkdir(exist_ok=True)
        folders = [self._moved_aside(folder)]
        while folders:
            here = folders.pop()
            with os.scandir(here) as entries:
                for entry in list(entries):
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(self._moved_aside(Path(entry.path)))
                    else:
                        os.unlink(entry.path)
            here.rmdir()

    def _moved_aside(self, folder: Path) -> Path:
        return folder.rename(self._scratch / uuid.uuid4().hex)

    def _inside(self, relative: str) -> Path:
        """Return the real path of ``relative``, with all links resolved.

        Raises:
            InvalidParameter: that is outside the root, or among the unfinished uploads.
        """
        with translated(relative):
            real = os.path.realpath(self._root / relative)
        self._refuse_outside(real, relative)
        return Path(real)

    def _target(self, path: str) -> Path:
        """Return the path to write or remove: links in its folder are resolved, but not the path itself."""
        folder, _, name = checked_file(path).rpartition("/")
        return self._inside(folder) / name

    def _refuse_outside(self, real: str, relative: str) -> None:
        inside = Path(real).is_relative_to(self._root) and not Path(real).is_relative_to(self._scratch)
        if not inside:
            raise InvalidParameter(f"Invalid path {relative!r}: it leads out of the artifact root.", field="path")

    def _remove_abandoned(self) -> None:
        for rest in self._scratch.iterdir():
            if rest.is_dir():
                # Left by an interrupted removal; it is not visible any more.
                with suppress(OSError):
                    self._remove_tree(rest)
                continue
            with suppress(OSError), rest.open("rb") as file:
                age = time.time() - os.fstat(file.fileno()).st_mtime
                locked = _lock(file)
                if locked is not True and age > (
                    _ABANDONED_AFTER if locked is False else _ABANDONED_AFTER_WITHOUT_LOCKS
                ):
                    rest.unlink()


def _lock(file: IO[bytes]) -> bool | None:
    """Lock an open file; return whether another process has it locked, or None where the file system has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False


class _LocalUpload(Upload):
    """A file that is written among the unfinished uploads and then renamed, so that readers never see a part of it.

    Args:
        path: the artifact's path, for messages.
        partial: the unfinished file, on the file system of ``place``.
        place: its final path.
    """

    def __init__(self, path: str, partial: Path, place: Path) -> None:
        self._path = path
        self._partial = partial
        self._place = place
        # Unbuffered: the caller sends large pieces, and an error then belongs to the write that caused it.
        self._file = partial.open("xb", buffering=0)
        # For as long as it is open, other processes know that it is being written.
        _lock(self._file)

    def write(self, data: bytes) -> None:
        with translated(self._path):
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]

    def commit(self) -> None:
        with translated(self._path):
            self._file.close()
            for attempt in range(_RACES):
                self._place.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.replace(self._partial, self._place)
                except FileNotFoundError:
                    # The folder was removed in between.
                    if attempt == _RACES - 1:
                        raise
                else:
                    return

    def abort(self) -> None:
        self._file.close()
        self._partial.unlink(missing_ok=True)
