"""The client of a transform container."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from mistk_service.client.container import AsyncContainerClient, ContainerCalls, ContainerClient
from mistk_service.client.dual import DualMethod
from mistk_service.client.model import as_dataset
from mistk_service.client.status import ModelStatus
from mistk_service.kinds.transform import TRANSFORM
from mistk_service.kinds.values import MistkDataset


class TransformCalls(ContainerCalls):
    """The calls of a transform plugin."""

    kind = TRANSFORM

    @DualMethod
    async def transform(
        self,
        inputs: Iterable[MistkDataset | str | os.PathLike[str]],
        output: MistkDataset | str | os.PathLike[str] | None = None,
        properties: Mapping[str, Any] | None = None,
    ) -> ModelStatus:
        """Make a dataset from others. Paths are those that the container sees.

        Args:
            inputs: the datasets to read.
            output: the dataset to write.
            properties: settings of the plugin and of the run.
        """
        body = {"inputDatasets": [as_dataset(each).to_wire() for each in inputs], "properties": dict(properties or {})}
        return await self._call(
            "transform", body=body if output is None else {**body, "outputDataset": as_dataset(output).to_wire()}
        )


class TransformClient(TransformCalls, ContainerClient):
    """A client of one transform plugin. :class:`ContainerClient` describes its arguments and errors."""


class AsyncTransformClient(TransformCalls, AsyncContainerClient):
    """A client of one transform plugin for asyncio; :class:`AsyncContainerClient` describes it."""
