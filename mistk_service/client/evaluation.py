"""The client of an evaluation container."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from mistk_service.client.container import AsyncContainerClient, ContainerCalls, ContainerClient
from mistk_service.client.dual import DualMethod
from mistk_service.client.responses import decoded
from mistk_service.client.status import ModelStatus
from mistk_service.kinds.evaluation import EVALUATION
from mistk_service.kinds.evaluation.values import Metric, metrics_of


class EvaluationCalls(ContainerCalls):
    """The calls of an evaluation plugin."""

    kind = EVALUATION

    @DualMethod
    async def metrics(self, assessment_type: str | None = None) -> list[Metric]:
        """Return the metrics that the plugin knows, or those for one type of assessment."""
        metrics = decoded(await self._send("GET", self._path("metrics")), metrics_of)
        return [each for each in metrics if assessment_type is None or assessment_type in (each.assessment_types or ())]

    @DualMethod
    async def evaluate(
        self,
        assessment_type: str,
        metrics: Iterable[Metric],
        predictions: str | os.PathLike[str],
        ground_truth: str | os.PathLike[str],
        output: str | os.PathLike[str] | None = None,
        *,
        input_format: str = "predictions",
        properties: Mapping[str, Any] | None = None,
    ) -> ModelStatus:
        """Measure predictions against the truth. Paths are those that the container sees.

        Args:
            assessment_type: such as ``BinaryClassification``.
            metrics: some of :meth:`metrics`.
            predictions: the file or folder with the predictions.
            ground_truth: the file or folder with the truth.
            output: the folder for the results; None if they are not wanted as a file.
            input_format: ``predictions`` or ``generations``.
            properties: settings of the plugin and of the run.
        """
        body = {
            "assessment_type": assessment_type,
            "metrics": [metric.to_wire() for metric in metrics],
            "input_data_path": os.fspath(predictions),
            "evaluation_input_format": input_format,
            "ground_truth_path": os.fspath(ground_truth),
            "properties": dict(properties or {}),
        }
        return await self._call(
            "evaluate", body=body if output is None else {**body, "evaluation_path": os.fspath(output)}
        )


class EvaluationClient(EvaluationCalls, ContainerClient):
    """A client of one evaluation plugin. :class:`ContainerClient` describes its arguments and errors."""


class AsyncEvaluationClient(EvaluationCalls, AsyncContainerClient):
    """A client of one evaluation plugin for asyncio; :class:`AsyncContainerClient` describes it."""
