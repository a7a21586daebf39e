"""Stores the trained model as one file: an npz archive of the counts, with everything else as JSON, without pickle."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .errors import BadCheckpoint, BadSetting
from .files import write_atomically
from .language import Language
from .ngrams import MAX_ALPHABET, NgramCounts
from .settings import CountSettings

__all__ = ["FILE_NAME", "Checkpoint", "load_checkpoint", "save_checkpoint"]

FILE_NAME = "text_generator.npz"
_FORMAT = "text-generator-checkpoint"
#: Increased when a reader of the old version would misread a file of the new one.
_VERSION = 1


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What is saved.

    Attributes:
        language: what was learned.
        settings: how.
        read: fingerprint of a text → how many of its characters were counted.
    """

    language: Language
    settings: CountSettings
    read: dict[str, int] = field(default_factory=dict)


def save_checkpoint(folder: str | Path, checkpoint: Checkpoint) -> Path:
    """Write the file ``text_generator.npz`` to ``folder``, and replace an older one.

    Raises:
        CannotWrite: the folder cannot be created or written to.
    """
    header = {
        "format": _FORMAT,
        "version": _VERSION,
        "settings": checkpoint.settings.to_dict(),
        "alphabet": checkpoint.language.alphabet,
        "read": checkpoint.read,
    }
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {"header": np.array(json.dumps(header)), **checkpoint.language.counts.arrays()}
    np.savez_compressed(buffer, **arrays)
    return write_atomically(folder, FILE_NAME, buffer.getvalue())


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint that ``save_checkpoint`` wrote.

    Args:
        path: the folder, or the file itself.

    Raises:
        BadCheckpoint: it is missing or damaged, belongs to another model, or is of a later version.
    """
    path = Path(path)
    file = path / FILE_NAME if path.is_dir() else path
    try:
        with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return _checkpoint(arrays)
    except FileNotFoundError as error:
        raise BadCheckpoint(
            f"There is no checkpoint at {str(file)!r}. Expected a folder that saveModel wrote, with {FILE_NAME} in it."
        ) from error
    except OSError as error:
        raise BadCheckpoint(f"The checkpoint {str(file)!r} cannot be read: {error.strerror or error}.") from error
    except (KeyError, TypeError, ValueError, AttributeError, EOFError, BadSetting) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error).rstrip(".")
        raise BadCheckpoint(f"{str(file)!r} is not a checkpoint of the text generator: {reason}.") from error
    except (zipfile.BadZipFile, zlib.error) as error:
        raise BadCheckpoint(f"The checkpoint {str(file)!r} is damaged: {error}.") from error


def _checkpoint(arrays: dict[str, Any]) -> Checkpoint:
    header = json.loads(str(arrays["header"][()]))
    if header["format"] != _FORMAT:
        raise ValueError(f"its format is {header['format']!r}")
    if header["version"] > _VERSION:
        raise ValueError(f"its version is {header['version']}, and this model reads versions up to {_VERSION}")
    settings = CountSettings().updated(header["settings"])
    alphabet = header["alphabet"]
    if len(set(alphabet)) != len(alphabet) or len(alphabet) > MAX_ALPHABET:
        raise ValueError("the alphabet has a character twice, or too many of them")
    counts = NgramCounts.from_arrays(settings.order, arrays)
    if counts.highest_code > len(alphabet):
        raise ValueError("there are n-grams of characters that the alphabet does not have")
    return Checkpoint(
        Language(alphabet, counts), settings, {str(key): int(value) for key, value in header["read"].items()}
    )
