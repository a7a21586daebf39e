"""Copies of what a model logs, made during the call: the model may change or remove the original right afterwards.

The spool is a folder that the service gives its workers. The receiver of an entry owns it, and the worker does not access it
again. An entry that was not finished is removed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

#: The image formats that plotly can write.
_PLOTLY_IMAGES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".svg", ".pdf"})


class Spool:
    """Writes copies to one folder.

    Args:
        folder: the folder; created on first use.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def copy(self, source: Path) -> str:
        """Copy a file, or a folder with its contents, and return the path of the copy.

        In a folder, special files, unreadable files and links to folders are skipped with a message in the log.

        Raises:
            OSError: the source cannot be read, or the spool cannot be written.
        """
        if source.is_dir():
            return self.write("", lambda target: _copy_folder(source, target))
        return self.write("", lambda target: _copy_file(source, target))

    def write(self, suffix: str, write: Callable[[Path], object]) -> str:
        """Let ``write`` create an entry whose name ends in ``suffix``, and return its path.

        Raises:
            Exception: any exception that ``write`` raised; the entry has been removed.
        """
        missing = [folder for folder in (self._folder, *self._folder.parents) if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)
        entry = self._folder / f"{uuid.uuid4().hex}{suffix}"
        try:
            write(entry)
            _make_private(entry)
        except BaseException:  # also StopActivity from the model's code
            remove(entry)
            raise
        return str(entry)


def _make_private(entry: Path) -> None:
    """Make a copy accessible to its owner only, since other users may be able to reach its path."""
    if not entry.is_dir():
        entry.chmod(0o600)
        return
    for folder, _, names in os.walk(entry):
        os.chmod(folder, 0o700)
        for name in names:
            os.chmod(os.path.join(folder, name), 0o600)


def artifact_source(path: Path) -> Path:
    """Return the path as an absolute path whose last part is a name.

    Raises:
        OSError: the path does not exist.
        ValueError: it has no name, or its name is not valid Unicode.
    """
    source = path.absolute()
    if source.name in ("", ".."):
        source = source.resolve()
    if not source.name:
        raise ValueError("the root of the file system has no name; expected a file or a folder below it")
    _require_unicode(str(source))
    source.stat()
    return source


def artifact_folder(artifact_path: object) -> str | None:
    """Return the folder of the run for an artifact, as a normalized path.

    Raises:
        ValueError: it is not a relative path that stays below the root of the run.
    """
    if artifact_path is None:
        return None
    text = str(artifact_path)
    _require_unicode(text)
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if text.startswith("/") or ".." in parts or "\\" in text or not text.replace(" ", "x").isprintable():
        raise ValueError(f"{text!r} is not a folder of the run; expected a relative path such as 'plots/epoch-3'")
    return "/".join(parts) or None


def split_artifact_file(artifact_file: object) -> tuple[str, str | None]:
    """Return the name and the folder of a path such as ``plots/loss.png``.

    Raises:
        ValueError: it does not name a file below the root of the run.
    """
    whole = artifact_folder(artifact_file)
    if whole is None or str(artifact_file).endswith("/"):
        raise ValueError(f"{artifact_file!r} does not name a file; expected a relative path such as 'plots/loss.png'")
    folder, _, name = whole.rpartition("/")
    return name, folder or None


def draw(figure: Any, target: Path, save_kwargs: dict[str, Any]) -> None:
    """Write a figure of matplotlib or plotly, in the format that the suffix of the file selects.

    The library is recognized by the methods of the figure, so that neither has to be imported.

    Raises:
        TypeError: the figure is from neither library, or plotly cannot write this format.
        Exception: any exception that the library raised.
    """
    if callable(getattr(figure, "savefig", None)):
        # Without a suffix, matplotlib would append one and write to a different file.
        figure.savefig(target, **({} if target.suffix else {"format": "png"}), **save_kwargs)
    elif not callable(getattr(figure, "write_html", None)):
        raise TypeError(f"expected a figure of matplotlib or plotly, got {type(figure).__name__}")
    elif target.suffix == ".html":
        figure.write_html(target, **{"include_plotlyjs": "cdn", "auto_open": False, **save_kwargs})
    elif target.suffix in _PLOTLY_IMAGES:
        figure.write_image(target, **save_kwargs)
    else:
        raise TypeError(
            f"plotly cannot write {target.suffix or 'a file without a suffix'}; expected .html, .png, .svg or .pdf"
        )


def _require_unicode(text: str) -> None:
    """Raise an error for a lone surrogate, which cannot be sent."""
    text.encode()


def _copy_file(source: Path, target: Path) -> None:
    if not source.is_file():
        source.stat()  # raises an OSError with the reason if the path does not exist
        raise shutil.SpecialFileError(f"{source} is neither a file nor a folder")
    shutil.copyfile(source, target)


def _copy_folder(source: Path, target: Path) -> None:
    def refuse(error: OSError) -> None:
        if error.filename == str(source):
            raise error
        logger.error("log_artifact: the folder %s was left out: %s", error.filename, error.strerror)

    target.mkdir()
    for folder, folders, names in os.walk(source, onerror=refuse):
        place = target / Path(folder).relative_to(source)
        for name in folders:
            if os.path.islink(os.path.join(folder, name)):
                logger.warning("log_artifact: the link %s was left out; links to folders are not followed", name)
        for name in names:
            place.mkdir(parents=True, exist_ok=True)
            with _logging_errors(os.path.join(folder, name)):
                _copy_file(Path(folder, name), place / name)


@contextlib.contextmanager
def _logging_errors(source: str) -> Iterator[None]:
    """Log and suppress an error of one file: it has vanished, is unreadable or is not a file. Raise errors of the spool."""
    try:
        yield
    except shutil.SpecialFileError as error:
        logger.error("log_artifact: left out: %s", error)
    except (FileNotFoundError, PermissionError) as error:
        if error.filename is None or os.fspath(error.filename) != source:
            raise
        logger.error("log_artifact: %s was left out: %s", source, error.strerror)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it exists and can be removed."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
