"""What the tests of all plugins need: the plugins importable, and a container's part in an interruption."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from mistk_service import AbstractModel, DetachedContext, StopActivity

# A container imports plugins/digits/model.py as digits.model; so do the tests, by whatever way pytest imports them.
sys.path.insert(0, str(Path(__file__).parent))


# How long an example takes tells how busy the machine is.
settings.register_profile("any machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


class InterruptingContext(DetachedContext):
    """A context in which the activity is paused at one of its pause points, and there something is done with the model.

    Attributes:
        passed: how many pause points have been reached.
    """

    def __init__(self, at: int | None, act: Callable[[], None], *, stop: bool) -> None:
        super().__init__()
        self.passed = 0
        self._at = at
        self._act = act
        self._stop = stop

    def pause_point(self) -> None:
        """Do what is to be done at the pause point chosen, and end the activity there if that is wanted."""
        self.passed += 1
        if self.passed - 1 == self._at:
            self._act()
            if self._stop:
                raise StopActivity


def _interrupt(
    model: AbstractModel, at: int | None, act: Callable[[], None] = lambda: None, *, stop: bool = True
) -> InterruptingContext:
    """Have ``model`` interrupted at the pause point ``at`` (from 0; None for never), as a container would."""
    context = InterruptingContext(at, act, stop=stop)
    model.attach(context)
    return context


@pytest.fixture(name="interrupt")
def _interrupt_fixture() -> Callable[..., InterruptingContext]:
    return _interrupt
