"""Reads a dataset of digits: finds the file, detects its format, and reads it.

The name of a file does not matter: its first bytes distinguish npz, gzip and text.
"""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .csv_table import parse_csv
from .errors import UnreadableData
from .images import CLASSES, DARKEST, PIXELS, Images

__all__ = ["read_images"]

_GZIP = b"\x1f\x8b"
_ZIP = b"PK"
_NPY = b"\x93NUMPY"
_READABLE = (".csv", ".tsv", ".txt", ".npz", ".csv.gz", ".tsv.gz", ".txt.gz")
#: The usual names of these arrays, in lower case.
_PIXEL_NAMES = ("images", "pixels", "x", "data", "features")
_LABEL_NAMES = ("labels", "label", "y", "target", "targets", "digits")
_ID_NAMES = ("ids", "id", "names")
_EXPECTED = (
    "Expected CSV (optionally gzipped) with 64 pixel columns and optionally the columns id and label; "
    "or npz with the arrays images (n, 8, 8) or (n, 64) and, if you like, labels and ids"
)


def read_images(path: str | Path, *, role: str = "", file_format: str | None = None) -> Images:
    """Read the images at ``path``.

    Args:
        path: a file, or a folder with one file of images.
        role: ``train`` or ``test``; in a folder with several files, the one with this name is used.
        file_format: ``csv`` or ``npz``; in a folder, only such files are used. Other values are ignored.

    Raises:
        UnreadableData: there is no such file, or it has other contents; the message names the problem and the place.
    """
    file = _locate(Path(path), role, (file_format or "").lower())
    source = repr(str(file))
    try:
        content = file.read_bytes()
        if content.startswith(_GZIP):
            content = gzip.decompress(content)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UnreadableData(f"{source} is damaged gzip: {error}.") from error
    except OSError as error:
        raise UnreadableData(f"{source} cannot be read: {error.strerror or error}.") from error
    if content.startswith(_ZIP):
        return _parse_npz(content, source)
    return parse_csv(_decode(content, source), source)


def _locate(path: Path, role: str, file_format: str) -> Path:
    try:
        if path.is_file():
            return path
        if not path.is_dir():
            raise UnreadableData(f"There is no file or folder {str(path)!r}. {_EXPECTED}.")
        names = sorted(entry.name for entry in path.iterdir() if entry.is_file() and not entry.name.startswith("."))
    except (OSError, ValueError) as error:
        raise UnreadableData(f"{str(path)!r} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    wanted = tuple(s for s in _READABLE if f".{file_format}" in s) or _READABLE
    found = [name for name in names if name.lower().endswith(wanted)]
    called = [name for name in found if role and name.lower().split(".")[0] == role]
    if len(called or found) == 1:
        return path / (called or found)[0]
    what = f"holds several files of images ({', '.join(found[:5])}{', ...' if len(found) > 5 else ''})"
    if not found:
        what = f"holds no file that ends in {', '.join(wanted)}"
    raise UnreadableData(
        f"The folder {str(path)!r} {what}. Expected one, or one that is called {role or 'train'}, such as "
        f"{role or 'train'}.csv; or give the path of the file."
    )


def _decode(content: bytes, source: str) -> str:
    if content.startswith(_NPY):
        raise UnreadableData(f"{source} is a single array (npy), which has no place for labels. {_EXPECTED}.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableData(
            f"{source} is neither npz, nor gzip, nor text in UTF-8 (byte {error.start} is "
            f"{content[error.start]:#04x}). {_EXPECTED}."
        ) from error


def _parse_npz(content: bytes, source: str) -> Images:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            arrays = {name.lower(): archive[name] for name in archive.files}
    except (ValueError, EOFError, OSError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise UnreadableData(f"{source} cannot be read as npz: {error}. {_EXPECTED}.") from error
    pixels = _named(arrays, _PIXEL_NAMES)
    if pixels is None:
        raise UnreadableData(f"{source} has the arrays {_listed(arrays)}, but no images. {_EXPECTED}.")
    if pixels.shape[1:] not in {(8, 8), (PIXELS,)} or not np.issubdtype(pixels.dtype, np.number) or not len(pixels):
        raise UnreadableData(
            f"{source}: the images are {pixels.dtype} of shape {pixels.shape}, and not numbers of shape (n, 8, 8) or "
            "(n, 64), n at least 1."
        )
    flat = pixels.reshape(len(pixels), PIXELS).astype(np.float64)
    wrong = np.argwhere(~((flat >= 0) & (flat <= DARKEST)))
    if len(wrong):
        row, column = wrong[0]
        raise UnreadableData(
            f"{source}: pixel {column} of image {row} (from 0) is {flat[row, column]:g}; expected 0..{DARKEST:g}."
        )
    return Images(_npz_ids(arrays, len(flat), source), flat, _npz_labels(arrays, len(flat), source))


def _npz_labels(arrays: dict[str, npt.NDArray[Any]], count: int, source: str) -> npt.NDArray[np.int64] | None:
    labels = _named(arrays, _LABEL_NAMES)
    if labels is None:
        return None
    if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.number):
        raise UnreadableData(
            f"{source}: the labels are {labels.dtype} of shape {labels.shape}, and not one number for each of {count} "
            "images."
        )
    wrong = np.flatnonzero(~np.isin(labels, np.arange(CLASSES)))
    if wrong.size:
        raise UnreadableData(f"{source}: label {wrong[0]} (from 0) is {labels[wrong[0]]}; expected a digit 0..9.")
    return labels.astype(np.int64)


def _npz_ids(arrays: dict[str, npt.NDArray[Any]], count: int, source: str) -> tuple[str, ...]:
    ids = _named(arrays, _ID_NAMES)
    names = tuple(str(i) for i in (range(count) if ids is None else ids.ravel()))
    if len(names) != count or len(set(names)) != count:
        raise UnreadableData(f"{source}: expected a different id for each of {count} images.")
    return names


def _named(arrays: dict[str, npt.NDArray[Any]], names: Iterable[str]) -> npt.NDArray[Any] | None:
    return next((arrays[name] for name in names if name in arrays), None)


def _listed(arrays: dict[str, npt.NDArray[Any]]) -> str:
    return ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "(none)"
