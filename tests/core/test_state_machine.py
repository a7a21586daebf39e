"""The state machine has the transitions of the table, and no others."""

from __future__ import annotations

import pytest
from transitions import MachineError

from mistk_service.core.state_machine import StateMachine
from mistk_service.kinds.model import MODEL
from mistk_service.kinds.model.operations import OPERATIONS
from mistk_service.kinds.model.states import State

#: The table of the design, written down a second time: operation -> (allowed in, while it runs, then; None is "back").
READY_ONLY = {
    "train": "training",
    "predict": "predicting",
    "updateStreamProperties": "updating_properties",
    "streamPredict/source": "predicting",
    "generate": "generating",
    "evaluate": "evaluating",
    "miniaturize": "miniaturizing",
    "savePredictions": "saving_predictions",
    "saveGenerations": "saving_generations",
}
TABLE: dict[str, tuple[set[str], str | None, str | None]] = {
    "initialize": ({"started"}, "initializing", "initialized"),
    "loadData": ({"initialized", "ready"}, "loading_data", None),
    "buildModel": ({"initialized", "ready"}, "building_model", "ready"),
    "buildEnsemble": ({"initialized"}, "building_ensemble", "ready"),
    "streamPredict/source/cancel": ({"predicting"}, None, "ready"),
    **{name: ({"ready"}, running, "ready") for name, running in READY_ONLY.items()},
    "streamPredict": ({"ready", "updating_properties"}, "predicting", "ready"),
    "saveModel": ({"ready", "paused"}, "saving_model", None),
    "pause": ({"training", "predicting"}, "pausing", "paused"),
    "resumeTraining": ({"paused"}, None, "training"),
    "resumePredict": ({"paused"}, None, "predicting"),
    "reset": ({state.value for state in State} - {"terminating", "terminated"}, "resetting", "started"),
    "shutdown": ({state.value for state in State} - {"terminated"}, "terminating", "terminated"),
}


#: What the tests share: to make one takes longer than a test, and its state is all that it keeps.
MACHINE = StateMachine(MODEL, lambda _: None)


def machine_in(state: str) -> StateMachine:
    """Return a machine that is in a state."""
    MACHINE.state = str(state)
    return MACHINE


def test_the_table_is_the_designs():
    assert {row.name: (set(row.allowed), row.running, row.then) for row in OPERATIONS.values()} == TABLE


def test_a_machine_begins_in_started():
    assert StateMachine(MODEL, lambda _: None).state == State.STARTED


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_begins_where_the_table_allows_it_and_nowhere_else(operation: str):
    row = OPERATIONS[operation]
    # A reset or shutdown that is under way is no move.
    allowed = row.allowed - {row.running}
    for state in allowed:
        machine = machine_in(state)
        machine.move(f"begin_{operation}")
        assert machine.state == (row.running or row.then), f"from {state}"
    for state in set(State) - allowed:
        machine = machine_in(state)
        with pytest.raises(MachineError):
            machine.move(f"begin_{operation}")
        assert machine.state == state


@pytest.mark.parametrize("operation", [row.name for row in OPERATIONS.values() if row.running])
def test_an_operation_ends_where_the_table_says(operation: str):
    row = OPERATIONS[operation]
    assert row.running is not None
    ends = {row.then} if row.then else set(row.allowed)
    for end in ends:
        machine = machine_in(row.running)
        machine.move(f"end_{operation}_in_{end}")
        assert machine.state == end


@pytest.mark.parametrize("state", State)
def test_every_state_but_the_last_ones_can_fail(state: State):
    machine = machine_in(state)
    if state in (State.FAILED, State.TERMINATING, State.TERMINATED):
        with pytest.raises(MachineError):
            machine.move("fail")
    else:
        machine.move("fail")
        assert machine.state == State.FAILED


@pytest.mark.parametrize(("activity", "state"), [("train", State.TRAINING), ("predict", State.PREDICTING)])
def test_a_pause_or_resume_that_does_not_work_leads_back(activity: str, state: State):
    machine = machine_in(State.PAUSING)
    machine.move(f"cannot_pause_{activity}")
    assert machine.state == state
    machine.move(f"cannot_resume_{activity}")
    assert machine.state == State.PAUSED


@pytest.mark.parametrize("state", [State.PAUSING, State.PAUSED])
def test_a_pause_that_is_overtaken_leads_to_ready(state: State):
    machine = machine_in(state)
    machine.move("overtake_pause_train")
    assert machine.state == State.READY


def test_from_terminated_nothing_leads_away():
    moves = {"fail"}
    for name in OPERATIONS:
        moves |= {f"{verb}_{name}" for verb in ("begin", "cannot_pause", "cannot_resume", "overtake_pause")}
        moves |= {f"end_{name}_in_{state}" for state in State}
    for move in moves:
        machine = machine_in(State.TERMINATED)
        # A machine has an error of its own for a move that exists nowhere.
        with pytest.raises((MachineError, AttributeError)):
            machine.move(move)
        assert machine.state == State.TERMINATED
    assert not any(State.TERMINATED in row.allowed for row in OPERATIONS.values())


def test_a_move_that_does_not_exist_is_an_error():
    with pytest.raises(AttributeError):
        StateMachine(MODEL, lambda _: None).move("fly")
