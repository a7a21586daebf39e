"""The models that every server of a benchmark serves, with the same weights and the same answers. Only numpy."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["MODELS", "Predictor", "parts", "sizes", "tensor_model", "train_step"]

Predictor = Callable[[Mapping[str, str]], dict[str, Any]]

_INPUTS, _HIDDEN, _CLASSES = 64, 2048, 10


def _logistic() -> Predictor:
    """Logistic regression, 64 to 10: so cheap that the server's own work dominates."""
    return _classifier(_weights([_INPUTS, _CLASSES]))


def _mlp() -> Predictor:
    """A perceptron, 64-2048-2048-10: so heavy that a batch is much cheaper than its records one by one."""
    return _classifier(_weights([_INPUTS, _HIDDEN, _HIDDEN, _CLASSES]))


def tensor_model() -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """The same logistic regression for arrays, and the means of images."""
    (weights,) = _weights([_INPUTS, _CLASSES])

    def infer(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if "images" in inputs:
            return {"means": inputs["images"].reshape(len(inputs["images"]), -1).mean(axis=1)}
        scores = inputs["pixels"] @ weights
        return {"label": scores.argmax(axis=1), "score": scores.max(axis=1)}

    return infer


def parts(count: int) -> Iterator[dict[str, int]]:
    """Yield parts of an answer, as a model yields tokens."""
    for number in range(count):
        yield {"part": number}


def _heavy() -> Predictor:
    """A perceptron with the same layer of 2048 fifty times: so heavy that the server's own work hardly counts."""
    first, hidden, last = _weights([_INPUTS, _HIDDEN, _HIDDEN, _CLASSES])
    return _classifier([first, *[hidden] * 50, last])


def sizes() -> Predictor:
    """Decode the records and return their sizes in bytes, which mostly measures the transfer to the model."""
    return lambda data: {key: len(base64.b64decode(record)) for key, record in data.items()}


def _weights(layers: Sequence[int]) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.normal(0, a**-0.5, (a, b)).astype(np.float32) for a, b in itertools.pairwise(layers)]


def _classifier(weights: Sequence[np.ndarray]) -> Predictor:
    def predict(data: Mapping[str, str]) -> dict[str, Any]:
        records = b"".join([base64.b64decode(record) for record in data.values()])
        values = np.frombuffer(records, np.float32).reshape(len(data), _INPUTS)
        for layer in weights[:-1]:
            values = np.maximum(values @ layer, 0)
        scores = values @ weights[-1]
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        best = scores.argmax(axis=1)
        confidence = scores.max(axis=1) / scores.sum(axis=1)
        pairs = zip(data, best.tolist(), confidence.tolist(), strict=True)
        return {key: {"label": str(label), "confidence": value} for key, label, value in pairs}

    return predict


def train_step() -> float:
    """Compute a little, as a step of a small training does, and return a loss."""
    random = np.random.default_rng(0)
    values = random.normal(size=(64, 64)).astype(np.float32)
    return float((values @ values.T).mean() ** 2)


MODELS: dict[str, Callable[[], Predictor]] = {"logistic": _logistic, "mlp": _mlp, "heavy": _heavy, "sizes": sizes}
