"""The state machine of a model instance, built from the table by the transitions library.

It holds the state and knows which moves exist; the controller decides when to make one. A move that the table does not have
raises, so a fault of the controller shows at once instead of leading to a state that nobody expected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from transitions import Machine

from mistk_service.kinds.model.states import OPERATIONS, Operation, State

__all__ = ["StateMachine"]


class StateMachine:
    """The state, and the moves between states."""

    state: State
    #: Put there by the library, which gives every model of a machine this method.
    trigger: Callable[[str], bool]

    def __init__(self) -> None:
        self._machine = Machine(
            model=self, states=State, initial=State.STARTED, auto_transitions=False, model_attribute="state"
        )
        for row in OPERATIONS.values():
            self._add_operation(row)
        for activity in ("train", "predict"):
            running = OPERATIONS[activity].running
            assert running is not None
            self._add(f"cannot_pause_{activity}", [State.PAUSING], running)
            self._add(f"cannot_resume_{activity}", [running], State.PAUSED)
        self._add("overtake_pause", [State.PAUSING, State.PAUSED], State.READY)
        self._add("fail", set(State) - {State.FAILED, State.TERMINATING, State.TERMINATED}, State.FAILED)

    def move(self, name: str) -> None:
        """Make a move.

        Raises:
            transitions.MachineError: the present state has no such move.
        """
        self.trigger(name)

    def _add_operation(self, row: Operation) -> None:
        """Add the ways into an operation and out of it: ``begin_NAME`` and ``end_NAME_in_STATE``."""
        self._add(f"begin_{row.name}", row.allowed - {row.running}, row.running or row.then)
        if row.running is None:
            return
        ends = {row.then} if row.then else set()
        if row.name not in {"pause", "reset", "shutdown"}:
            # Back to where it was, for what ends there and for what turns out to be unsupported.
            ends |= row.allowed
        for end in ends:
            self._add(f"end_{row.name}_in_{end}", [row.running], end)

    def _add(self, name: str, sources: Iterable[State], target: State | None) -> None:
        self._machine.add_transition(name, list(sources), target)
