"""The model for the prediction APIs: its name, its version, and whether it is ready."""

from __future__ import annotations

import functools
import re
import time
from typing import Any

from mistk_service.core.controller import Controller
from mistk_service.doors.inference.statistics import Statistics
from mistk_service.errors import MistkError
from mistk_service.kinds.predictions import Inputs, Prompt, Tensors


class UnknownModel(MistkError):
    """The container has another model, or another version."""


@functools.lru_cache(maxsize=1)
def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


class ServedModel:
    """The only model of a container, by its name.

    Args:
        controller: the controller.
        name: the name; by default the one in the registry if the model comes from there, else the class's name in snake case.
        version: the version; by default the one in the registry, else ``1``.
    """

    def __init__(self, controller: Controller, name: str | None = None, version: str | None = None) -> None:
        self.controller = controller
        self._name = name
        self._version = version
        self._created = int(time.time())
        #: The statistics of the Open Inference Protocol, over REST and gRPC.
        self.statistics = Statistics()

    @property
    def name(self) -> str:
        """The name."""
        if self._name is not None:
            return self._name
        if self.controller.registered is not None:
            return self.controller.registered[0]
        return _snake_case(self.controller.view.name)

    @property
    def version(self) -> str:
        """The version."""
        registered = self.controller.registered
        return self._version or (registered[1] if registered is not None else "1")

    def require(self, name: str, version: str = "") -> None:
        """Check that a request is for this model; it may leave the version out.

        Raises:
            UnknownModel: it is for another one.
        """
        if name != self.name or version not in ("", self.version):
            wanted = f"version {version[:40]!r} of a model" if version else "model"
            raise UnknownModel(f"There is no {wanted} {name[:80]!r}; expected {self.name!r}, version {self.version}.")

    @property
    def takes_tensors(self) -> bool:
        """Whether the class has the hook for tensors, as far as is known."""
        return self._takes(Tensors)

    @property
    def generates(self) -> bool:
        """Whether the class has the hook for prompts, as far as is known."""
        return self._takes(Prompt)

    @property
    def has_prediction_apis(self) -> bool:
        """Whether the kind of container has the hooks of the prediction APIs."""
        row = self.controller.kind.prediction
        return row is not None and row.tensor_hook is not None and row.prompt_hook is not None

    def _takes(self, form: type[Inputs]) -> bool:
        row = self.controller.kind.prediction
        return row is not None and self.controller.view.supports(row.taking(form))

    def card(self) -> dict[str, Any]:
        """Return the model as OpenAI's API lists it."""
        return {"id": self.name, "object": "model", "created": self._created, "owned_by": "mistk-service"}

    @property
    def is_ready(self) -> bool:
        """Whether the model can predict now."""
        return self.controller.can_accept_work

    @property
    def why_not_ready(self) -> str:
        """Why it cannot."""
        return f"The model cannot predict now; its state is {self.controller.state}."
