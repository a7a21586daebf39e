"""The state machine of an instance, built from the operations of its kind with the transitions library.

It holds the state and knows the valid transitions; the instance decides when to make one. An invalid transition raises, so
that a bug in the instance shows at once and does not lead to an unexpected state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from transitions import Machine

from mistk_service.kinds.kind import FAILED, PAUSED, PAUSING, TERMINATED, TERMINATING, Kind, Operation, Role


class StateMachine:
    """The state and the transitions between states.

    Args:
        kind: the kind whose operations define the transitions.
        on_move: called with the new state after every transition.
    """

    state: str
    #: Set by the library, which adds this method to every model of a machine.
    trigger: Callable[[str], bool]

    def __init__(self, kind: Kind, on_move: Callable[[str], None]) -> None:
        self._on_move = on_move
        states = [str(state) for state in kind.states]
        self._machine = Machine(
            model=self, states=states, initial=str(kind.initial), auto_transitions=False, model_attribute="state"
        )
        for row in kind.operations.values():
            self._add_operation(row)
        for resume in kind.of_role(Role.RESUME):
            paused = kind.operations[resume.resumes or ""]
            self._add(f"cannot_pause_{paused.name}", [PAUSING], paused.running)
            self._add(f"cannot_resume_{paused.name}", [paused.running or ""], PAUSED)
            self._add(f"overtake_pause_{paused.name}", [PAUSING, PAUSED], paused.then or kind.ready)
        self._add("fail", set(states) - {FAILED, TERMINATING, TERMINATED}, FAILED)

    def move(self, name: str) -> None:
        """Make a transition.

        Raises:
            transitions.MachineError: the current state does not have this transition.
        """
        self.trigger(name)
        self._on_move(self.state)

    def _add_operation(self, row: Operation) -> None:
        """Add the transitions into and out of an operation: ``begin_NAME`` and ``end_NAME_in_STATE``."""
        for origin in row.allowed - {row.running}:
            self._add(f"begin_{row.name}", [origin], row.running_in(origin) or row.then)
        if row.running is None:
            return
        ends = {*row.alternatives, row.then} if row.then else set(row.alternatives)
        if row.role in (Role.ACTIVITY, Role.PREDICTION):
            # Back to the previous state, for operations that return to it and for those that were refused.
            ends |= row.allowed
        for end in ends:
            self._add(f"end_{row.name}_in_{end}", row.running_states, end)

    def _add(self, name: str, sources: Iterable[str], target: str | None) -> None:
        self._machine.add_transition(name, [str(source) for source in sources], None if target is None else str(target))
