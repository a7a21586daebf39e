"""Stores a trained network as one small file: weights of half precision, or of 8 bits with a scale for each unit.

It only contains the data for predictions, so a training that continues from such a file starts without momentum.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .checkpoint import FILE_NAME, Checkpoint, load_checkpoint, read_arrays
from .errors import BadCheckpoint, BadHyperparameters
from .files import write_atomically
from .hyperparameters import Hyperparameters
from .images import Floats
from .network import Parameters
from .trainer import Trainer

__all__ = ["Precision", "load_model", "reduced", "save_compact"]

Precision = Literal["float16", "int8"]

_FORMAT = "digits-compact"
_VERSION = 1
_SCALE = "scale_"
#: The largest weight of a unit becomes this.
_LARGEST = 127
#: The most precise first, as a folder is searched.
_FILES: dict[Precision, str] = {"float16": "digits-float16.npz", "int8": "digits-int8.npz"}

_Arrays = dict[str, npt.NDArray[Any]]


def reduced(parameters: Parameters, precision: Precision) -> Parameters:
    """Return a network with its weights rounded as a compact file has them."""
    return _restored(_packed(parameters, precision), parameters.hidden)


def save_compact(folder: str | Path, parameters: Parameters, settings: Hyperparameters, precision: Precision) -> Path:
    """Write a network to the file ``digits-float16.npz`` or ``digits-int8.npz`` in a folder.

    Raises:
        CannotWrite: the folder cannot be created or written to.
    """
    header = {"format": _FORMAT, "version": _VERSION, "hyperparameters": settings.to_dict()}
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {"header": np.array(json.dumps(header)), **_packed(parameters, precision)}
    np.savez_compressed(buffer, **arrays)
    return write_atomically(folder, _FILES[precision], buffer.getvalue())


def load_model(path: str | Path) -> Checkpoint:
    """Read a checkpoint or a compact file.

    Args:
        path: the file, or a folder with one. A checkpoint comes before compact files, and float16 before int8.

    Raises:
        BadCheckpoint: it is missing or damaged, or belongs to another model.
    """
    folder = Path(path)
    if folder.is_dir():
        names = (FILE_NAME, *_FILES.values())
        folder = next((folder / name for name in names if (folder / name).is_file()), folder / FILE_NAME)
    arrays = read_arrays(folder)
    header = json_header(arrays)
    if header.get("format") != _FORMAT:
        return load_checkpoint(folder)
    try:
        if header["version"] > _VERSION:
            raise ValueError(f"its version is {header['version']}, and this model reads versions up to {_VERSION}")
        settings = Hyperparameters().updated(header["hyperparameters"])
        parameters = _restored(arrays, settings.hidden)
    except (KeyError, TypeError, ValueError, BadHyperparameters) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error).rstrip(".")
        raise BadCheckpoint(f"{str(folder)!r} is not a compact file of the digits model: {reason}.") from error
    rng = np.random.Generator(np.random.PCG64(settings.seed))
    return Checkpoint(Trainer(parameters, Parameters.zeros(settings.hidden), rng), settings, None, {})


def json_header(arrays: _Arrays) -> dict[str, Any]:
    """Return the header of a file; empty if it has none."""
    try:
        header = json.loads(str(arrays["header"][()]))
    except (KeyError, ValueError, IndexError):
        return {}
    return header if isinstance(header, dict) else {}


def _packed(parameters: Parameters, precision: Precision) -> _Arrays:
    arrays: _Arrays = {}
    for name, array in zip(Parameters.names(), parameters.arrays(), strict=True):
        if precision == "float16" or array.ndim == 1:
            arrays[name] = array.astype(np.float16)
        else:
            scale = np.maximum(np.abs(array).max(axis=0), np.finfo(np.float32).tiny) / _LARGEST
            arrays[name] = np.rint(array / scale).astype(np.int8)
            arrays[_SCALE + name] = scale.astype(np.float32)
    return arrays


def _restored(arrays: _Arrays, hidden: int) -> Parameters:
    shapes = zip(Parameters.names(), Parameters.shapes(hidden), strict=True)
    return Parameters(*(_array(arrays, name, shape) for name, shape in shapes))


def _array(arrays: _Arrays, name: str, shape: tuple[int, ...]) -> Floats:
    array = arrays[name].astype(np.float64, casting="safe")
    if arrays[name].dtype == np.int8:
        array = array * arrays[_SCALE + name]
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"{name} does not consist of finite numbers in the shape {shape}")
    return array
