"""The client of a model, with one typed method for each operation of the contract."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from pathlib import PurePath
from typing import Any

import msgspec

from mistk_service.client.container import AsyncContainerClient, ContainerCalls, ContainerClient
from mistk_service.client.dual import DualIterator, DualMethod
from mistk_service.client.responses import decoded, error_answer
from mistk_service.client.status import ModelStatus
from mistk_service.kinds.evaluation.values import Metric
from mistk_service.kinds.model import MODEL
from mistk_service.kinds.values import MistkDataset, ObjectInfo


class ModelCalls(ContainerCalls):
    """The calls of a model."""

    kind = MODEL

    @DualMethod
    async def initialize(
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
        return await self._call("initialize", body=body)

    @DualMethod
    async def load_data(
        self,
        /,
        **datasets: MistkDataset | str | os.PathLike[str] | None,
    ) -> ModelStatus:
        """Load datasets, by purpose: ``train``, ``test``, ``generate`` or other keys that the model knows.

        Paths are those that the container sees.
        """
        body = {key: as_dataset(value).to_wire() for key, value in datasets.items() if value is not None}
        return await self._call("loadData", body=body)

    @DualMethod
    async def build_model(self, model_path: str | os.PathLike[str] | None = None) -> ModelStatus:
        """Build the model, or load it from the folder ``model_path`` that :meth:`save_model` wrote."""
        return await self._call("buildModel", modelPath=model_path)

    @DualMethod
    async def build_ensemble(
        self,
        model_paths: Mapping[str, str | os.PathLike[str]] | None = None,
        ensemble_path: str | os.PathLike[str] | None = None,
    ) -> ModelStatus:
        """Build an ensemble of saved models.

        Args:
            model_paths: the name of each model → the folder that :meth:`save_model` wrote, as the container sees it.
            ensemble_path: the folder of the ensemble, for a model that keeps one.
        """
        body = None if model_paths is None else {name: os.fspath(path) for name, path in model_paths.items()}
        return await self._call("buildEnsemble", body=body, ensemblePath=ensemble_path)

    @DualMethod
    async def train(self) -> ModelStatus:
        """Train on the dataset ``train``."""
        return await self._call("train")

    @DualMethod
    async def save_model(self, path: str | os.PathLike[str]) -> ModelStatus:
        """Write the model to the folder ``path``, as the container sees it."""
        return await self._call("saveModel", modelPath=path)

    @DualMethod
    async def miniaturize(self, path: str | os.PathLike[str], *, half_precision: bool = False) -> ModelStatus:
        """Write a smaller model to the folder ``path``, as the container sees it, on request also with half precision."""
        return await self._call("miniaturize", dataPath=path, includeHalfPrecision=str(half_precision).lower())

    @DualMethod
    async def predict(self) -> ModelStatus:
        """Predict for the dataset ``test``."""
        return await self._call("predict")

    @DualMethod
    async def stream_predict(self, data_map: Mapping[str, bytes | str], *, details: bool = False) -> dict[str, Any]:
        """Predict for records and wait for the result.

        Args:
            data_map: identifier → record, as bytes or as base64 text.
            details: whether to request an explanation of each prediction, in Markdown.

        Returns:
            identifier → prediction.
        """
        body = {key: _base64(value) for key, value in data_map.items()}
        response = await self._send(
            "POST", self._path("streamPredict"), body=body, query={"details": "true" if details else None}
        )
        return decoded(response, lambda value: msgspec.convert(value, dict[str, Any]))

    @DualIterator
    async def stream_predict_source(
        self, source: str | os.PathLike[str], format: str | None = None, props: Mapping[str, Any] | None = None
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Predict for the records of a source. Close the generator to stop the model.

        Args:
            source: where the records are, as the model understands it.
            format: the format of the records.
            props: settings for these predictions.

        Yields:
            identifier → prediction, as the predictions come.
        """
        query = {"source": os.fspath(source)} | ({} if format is None else {"format": format})
        async with aclosing(self._lines_of("streamPredict/source", query, props)) as lines:
            async for line in lines:
                yield line["payload"]

    @DualMethod
    async def cancel_stream_predict_source(self) -> None:
        """End the predictions for a source, if there are any."""
        response = await self._send("DELETE", self._path("streamPredict/source/cancel"))
        if response.status_code != 204:
            raise error_answer(response)

    @DualMethod
    async def evaluate(
        self,
        assessment_type: str,
        ground_truth: str | os.PathLike[str],
        metrics: Iterable[Metric] = (),
        output: str | os.PathLike[str] | None = None,
        properties: Mapping[str, Any] | None = None,
    ) -> ModelStatus:
        """Measure the last predictions against the truth. Paths are those that the container sees.

        Args:
            assessment_type: such as ``MulticlassClassification``.
            ground_truth: the file or folder with the truth.
            metrics: what to compute; by default, the metrics of the plugin that need labels alone.
            output: the folder for the results; None if they are not wanted as a file.
            properties: settings of the plugin.
        """
        body = {
            "assessment_type": assessment_type,
            "metrics": [metric.to_wire() for metric in metrics],
            "ground_truth_path": os.fspath(ground_truth),
            "evaluation_path": None if output is None else os.fspath(output),
            "properties": dict(properties or {}),
        }
        return await self._call("evaluate", body=body)

    @DualMethod
    async def update_stream_properties(self, props: Mapping[str, Any]) -> ModelStatus:
        """Change settings for later stream predictions."""
        return await self._call("updateStreamProperties", body=dict(props))

    @DualMethod
    async def save_predictions(self, path: str | os.PathLike[str]) -> ModelStatus:
        """Write the last predictions to the folder ``path``, as the container sees it."""
        return await self._call("savePredictions", dataPath=path)

    @DualMethod
    async def generate(self) -> ModelStatus:
        """Generate, from the dataset ``generate`` if the model needs one."""
        return await self._call("generate")

    @DualMethod
    async def save_generations(self, path: str | os.PathLike[str]) -> ModelStatus:
        """Write the last generations to the folder ``path``, as the container sees it."""
        return await self._call("saveGenerations", dataPath=path)

    @DualMethod
    async def pause(self) -> ModelStatus:
        """Pause training or prediction."""
        return await self._call("pause")

    @DualMethod
    async def resume_training(self) -> ModelStatus:
        """Resume a paused training."""
        return await self._call("resumeTraining")

    @DualMethod
    async def resume_predict(self) -> ModelStatus:
        """Resume a paused prediction."""
        return await self._call("resumePredict")


class ModelClient(ModelCalls, ContainerClient):
    """A client of one model. :class:`ContainerClient` describes its arguments and errors, and how to wait and watch."""


class AsyncModelClient(ModelCalls, AsyncContainerClient):
    """A client of one model for asyncio; :class:`AsyncContainerClient` describes it."""


def as_dataset(value: MistkDataset | str | os.PathLike[str]) -> MistkDataset:
    """Return the dataset for a path. Return a dataset unchanged."""
    if isinstance(value, MistkDataset):
        return value
    path = os.fspath(value)
    return MistkDataset(object_info=ObjectInfo(name=PurePath(path).name, kind="MistkDataset"), data_path=path)


def _base64(record: bytes | str) -> str:
    return record if isinstance(record, str) else base64.b64encode(record).decode("ascii")
