"""Fetches models and data from other storages, and stores results there.

A place is a path, or a URL for fsspec or HTTP. An archive (zip, tar) is unpacked.
"""

from __future__ import annotations

import contextlib
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from mistk_service.errors import InvalidRequest, StorageUnreachable
from mistk_service.kinds.call import STORE_URIS

#: Bytes that are read at once.
_PIECE = 1024 * 1024

#: The errors of the libraries of S3 and Google Cloud for missing or incomplete credentials. By name, since the libraries are
#: extras.
_WITHOUT_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError"}

#: The suffixes of archives.
_ARCHIVES = tuple(suffix for _, suffixes, _ in shutil.get_unpack_formats() for suffix in suffixes)


class UnusableStorage(InvalidRequest):
    """A storage cannot be used as it is configured: its library or the credentials are missing or refused."""


def fetched(place: str, folder: Path, field: str) -> str:
    """Return the local path of a place. An archive, or a place that is not on this machine, is copied to a folder.

    Args:
        place: a path, a URL, or ``models:/...`` and ``runs:/...``, which are returned unchanged.
        folder: where copies go; created if it does not exist.
        field: the name of the option, for error messages.

    Raises:
        InvalidRequest: nothing exists at the place, or it cannot be parsed; UnusableStorage if a library or credentials are
            missing.
        StorageUnreachable: the storage cannot be reached.
    """
    if place.startswith(STORE_URIS):
        return place
    path = Path(place).expanduser()
    if "://" in place:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / (PurePosixPath(unquote(urlsplit(place).path)).name or "content")
        with _translated(place, field):
            (_download if place.startswith(("http://", "https://")) else _copy)(place, path)
    try:
        exists = place != "" and path.exists()
    except OSError as error:
        raise InvalidRequest(f"{field}: {place[:200]!r} cannot be read ({error.strerror}).", field=field) from error
    if not exists:
        raise _missing(place, field)
    # The worker may have another working folder.
    return str((_unpacked(path, folder, field) if path.is_file() else path).absolute())


def store(folder: Path, place: str, field: str) -> None:
    """Copy the contents of a folder to a URL that fsspec reaches.

    Raises:
        UnusableStorage: the URL cannot be parsed, or a library or credentials are missing.
        StorageUnreachable: the storage cannot be reached.
    """
    with _translated(place, field):
        filesystem, root = _filesystem(place)
        for file in sorted(each for each in folder.rglob("*") if each.is_file()):
            _upload(file, filesystem, f"{root.rstrip('/')}/{file.relative_to(folder).as_posix()}")


def store_archive(folder: Path, place: str, field: str) -> None:
    """Store a folder as one archive at a URL. An object storage replaces the one that is there at once, when all has arrived.

    Raises:
        UnusableStorage: the URL cannot be parsed, or a library or credentials are missing.
        StorageUnreachable: the storage cannot be reached.
    """
    with _translated(place, field):
        # The folder itself is in the archive, so that its contents come back whatever they are.
        archive = shutil.make_archive(str(folder), "tar", folder.parent, folder.name)
        _upload(Path(archive), *_filesystem(place))


def _upload(file: Path, filesystem: Any, target: str) -> None:
    filesystem.makedirs(target.rpartition("/")[0], exist_ok=True)
    filesystem.put_file(str(file), target)


def _copy(place: str, path: Path) -> None:
    filesystem, root = _filesystem(place)
    if filesystem.info(root)["type"] == "file":
        filesystem.get_file(root, str(path))
        return
    for name in filesystem.find(root):
        target = path / PurePosixPath(name).relative_to(root.rstrip("/"))
        target.parent.mkdir(parents=True, exist_ok=True)
        filesystem.get_file(name, str(target))


def _filesystem(place: str) -> tuple[Any, str]:
    import fsspec  # an extra

    found: tuple[Any, str] = fsspec.core.url_to_fs(place, use_listings_cache=False)
    return found


def _download(place: str, path: Path) -> None:
    import httpx  # late, since it takes a moment to load

    with httpx.stream("GET", place, follow_redirects=True) as response, path.open("wb") as file:
        if response.status_code in (404, 410):
            raise FileNotFoundError(place)
        if response.status_code in (401, 403):
            raise PermissionError(f"the server answered {response.status_code}")
        response.raise_for_status()
        for piece in response.iter_bytes():
            file.write(piece)


@contextlib.contextmanager
def _translated(place: str, field: str) -> Iterator[None]:
    """Raise the errors of all storages, which have no base class in common, as those of the service."""
    shown = urlsplit(place)._replace(netloc=urlsplit(place).netloc.rpartition("@")[2], query="").geturl()
    try:
        yield
    except FileNotFoundError as error:
        raise _missing(shown, field) from error
    except (ImportError, ValueError) as error:
        raise UnusableStorage(
            f"{field}: {shown!r} cannot be used: {error}. Expected a path, or a URL of a storage whose library is installed: "
            "pip install 'mistk-service[artifacts]' and s3fs, gcsfs or adlfs.",
            field=field,
        ) from error
    except Exception as error:  # the libraries of the storages have no common base class for errors
        if isinstance(error, PermissionError) or type(error).__name__ in _WITHOUT_CREDENTIALS:
            raise UnusableStorage(
                f"{field}: {shown!r} cannot be used: {error}. Give the service credentials that may use it, in the "
                "variables or files that the library of the storage reads.",
                field=field,
            ) from error
        raise StorageUnreachable(
            f"{field}: {shown!r} cannot be reached: {str(error) or type(error).__name__}"
        ) from error


def _missing(place: str, field: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {place!r} does not exist; expected a file, a folder or an archive.", field=field)


def _unpacked(path: Path, folder: Path, field: str) -> Path:
    """Return the folder with the contents of an archive, which is recognized by its suffix; any other file as it is."""
    if not path.name.lower().endswith(_ARCHIVES):
        return path
    target = folder / f"{path.name}.contents"
    target.mkdir(parents=True, exist_ok=True)
    try:
        if path.suffix.lower() == ".zip":
            shutil.unpack_archive(path, target)
        else:
            _unpack_tar(path, target)
    except Exception as error:  # the formats have no common base class for errors
        raise InvalidRequest(f"{field}: the archive {str(path)!r} cannot be unpacked: {error}.", field=field) from error
    # An archive of one folder stands for that folder.
    inside = list(target.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else target


def _unpack_tar(path: Path, target: Path) -> None:
    """Unpack an archive; refuse it if a member would be written elsewhere."""
    with tarfile.open(path) as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(target, filter="data")
            _read_to_end(archive)
            return
        # Before 3.11.4, Python has no such filter.
        for member in archive:
            is_below = (target / member.name).resolve().is_relative_to(target.resolve())
            if not is_below or not (member.isfile() or member.isdir()):
                raise tarfile.ExtractError(f"{member.name!r} is not a file or a folder below the archive's own")
        archive.extractall(target)  # noqa: S202  # they have been checked
        _read_to_end(archive)


def _read_to_end(archive: tarfile.TarFile) -> None:
    """Read what follows the last member: the checksum of compressed data comes last, and is only checked there."""
    assert archive.fileobj is not None
    while archive.fileobj.read(_PIECE):
        pass
