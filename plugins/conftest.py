"""Fixtures for the tests of all plugins: the plugins are importable, and activities can be interrupted."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

from mistk_service import AbstractModel, DetachedContext, StopActivity

# A container imports plugins/digits/model.py as digits.model, and so do the tests.
sys.path.insert(0, str(Path(__file__).parent))

# The folders above a test are its packages for pytest, which would import each plugin, under a second name, in every process
# that collects tests. Some of them load scikit-learn, which takes seconds.
for _plugin in Path(__file__).parent.glob("*/__init__.py"):
    _package = ModuleType(f"plugins.{_plugin.parent.name}")
    _package.__path__ = [str(_plugin.parent)]
    sys.modules[_package.__name__] = _package


# The duration of an example depends on the load of the machine.
settings.register_profile("any machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


class InterruptingContext(DetachedContext):
    """A context that pauses the activity at one of its pause points, and calls a function there.

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
        """Call the function at the chosen pause point, and end the activity there on request."""
        self.passed += 1
        if self.passed - 1 == self._at:
            self._act()
            if self._stop:
                raise StopActivity


def _interrupt(
    model: AbstractModel, at: int | None, act: Callable[[], None] = lambda: None, *, stop: bool = True
) -> InterruptingContext:
    """Interrupt ``model`` at the pause point ``at`` (from 0; None for never), as a container would."""
    context = InterruptingContext(at, act, stop=stop)
    model.attach(context)
    return context


@pytest.fixture(name="interrupt")
def _interrupt_fixture() -> Callable[..., InterruptingContext]:
    return _interrupt
