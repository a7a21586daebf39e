"""The interface of an artifact repository, and the code that its implementations share."""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from mistk_service.tracking.errors import InvalidParameter, ResourceNotFound, StoreUnavailable
from mistk_service.tracking.values import FileInfo
from mistk_service.tracking.values.uploads import UploadNotes

#: Bytes that are copied at once.
_PIECE = 1 << 20

#: The error numbers of the operating system for an invalid name.
_NAME_ERRORS = frozenset({errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.ELOOP})


@dataclass(frozen=True)
class StoredFile:
    """A file that is open for reading, and what is known about it. Use it as a context manager.

    Attributes:
        name: the last part of its path.
        size: bytes.
        etag: changes whenever the content does; without quotes.
        modified: seconds since 1970, or None if the storage does not report it.
        stream: the content, seekable. It stays what it was when the file was opened, even if another upload replaces the file,
            as far as the storage supports that.
    """

    name: str
    size: int
    etag: str
    modified: float | None
    stream: BinaryIO

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stream.close()


class Upload(ABC):
    """A file that is being received. It becomes visible with :meth:`commit`; :meth:`abort` removes it."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Append ``data``.

        Raises:
            StoreUnavailable: the storage cannot take it, because it is full for example.
        """

    @abstractmethod
    def commit(self) -> None:
        """Move the file to its final path, and replace an existing one.

        Raises:
            InvalidParameter: there is a folder at that place, or a file where a folder would have to be. Object stores
                have no real folders and may accept it.
            StoreUnavailable: the storage cannot take it.
        """

    @abstractmethod
    def abort(self) -> None:
        """Discard what was received. Does nothing after :meth:`commit`."""


class ArtifactRepository(ABC):
    """A tree of files below one root.

    Paths are checked by the repository itself (:func:`~mistk_service.tracking.artifacts.checked_path`); one
    that would leave the root raises ``InvalidParameter``. Every method may be called from any thread, blocks its
    caller, and may raise ``StoreUnavailable`` when the storage cannot be reached or written.
    """

    @property
    @abstractmethod
    def uri(self) -> str:
        """The root, without credentials."""

    @abstractmethod
    def list_folder(self, path: str = "") -> list[FileInfo]:
        """Return what is in a folder, by base names, sorted. A path other than a folder's has nothing in it."""

    @abstractmethod
    def open(self, path: str) -> StoredFile:
        """Open a file for reading.

        Raises:
            ResourceNotFound: the file does not exist; a folder is not a file.
        """

    @abstractmethod
    def create(self, path: str) -> Upload:
        """Begin to receive a file.

        Raises:
            InvalidParameter: the path is the root, or there is a folder at that place.
        """

    def put(self, path: str, stream: BinaryIO) -> None:
        """Store a seekable stream as a file, and replace an existing one.

        Raises:
            InvalidParameter: as for :meth:`create` and :meth:`Upload.commit`.
        """
        stream.seek(0)
        upload = self.create(path)
        try:
            while piece := stream.read(_PIECE):
                upload.write(piece)
            upload.commit()
        except BaseException:  # also for Ctrl-C
            upload.abort()
            raise

    def put_file(self, path: str, source: Path, *, move: bool = False) -> None:
        """Store a file of this machine, and replace an existing one.

        Args:
            path: the path of the artifact.
            source: the file.
            move: whether to remove the source.

        Raises:
            OSError: the source cannot be read.
            InvalidParameter: as for :meth:`put`.
        """
        with source.open("rb") as stream:
            self.put(path, stream)
        if move:
            source.unlink(missing_ok=True)

    def resume(self, path: str, stored: StoredFile, notes: UploadNotes, is_unchanged: Callable[[], bool]) -> None:
        """Store an open file, and resume an interrupted upload of it if the storage can.

        Args:
            path: the path of the artifact.
            stored: the file.
            notes: the state of unfinished uploads. It may remain when this returns, until the caller has recorded that the
                file is stored.
            is_unchanged: returns whether the file still has the etag that it was opened with.

        Raises:
            StoreUnavailable: it was interrupted, or the file was changed; call it again with the file opened anew.
            InvalidParameter: as for :meth:`put`.
        """
        del notes, is_unchanged  # these repositories cannot resume
        self.put(path, stored.stream)

    def give_up(self, notes: UploadNotes) -> None:
        """Discard an unfinished upload in the storage, and its notes."""
        notes.forget()

    @abstractmethod
    def delete(self, path: str) -> None:
        """Remove a file, or a folder with everything in it; a missing one is not an error.

        Raises:
            InvalidParameter: the path is the root.
        """


@contextmanager
def translated(path: str) -> Iterator[None]:
    """Translate the errors of the operating system and of fsspec to those of tracking.

    Args:
        path: the artifact that it is about.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise ResourceNotFound(f"No such artifact: {path!r}.") from error
    except IsADirectoryError as error:
        raise InvalidParameter(f"Invalid path {path!r}: there is a folder of that name.", field="path") from error
    except (NotADirectoryError, FileExistsError) as error:
        raise InvalidParameter(f"Invalid path {path!r}: a part of it is a file, not a folder.", field="path") from error
    except OSError as error:
        if error.errno in _NAME_ERRORS:
            raise InvalidParameter(f"Invalid path {path!r}: {error.strerror}.", field="path") from error
        reason = error.strerror or str(error) or type(error).__name__
        raise StoreUnavailable(f"The artifact storage cannot do this now: {reason}.") from error
