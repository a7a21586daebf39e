"""A kind of container with two operations, defined like the real ones."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from mistk_service.kinds.component import Component
from mistk_service.kinds.kind import Kind, Operation, Role

__all__ = ["TOY", "AbstractToy"]


class State(StrEnum):
    IDLE = "idle"
    GREETING = "greeting"
    FORGETTING = "forgetting"
    RESETTING = "resetting"
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    FAILED = "failed"


class AbstractToy(Component):
    """Greets, and forgets whom it has greeted."""

    _mistk_kind = "tests.kinds.toy:TOY"

    def do_greet(self, name: str) -> None:
        raise NotImplementedError

    def do_forget(self) -> None:
        raise NotImplementedError

    def do_reset(self) -> None:
        pass

    def do_terminate(self) -> None:
        pass


_NOT_ENDING = frozenset(State) - {State.TERMINATING, State.TERMINATED}
_ROWS = (
    Operation("greet", "do_greet", frozenset({State.IDLE}), State.GREETING, State.IDLE, is_work=True),
    Operation("forget", "do_forget", frozenset({State.IDLE}), State.FORGETTING, State.IDLE),
    Operation("reset", "do_reset", _NOT_ENDING, State.RESETTING, State.IDLE, role=Role.RESET, has_default=True),
    Operation(
        "shutdown",
        "do_terminate",
        _NOT_ENDING | {State.TERMINATING},
        State.TERMINATING,
        State.TERMINATED,
        role=Role.SHUTDOWN,
        has_default=True,
    ),
)

TOY = Kind(
    name="toy",
    base=AbstractToy,
    contract=str(Path(__file__).with_name("toy-api.yaml")),
    base_path="/v1/toy",
    states=State,
    initial=State.IDLE,
    ready=State.IDLE,
    operations={row.name: row for row in _ROWS},
)
