"""A perceptron with one hidden layer: its parameters, what it computes, and the gradient of its loss."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from .images import CLASSES, DARKEST, PIXELS, Floats, Ints

__all__ = ["Gradient", "Parameters", "gradient", "initial_parameters", "probabilities"]


@dataclass(frozen=True, eq=False)
class Parameters:
    """The numbers that training changes, or anything of their shapes (gradients, velocities).

    Attributes:
        hidden_weights: shape (64, hidden).
        hidden_bias: shape (hidden,).
        output_weights: shape (hidden, 10).
        output_bias: shape (10,).
    """

    hidden_weights: Floats
    hidden_bias: Floats
    output_weights: Floats
    output_bias: Floats

    @property
    def hidden(self) -> int:
        """The number of hidden units."""
        return int(self.hidden_bias.size)

    @property
    def count(self) -> int:
        """The number of parameters."""
        return sum(array.size for array in self.arrays())

    def arrays(self) -> tuple[Floats, ...]:
        """Return the arrays in the order of the fields."""
        return tuple(getattr(self, name) for name in self.names())

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of the arrays, in order."""
        return tuple(field.name for field in fields(cls))

    @classmethod
    def shapes(cls, hidden: int) -> tuple[tuple[int, ...], ...]:
        """Return the shapes that the arrays have for ``hidden`` units, in order."""
        return (PIXELS, hidden), (hidden,), (hidden, CLASSES), (CLASSES,)

    @classmethod
    def zeros(cls, hidden: int) -> Parameters:
        """Return zeros in the shapes for ``hidden`` units."""
        return cls(*(np.zeros(shape) for shape in cls.shapes(hidden)))


@dataclass(frozen=True, eq=False)
class Gradient:
    """The gradient of one batch.

    Attributes:
        slope: the derivative of (mean cross-entropy + l2 / 2 * squared weights) by each parameter.
        loss_sum: the cross-entropies, in nats, summed over the batch.
        correct: the number of images of the batch whose label has the highest probability.
    """

    slope: Parameters
    loss_sum: float
    correct: int


def initial_parameters(hidden: int, rng: np.random.Generator) -> Parameters:
    """Draw weights of the scale that keeps a rectifier's variance (He et al., 2015); biases are zero."""
    parameters = Parameters.zeros(hidden)
    parameters.hidden_weights[...] = rng.normal(0.0, np.sqrt(2.0 / PIXELS), (PIXELS, hidden))
    parameters.output_weights[...] = rng.normal(0.0, np.sqrt(2.0 / hidden), (hidden, CLASSES))
    return parameters


def probabilities(parameters: Parameters, pixels: Floats) -> Floats:
    """Return the probability of each digit for each image: shape (n, 64), values 0..16 → shape (n, 10)."""
    units = _hidden_units(parameters, pixels / DARKEST)
    return np.exp(_log_softmax(units @ parameters.output_weights + parameters.output_bias))


def gradient(parameters: Parameters, pixels: Floats, labels: Ints, *, l2: float, kept: Floats) -> Gradient:
    """Compute loss and slope for a batch.

    Args:
        parameters: where to compute them.
        pixels: shape (n, 64), values 0..16.
        labels: shape (n,).
        l2: the factor of the squared weights.
        kept: shape (n, hidden), the factor of each hidden unit: 0 where dropout leaves it out, else 1 / (1 - dropout).
    """
    inputs = pixels / DARKEST
    units = _hidden_units(parameters, inputs)
    active = (units > 0) * kept
    units *= kept
    log_p = _log_softmax(units @ parameters.output_weights + parameters.output_bias)
    rows = np.arange(len(labels))
    loss_sum = -float(log_p[rows, labels].sum())
    correct = int((log_p.argmax(axis=1) == labels).sum())

    at_output = np.exp(log_p)
    at_output[rows, labels] -= 1.0
    at_output /= len(labels)
    at_hidden = (at_output @ parameters.output_weights.T) * active
    slope = Parameters(
        inputs.T @ at_hidden + l2 * parameters.hidden_weights,
        at_hidden.sum(axis=0),
        units.T @ at_output + l2 * parameters.output_weights,
        at_output.sum(axis=0),
    )
    return Gradient(slope, loss_sum, correct)


def _hidden_units(parameters: Parameters, inputs: Floats) -> Floats:
    return np.maximum(inputs @ parameters.hidden_weights + parameters.hidden_bias, 0.0)


def _log_softmax(scores: Floats) -> Floats:
    scores = scores - scores.max(axis=1, keepdims=True)
    normalised: Floats = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return normalised
