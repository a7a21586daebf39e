"""Stores a training as one file: an npz archive of the arrays, with everything else as JSON.

There is no pickle in it, so loading one runs no code.

It is a single file, so that it is replaced atomically, and weights and counters always match.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import BadCheckpoint, BadHyperparameters
from .files import write_atomically
from .hyperparameters import Hyperparameters
from .network import Parameters
from .trainer import Trainer

__all__ = ["FILE_NAME", "Checkpoint", "load_checkpoint", "read_arrays", "save_checkpoint"]

FILE_NAME = "digits.npz"
_FORMAT = "digits-checkpoint"
#: Increased when a reader of the old version would misread a file of the new one.
_VERSION = 1
_VELOCITY = "velocity_"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What is saved.

    Attributes:
        trainer: the network and the state of its training.
        settings: the hyperparameters it is trained with.
        trained_on: the fingerprint of the training set, None before the first training.
        results: figures for the status, such as the last loss.
    """

    trainer: Trainer
    settings: Hyperparameters
    trained_on: str | None
    results: Mapping[str, float]


def save_checkpoint(folder: str | Path, checkpoint: Checkpoint) -> Path:
    """Write the file ``digits.npz`` to ``folder``, and replace an older one.

    Raises:
        CannotWrite: the folder cannot be created or written to.
    """
    trainer = checkpoint.trainer
    header = {
        "format": _FORMAT,
        "version": _VERSION,
        "hyperparameters": checkpoint.settings.to_dict(),
        "trainer": trainer.state(),
        "trained_on": checkpoint.trained_on,
        "results": dict(checkpoint.results),
    }
    arrays: dict[str, Any] = {"header": np.array(json.dumps(header)), "order": trainer.order}
    for name in Parameters.names():
        arrays[name] = getattr(trainer.parameters, name)
        arrays[_VELOCITY + name] = getattr(trainer.velocity, name)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
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
    arrays = read_arrays(file)
    try:
        header = json.loads(str(arrays["header"][()]))
        if header["format"] != _FORMAT:
            raise ValueError(f"its format is {header['format']!r}")
        if header["version"] > _VERSION:
            raise ValueError(f"its version is {header['version']}, and this model reads versions up to {_VERSION}")
        settings = Hyperparameters().updated(header["hyperparameters"])
        trainer = _trainer(arrays, header["trainer"], settings.hidden)
        return Checkpoint(trainer, settings, header["trained_on"], dict(header["results"]))
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, BadHyperparameters) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error).rstrip(".")
        raise BadCheckpoint(f"{str(file)!r} is not a checkpoint of the digits model: {reason}.") from error


def read_arrays(file: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a file.

    Raises:
        BadCheckpoint: it is missing or damaged.
    """
    try:
        with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise BadCheckpoint(
            f"There is no checkpoint at {str(file)!r}. Expected a folder that saveModel wrote, with {FILE_NAME} in it."
        ) from error
    except OSError as error:
        raise BadCheckpoint(f"The checkpoint {str(file)!r} cannot be read: {error.strerror or error}.") from error
    except (ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        # Not numpy's own text, which advises to load any other file as a pickle.
        raise BadCheckpoint(
            f"{str(file)!r} is not a checkpoint of the digits model, or it is damaged. Expected a file that saveModel wrote."
        ) from error


def _trainer(arrays: Mapping[str, npt.NDArray[Any]], state: dict[str, Any], hidden: int) -> Trainer:
    parameters, velocity = (
        Parameters(
            *(
                _array(arrays, prefix + name, shape)
                for name, shape in zip(Parameters.names(), Parameters.shapes(hidden), strict=True)
            )
        )
        for prefix in ("", _VELOCITY)
    )
    trainer = Trainer(parameters, velocity, np.random.Generator(np.random.PCG64(0)))
    trainer.restore(state, arrays["order"].astype(np.int64, casting="safe"))
    return trainer


def _array(arrays: Mapping[str, npt.NDArray[Any]], name: str, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    array = arrays[name]
    if array.shape != shape or array.dtype != np.float64:
        raise ValueError(f"{name} is {array.dtype} of shape {array.shape}; expected float64 of shape {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has values that are not finite")
    return array
