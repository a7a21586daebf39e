"""A training job on SageMaker, which is described by files.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import msgspec

from mistk_service.errors import SettingsError

#: The channels that other names stand for.
_CHANNELS = {"training": "train"}

#: The number of characters that SageMaker shows of a failure.
_SHOWN = 1024


def training_options(folder: Path, scratch: Path) -> dict[str, Any]:
    """Return the options of the job that the files of SageMaker describe.

    Args:
        folder: the folder that SageMaker shares with the container, ``/opt/ml``.
        scratch: a folder for files.

    Raises:
        SettingsError: a file cannot be read, or there is no data to train with.
    """
    given = _read(folder / "input" / "config" / "hyperparameters.json")
    # Names of this form are for SageMaker's own toolkit.
    values = {name: value for name, value in given.items() if not name.startswith("sagemaker_")}
    channels = {
        _CHANNELS.get(each.name, each.name): str(_only_file(each))
        for each in sorted((folder / "input" / "data").glob("*"))
        if each.is_dir()
    }
    train, test = channels.pop("train", None), channels.pop("test", None)
    if train is None:
        raise SettingsError(
            f"There is no channel 'train' or 'training' in {folder / 'input' / 'data'}; expected the data to train with."
        )
    checkpoints = folder / "checkpoints"
    return {
        "hyperparameters": _write(scratch / "hyperparameters.json", values),
        "data": _write(scratch / "data.json", channels),
        "train": train,
        "predict": test,
        "save_model": str(folder / "model"),
        "save_predictions": None if test is None else str(folder / "output" / "data"),
        "checkpoint": str(checkpoints) if checkpoints.is_dir() else None,
        # The folder for the model is not that of a model to begin with.
        "build_from": None,
    }


def write_failure(folder: Path, reason: str) -> None:
    """Write why a job failed to the file that SageMaker reads, unless it exists."""
    file = folder / "output" / "failure"
    with contextlib.suppress(OSError):  # the log has it, too
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as stream:
            stream.write(reason[:_SHOWN])


def _read(file: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        raise SettingsError(f"{file} cannot be read: {error}") from error


def _only_file(channel: Path) -> Path:
    """Return the only file of a channel; the channel, if there are several."""
    files = list(channel.iterdir())
    return files[0] if len(files) == 1 and files[0].is_file() else channel


def _write(file: Path, values: dict[str, Any]) -> str:
    file.write_bytes(msgspec.json.encode(values))
    return str(file)
