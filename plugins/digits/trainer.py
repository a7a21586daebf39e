"""Training by stochastic gradient descent with momentum, in steps; between two steps it can pause or be saved.

Everything that the next step depends on is in :class:`Trainer`: parameters, velocities, random generator, the order of
the images in this epoch and the position in it. So an interruption does not change the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import TrainingDiverged
from .hyperparameters import Hyperparameters
from .images import Floats, Images, Ints
from .network import Gradient, Parameters, gradient, initial_parameters

__all__ = ["EpochResult", "Trainer"]


@dataclass(frozen=True)
class EpochResult:
    """The result of an epoch, measured over its batches while the parameters changed.

    Attributes:
        epoch: its number, from 1.
        loss: mean cross-entropy of an image, in nats.
        accuracy: the fraction of images that were classified correctly.
    """

    epoch: int
    loss: float
    accuracy: float


class Trainer:
    """A training that may stop after any step.

    Attributes:
        parameters: the network; changed in place by every step.
        velocity: the velocities of the momentum, in the shapes of ``parameters``.
        rng: draws the first weights, then the order of every epoch and the dropout of every step.
        epoch: the number of complete epochs, over all trainings of this network.
        run_start: ``epoch`` when the present training began.
        run_stop: ``epoch`` when the present training will be, or was, complete.
        order: the indices of the training images in the order of the current epoch; empty between epochs.
        seen: the number of indices of ``order`` that have been used.
        loss_sum: their cross-entropies, summed.
        correct: the number of them that were classified correctly.
    """

    def __init__(self, parameters: Parameters, velocity: Parameters, rng: np.random.Generator) -> None:
        self.parameters = parameters
        self.velocity = velocity
        self.rng = rng
        self.epoch = 0
        self.run_start = 0
        self.run_stop = 0
        self.order: Ints = np.empty(0, dtype=np.int64)
        self.seen = 0
        self.loss_sum = 0.0
        self.correct = 0

    @classmethod
    def new(cls, settings: Hyperparameters) -> Trainer:
        """Make an untrained network."""
        # PCG64 by name: default_rng may become another generator in a later numpy, and a seed then mean other weights.
        rng = np.random.Generator(np.random.PCG64(settings.seed))
        return cls(initial_parameters(settings.hidden, rng), Parameters.zeros(settings.hidden), rng)

    @property
    def unfinished(self) -> bool:
        """Whether a training was interrupted before its last epoch was complete."""
        return self.epoch < self.run_stop

    def begin(self, epochs: int, *, same_data: bool) -> range:
        """Begin a training of ``epochs`` epochs, or continue the unfinished one.

        Args:
            epochs: for a training that begins now; the unfinished one has its own (see ``extend``).
            same_data: whether the training set is that of the current epoch; with another one, the epoch starts over, since
                its order refers to the old images.

        Returns:
            The number of remaining epochs, including the current one.
        """
        if not same_data:
            self._drop_epoch()
        if not self.unfinished:
            self.run_start, self.run_stop = self.epoch, self.epoch + epochs
        return range(self.epoch, self.run_stop)

    def extend(self, epochs: int) -> None:
        """Let the unfinished training end after ``epochs`` epochs in total, or now if it has had as many."""
        if self.unfinished:
            self.run_stop = max(self.run_start + epochs, self.epoch)

    def open_epoch(self, size: int) -> None:
        """Draw the order of an epoch over ``size`` images, unless there is a current epoch."""
        if not self.order.size:
            self.order = self.rng.permutation(size)

    @property
    def in_epoch(self) -> bool:
        """Whether the current epoch has images left."""
        return self.seen < self.order.size

    def step(self, images: Images, labels: Ints, settings: Hyperparameters) -> None:
        """Train on the next batch of the current epoch.

        Raises:
            TrainingDiverged: the loss of the batch is infinite or undefined.
        """
        batch = self.order[self.seen : self.seen + settings.batch_size]
        # An overflow shows in the loss and is reported in one error instead of many warnings.
        with np.errstate(over="ignore", invalid="ignore"):
            found = gradient(
                self.parameters,
                images.pixels[batch],
                labels[batch],
                l2=settings.l2,
                kept=self._kept(batch.size, settings),
            )
            self._move(found.slope, settings)
        self._count(found, batch.size)
        if not np.isfinite(found.loss_sum):
            raise TrainingDiverged(
                f"The loss became {found.loss_sum} in epoch {self.epoch + 1}: the steps are too large. "
                f"Reset and try a learning_rate below {settings.learning_rate:g}, or less momentum."
            )

    def close_epoch(self) -> EpochResult:
        """Count the epoch as complete, and return its result."""
        self.epoch += 1
        result = EpochResult(self.epoch, self.loss_sum / self.seen, self.correct / self.seen)
        self._drop_epoch()
        return result

    def state(self) -> dict[str, Any]:
        """Return the random generator and the counters, as JSON can express them; the arrays are not among them."""
        counters = ("epoch", "run_start", "run_stop", "seen", "loss_sum", "correct")
        return {"rng": self.rng.bit_generator.state} | {name: getattr(self, name) for name in counters}

    def restore(self, state: dict[str, Any], order: Ints) -> None:
        """Restore the result of ``state``, and its order.

        Raises:
            KeyError, TypeError, ValueError: something is missing or has the wrong type.
        """
        self.rng.bit_generator.state = state["rng"]
        for name in ("epoch", "run_start", "run_stop", "seen", "correct"):
            setattr(self, name, int(state[name]))
        self.loss_sum = float(state["loss_sum"])
        self.order = order
        if not 0 <= self.seen <= order.size or not 0 <= self.run_start <= self.epoch:
            raise ValueError("the counters contradict each other")
        if not np.array_equal(np.sort(order), np.arange(order.size)):
            raise ValueError("the order of the images is not a permutation")

    def _drop_epoch(self) -> None:
        self.order = np.empty(0, dtype=np.int64)
        self.seen = 0
        self.loss_sum = 0.0
        self.correct = 0

    def _kept(self, size: int, settings: Hyperparameters) -> Floats:
        shape = (size, self.parameters.hidden)
        if not settings.dropout:
            return np.ones(shape)
        return (self.rng.random(shape) >= settings.dropout) / (1.0 - settings.dropout)

    def _move(self, slope: Parameters, settings: Hyperparameters) -> None:
        for name in Parameters.names():
            velocity = getattr(self.velocity, name)
            velocity *= settings.momentum
            velocity -= settings.learning_rate * getattr(slope, name)
            value = getattr(self.parameters, name)
            value += velocity

    def _count(self, found: Gradient, size: int) -> None:
        self.seen += size
        self.loss_sum += found.loss_sum
        self.correct += found.correct
