"""The client of a model, with one typed method for each operation of the contract."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from mistk_service.client.container import ContainerClient
from mistk_service.client.responses import decoded
from mistk_service.client.status import ModelStatus
from mistk_service.kinds.model import MODEL
from mistk_service.kinds.model.values import MistkDataset, ObjectInfo


class ModelClient(ContainerClient):
    """A client of one model. :class:`ContainerClient` describes its arguments and errors, and how to wait and watch."""

    kind = MODEL

    def initialize(
        self,
        objectives: Iterable[str],
        model_properties: Mapping[str, Any] | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
    ) -> ModelStatus:
        """Initialize the model.

        Args:
            objectives: values of :class:`~mistk_service.Objective`, or their spellings (``training``, ``predict`` ...).
            model_properties: settings other than hyperparameters.
            hyperparameters: values by name.
        """
        body = {
            "objectives": [objectives] if isinstance(objectives, str) else list(objectives),
            "modelProperties": dict(model_properties or {}),
            "hyperparameters": dict(hyperparameters or {}),
        }
        return self.call("initialize", body=body)

    def load_data(
        self,
        **datasets: MistkDataset | str | os.PathLike[str] | None,
    ) -> ModelStatus:
        """Load datasets, by purpose: ``train``, ``test``, ``generate`` or other keys that the model knows.

        Paths are those that the container sees.
        """
        body = {key: _dataset(value).to_wire() for key, value in datasets.items() if value is not None}
        return self.call("loadData", body=body)

    def build_model(self, model_path: str | os.PathLike[str] | None = None) -> ModelStatus:
        """Build the model, or load the one that :meth:`save_model` wrote to the folder ``model_path``."""
        return self.call("buildModel", modelPath=model_path)

    def train(self) -> ModelStatus:
        """Train on the dataset ``train``."""
        return self.call("train")

    def save_model(self, path: str | os.PathLike[str]) -> ModelStatus:
        """Write the model to the folder ``path``, as the container sees it."""
        return self.call("saveModel", modelPath=path)

    def predict(self) -> ModelStatus:
        """Predict for the dataset ``test``."""
        return self.call("predict")

    def stream_predict(self, data_map: Mapping[str, bytes | str], *, details: bool = False) -> dict[str, Any]:
        """Predict for records and wait for the result.

        Args:
            data_map: identifier → record, as bytes or as base64 text.
            details: whether to request an explanation of each prediction, in Markdown.

        Returns:
            identifier → prediction.
        """
        body = {key: _base64(value) for key, value in data_map.items()}
        response = self._send(
            "POST", self._path("streamPredict"), body=body, query={"details": "true" if details else None}
        )
        return decoded(response, _object)

    def update_stream_properties(self, props: Mapping[str, Any]) -> ModelStatus:
        """Change settings for later stream predictions."""
        return self.call("updateStreamProperties", body=dict(props))

    def save_predictions(self, path: str | os.PathLike[str]) -> ModelStatus:
        """Write the last predictions to the folder ``path``, as the container sees it."""
        return self.call("savePredictions", dataPath=path)

    def generate(self) -> ModelStatus:
        """Generate, from the dataset ``generate`` if the model needs one."""
        return self.call("generate")

    def save_generations(self, path: str | os.PathLike[str]) -> ModelStatus:
        """Write the last generations to the folder ``path``, as the container sees it."""
        return self.call("saveGenerations", dataPath=path)

    def pause(self) -> ModelStatus:
        """Pause training or prediction."""
        return self.call("pause")

    def resume_training(self) -> ModelStatus:
        """Resume a paused training."""
        return self.call("resumeTraining")

    def resume_predict(self) -> ModelStatus:
        """Resume a paused prediction."""
        return self.call("resumePredict")


def _dataset(value: MistkDataset | str | os.PathLike[str]) -> MistkDataset:
    """Return the dataset for a path. Return a dataset unchanged."""
    if isinstance(value, MistkDataset):
        return value
    path = os.fspath(value)
    return MistkDataset(object_info=ObjectInfo(name=PurePath(path).name, kind="MistkDataset"), data_path=path)


def _base64(record: bytes | str) -> str:
    return record if isinstance(record, str) else base64.b64encode(record).decode("ascii")


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, not {type(value).__name__}")
    return value
