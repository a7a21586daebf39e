"""Autostart: initializes and builds the model when the service starts, so that it is ready without an orchestrator."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from mistk_service.app.settings import Settings
from mistk_service.app.steps import Steps
from mistk_service.app.storage import fetched
from mistk_service.core.controller import Controller
from mistk_service.core.hyperparameters import from_texts
from mistk_service.errors import InvalidRequest
from mistk_service.kinds.call import Call
from mistk_service.kinds.values import MistkDataset, ObjectInfo
from mistk_service.workers.host.files import on_thread


def is_wanted(settings: Settings) -> bool:
    """Return whether the service has to build the model itself."""
    return any((settings.build_from, settings.hyperparameters, settings.properties, settings.data))


class Autostart:
    """Takes the model from ``started`` to ``ready``.

    Args:
        settings: where the model and its settings are.
        scratch: a folder for copies of files that are stored elsewhere.
        objectives: the objectives for ``initialize``.
        as_texts: whether the hyperparameters are texts of JSON.
    """

    exit_code = 0

    def __init__(
        self, settings: Settings, scratch: Path, objectives: Sequence[str] = (), *, as_texts: bool = False
    ) -> None:
        self._settings = settings
        self._scratch = scratch
        self._objectives = list(objectives)
        self._as_texts = as_texts
        self.steps = Steps()
        self.observe = self.steps.observe

    def on_signal(self, controller: Controller) -> None:
        """Shut down."""
        controller.shutdown()

    def on_drain(self, controller: Controller) -> None:
        """Do nothing: clients decide what becomes of their training, and replicas may be elsewhere."""

    async def __call__(self, controller: Controller) -> None:
        """Initialize the model, load its data and build it.

        Raises:
            InvalidRequest: a file cannot be read, or the model refuses what it contains.
            StorageUnreachable: the model or the data cannot be fetched.
            HookFailed: the model failed.
            Interrupted: the service is shutting down.
        """
        await self.prepare(controller, await self.datasets(), self._settings.build_from)

    async def datasets(self) -> dict[str, tuple[str, Any]]:
        """Return the datasets of ``--data``, by name, each with this option; see :meth:`prepare`."""
        values = await on_thread(read_values, self._settings.data, "--data")
        return {name: ("--data", value) for name, value in values.items()}

    async def prepare(self, controller: Controller, datasets: Mapping[str, tuple[str, Any]], model: str | None) -> None:
        """Initialize the model, load datasets, and build it from a path or URI, if any.

        Args:
            controller: the controller of the model.
            datasets: the datasets, by name: the option that gives each, and its place or the dataset as in ``loadData``.
            model: the path or URI.
        """
        bodies = controller.kind.bodies
        # On a thread, since a file may be a pipe that nobody has written to yet, or on a file system that is slow.
        hyperparameters = await on_thread(read_values, self._settings.hyperparameters, "--hyperparameters")
        if self._as_texts:
            hyperparameters = from_texts(controller.signature.hyperparameters, hyperparameters)
        body = {
            "objectives": self._objectives,
            "modelProperties": await on_thread(read_values, self._settings.properties, "--properties"),
            "hyperparameters": hyperparameters,
        }
        # Everything is fetched before anything is done.
        path = None if model is None else await self.fetch(model, "--build-from")
        wires = {name: await self._dataset(name, *given) for name, given in datasets.items()}
        await self.steps.do(controller, "initialize", bodies["initialize"](body))
        if wires:
            await self.steps.do(controller, "loadData", bodies["loadData"](wires))
        reads = {} if path is None else {"--build-from": path}
        await self.steps.do(controller, "buildModel", Call((path,), reads=reads))

    async def fetch(self, place: str, field: str, folder: str = "") -> str:
        """Return the path of the local copy of a location, see :func:`~mistk_service.app.storage.fetched`.

        The folder of a copy has the name of the option, unless another one is given.
        """
        return await asyncio.to_thread(fetched, place, self._scratch / (folder or field.strip("-")), field)

    async def _dataset(self, name: str, option: str, value: Any) -> Mapping[str, Any]:
        """Return a dataset as in ``loadData``, with its files on this machine."""
        if isinstance(value, str):
            info = ObjectInfo(name=name, kind="MistkDataset")
            path = await self.fetch(value, option, f"data-{name}")
            return MistkDataset(object_info=info, data_path=path).to_wire()
        if not isinstance(value, Mapping):
            raise InvalidRequest(f"--data: {name} is {value!r:.80}; expected a path or a dataset.", field="--data")
        return value


def read_values(file: str | None, field: str) -> dict[str, Any]:
    """Return the values by name in a JSON or YAML file; none without a file.

    Raises:
        InvalidRequest: the file cannot be read, or does not contain values by name.
    """
    if file is None:
        return {}
    import yaml  # late, since the service imports this module before it listens

    try:
        values = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
        # YAML has values that cannot be sent to the worker, such as a list that contains itself.
        msgspec.msgpack.encode(values)
    except (OSError, ValueError, OverflowError, RecursionError, yaml.YAMLError) as error:
        raise InvalidRequest(
            f"{field}: {file} cannot be read: {error}. Expected a JSON or YAML file.", field=field
        ) from error
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise InvalidRequest(f'{field}: {file} does not contain values by name, such as {{"epochs": 10}}.', field=field)
    return values
