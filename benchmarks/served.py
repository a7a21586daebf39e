"""The models as this service serves them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

import msgspec
import numpy as np

from benchmarks.models import MODELS, Predictor, parts, tensor_model, train_step
from mistk_service import AbstractModel

__all__ = ["Declared", "Heavy", "Logistic", "Mlp", "MlpUnmerged", "Parts", "Reporting", "Sizes", "Undeclared"]


class Settings(msgspec.Struct):
    """Hyperparameters that nothing uses."""

    rate: Annotated[float, msgspec.Meta(gt=0)] = 0.1


class _Benchmarked(AbstractModel):
    """Serves one of the models, and has a training that reports at a steady rate."""

    kind: ClassVar[str]
    _predictor: Predictor
    _interval = 0.5
    _steps = 10**9

    def do_initialize(self, objectives: list[str], props: dict[str, Any], hparams: dict[str, Any]) -> None:  # noqa: ARG002
        """Set the seconds between two reports of the training, ``interval``, and their number, ``steps``."""
        self._steps = int(hparams.get("steps", self._steps))
        self._interval = float(hparams.get("interval", self._interval))

    def do_build_model(self, path: str | None = None) -> None:  # noqa: ARG002
        """Make the model."""
        self._predictor = MODELS[self.kind]()

    def do_train(self) -> None:
        """Report a step and its loss every interval."""
        for step in self.steps(range(self._steps), "steps"):
            self.report_metrics({"loss": train_step()}, step=step)
            time.sleep(self._interval)

    def do_stream_predict(self, data_map: dict[str, str], details: bool = False) -> dict[str, Any]:  # noqa: ARG002
        """Predict."""
        return self._predictor(data_map)


class Logistic(_Benchmarked):
    """Logistic regression; concurrent requests are merged."""

    kind = "logistic"
    max_batch_size = 64


class Mlp(_Benchmarked):
    """The perceptron; concurrent requests are merged."""

    kind = "mlp"
    max_batch_size = 64


class MlpUnmerged(_Benchmarked):
    """The perceptron; each request is a separate call."""

    kind = "mlp"


class Heavy(_Benchmarked):
    """The large perceptron; concurrent requests are merged, and repeated if their process dies.

    Batches of sixteen are as efficient as those of 64, so replicas keep the gain of merging.
    """

    kind = "heavy"
    max_batch_size = 16
    idempotent_predictions = True


class Sizes(_Benchmarked):
    """Sizes of the records."""

    kind = "sizes"


class Undeclared(AbstractModel):
    """The logistic regression for arrays, and the means of images; concurrent requests are merged."""

    max_batch_size = 64

    def __init__(self) -> None:
        self._infer = tensor_model()

    def do_infer(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Predict."""
        return self._infer(inputs)


class Declared(Undeclared):
    """The same, with everything declared."""

    hyperparameters = Settings
    inputs = (("pixels", "float32", (-1, 64)),)
    outputs = (("label", "int64", (-1,)), ("score", "float32", (-1,)))


class Parts(AbstractModel):
    """Answers in as many parts as the record ``n`` says."""

    def do_stream_predict(self, data_map: dict[str, str], details: bool = False) -> Iterator[dict[str, int]]:  # type: ignore[override]  # noqa: ARG002
        """Predict."""
        yield from parts(int(data_map["n"]))


class Reporting(AbstractModel):
    """A training whose every step computes for about a millisecond and reports; it shows what time its loop took.

    ``updateStreamProperties`` sets what the next training does: ``steps``, ``metrics`` reported at each (0: no report at all),
    and whether it ``computes``.
    """

    def __init__(self) -> None:
        self._steps, self._metrics, self._computes = 1000, 2, True
        self._done = 0
        self._matrix = np.random.default_rng(0).normal(size=(224, 224))

    def do_update_stream_properties(self, props: dict[str, Any]) -> None:
        """Set what the next training does."""
        self._steps, self._metrics, self._computes = int(props["steps"]), int(props["metrics"]), bool(props["computes"])

    def do_train(self) -> None:
        """Train, and show the seconds that the loop took and the steps that were ever made."""
        names = [f"metric_{number}" for number in range(self._metrics)]
        loss = 0.5
        began, cpu = time.perf_counter(), time.process_time()
        for step in range(self._done, self._done + self._steps):
            if self._computes:
                loss = float(np.abs(self._matrix @ self._matrix).mean())
            if names:
                self.report_metrics(dict.fromkeys(names, loss), step=step)
        took = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}
        self._done += self._steps
        self.update_status({**took, "done": self._done})
