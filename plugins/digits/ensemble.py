"""Combines several networks into one classifier, by the mean of their probabilities."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .checkpoint import read_arrays
from .compact import json_header, load_model
from .errors import BadCheckpoint
from .files import write_atomically
from .images import Floats
from .network import Parameters, probabilities

__all__ = ["FILE_NAME", "Ensemble"]

FILE_NAME = "digits-ensemble.npz"
_FORMAT = "digits-ensemble"


class Ensemble:
    """Networks by name; their hidden layers may differ in size.

    Attributes:
        members: the networks.
    """

    def __init__(self, members: Mapping[str, Parameters]) -> None:
        self.members = dict(members)

    @classmethod
    def of_models(cls, paths: Mapping[str, str]) -> Ensemble:
        """Read saved models: checkpoints or compact files.

        Raises:
            BadCheckpoint: one cannot be read; the message names it.
        """
        members = {}
        for name, path in paths.items():
            try:
                members[name] = load_model(path).trainer.parameters
            except BadCheckpoint as error:
                raise BadCheckpoint(f"modelPaths.{name}: {error}") from error
        return cls(members)

    @classmethod
    def load(cls, folder: str | Path) -> Ensemble | None:
        """Read an ensemble that ``save`` wrote; None if the folder has none.

        Raises:
            BadCheckpoint: it is damaged.
        """
        file = Path(folder, FILE_NAME)
        if not file.is_file():
            return None
        arrays = read_arrays(file)
        try:
            names = json_header(arrays)["members"]
            members = {
                name: Parameters(*(arrays[f"{number}_{part}"] for part in Parameters.names()))
                for number, name in enumerate(names)
            }
        except (KeyError, TypeError) as error:
            raise BadCheckpoint(
                f"{str(file)!r} is not an ensemble of digits, or it is damaged: it lacks {error}."
            ) from error
        return cls(members)

    def save(self, folder: str | Path) -> Path:
        """Write the ensemble to the file ``digits-ensemble.npz`` in a folder.

        Raises:
            CannotWrite: the folder cannot be created or written to.
        """
        header = {"format": _FORMAT, "version": 1, "members": list(self.members)}
        arrays: dict[str, Any] = {"header": np.array(json.dumps(header))}
        for number, member in enumerate(self.members.values()):
            arrays |= {f"{number}_{part}": getattr(member, part) for part in Parameters.names()}
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        return write_atomically(folder, FILE_NAME, buffer.getvalue())

    def probabilities(self, pixels: Floats) -> Floats:
        """Return the mean of the networks' probabilities: shape (n, 64) → shape (n, 10)."""
        return np.asarray(np.mean([probabilities(each, pixels) for each in self.members.values()], axis=0))
