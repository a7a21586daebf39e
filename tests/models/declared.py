"""Declares everything that a class can declare, and reports the hyperparameters that it gets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from mistk_service import AbstractModel, RequestError


class Inner(msgspec.Struct):
    depth: Annotated[int, Meta(ge=1)] = 2


class Settings(msgspec.Struct):
    """How the model is trained."""

    rate: Annotated[float, Meta(gt=0, le=1, description="The size of a step.")]
    epochs: Annotated[int, Meta(ge=1)] = 3
    optimizer: Literal["sgd", "adam"] = "sgd"
    limit: float | None = None
    layers: list[Inner] = []
    name: str = ""

    def __post_init__(self) -> None:
        if self.optimizer == "adam" and self.rate > 0.5:
            raise ValueError("adam needs a rate of at most 0.5")
        if self.name == "taken":
            raise RequestError("name: 'taken' is taken", field="hyperparameters.name")
        if self.name == "broken":
            raise KeyError(self.name)


class Row(msgspec.Struct):
    age: float
    city: str


class Declared(AbstractModel):
    hyperparameters = Settings
    inputs = Row
    outputs = (("label", "int64", (-1,)),)

    def do_initialize(self, objectives: list[str], props: dict[str, Any], hparams: Settings) -> None:
        assert isinstance(hparams, Settings)
        self.update_status({"got": msgspec.to_builtins(hparams)})

    def do_infer(self, inputs: dict[str, Any]) -> dict[str, Any]:
        assert all(isinstance(city, str) for city in inputs["city"])
        return {"label": inputs["age"] > 30}
