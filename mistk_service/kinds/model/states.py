"""The state table: which operation is allowed where, and where it leads. Data, and nothing that acts on it.

The controller builds its machine from it, the documentation and the tests read it, and the contract repeats it in
``x-mistk-states`` (a test compares the two).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["OPERATIONS", "Operation", "State"]


class State(StrEnum):
    """The states of a model instance; the values are those of the wire."""

    STARTED = "started"
    INITIALIZING = "initializing"
    INITIALIZED = "initialized"
    LOADING_DATA = "loading_data"
    BUILDING_MODEL = "building_model"
    READY = "ready"
    TRAINING = "training"
    PREDICTING = "predicting"
    GENERATING = "generating"
    UPDATING_PROPERTIES = "updating_properties"
    SAVING_MODEL = "saving_model"
    SAVING_PREDICTIONS = "saving_predictions"
    SAVING_GENERATIONS = "saving_generations"
    PAUSING = "pausing"
    PAUSED = "paused"
    RESETTING = "resetting"
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    FAILED = "failed"


@dataclass(frozen=True)
class Operation:
    """One row of the table.

    Attributes:
        name: the last part of its path, which is how errors and clients call it (``loadData``).
        hook: the method of the model that does the work.
        allowed: the states in which it is accepted.
        running: the state while it runs; None for an operation that takes effect at once.
        then: the state after it; None means back to where it was.
    """

    name: str
    hook: str
    allowed: frozenset[State]
    running: State | None
    then: State | None


_S = State


def _row(name: str, hook: str, allowed: set[State], running: State | None, then: State | None) -> Operation:
    return Operation(name, hook, frozenset(allowed), running, then)


_NOT_TERMINATING = set(State) - {_S.TERMINATING, _S.TERMINATED}

OPERATIONS: dict[str, Operation] = {
    row.name: row
    for row in (
        _row("initialize", "do_initialize", {_S.STARTED}, _S.INITIALIZING, _S.INITIALIZED),
        _row("loadData", "do_load_data", {_S.INITIALIZED, _S.READY}, _S.LOADING_DATA, None),
        _row("buildModel", "do_build_model", {_S.INITIALIZED, _S.READY}, _S.BUILDING_MODEL, _S.READY),
        _row("train", "do_train", {_S.READY}, _S.TRAINING, _S.READY),
        _row("predict", "do_predict", {_S.READY}, _S.PREDICTING, _S.READY),
        # Further stream predictions are also accepted while others are in flight; the controller counts them. Those that come
        # during updateStreamProperties wait for it in the worker's queue.
        _row("streamPredict", "do_stream_predict", {_S.READY, _S.UPDATING_PROPERTIES}, _S.PREDICTING, _S.READY),
        _row("updateStreamProperties", "do_update_stream_properties", {_S.READY}, _S.UPDATING_PROPERTIES, _S.READY),
        _row("generate", "do_generate", {_S.READY}, _S.GENERATING, _S.READY),
        _row("saveModel", "do_save_model", {_S.READY, _S.PAUSED}, _S.SAVING_MODEL, None),
        _row("savePredictions", "do_save_predictions", {_S.READY}, _S.SAVING_PREDICTIONS, _S.READY),
        _row("saveGenerations", "do_save_generations", {_S.READY}, _S.SAVING_GENERATIONS, _S.READY),
        # The activity that is paused goes on existing; which of the two resumes is possible depends on it.
        _row("pause", "do_pause", {_S.TRAINING, _S.PREDICTING}, _S.PAUSING, _S.PAUSED),
        _row("resumeTraining", "do_resume_training", {_S.PAUSED}, None, _S.TRAINING),
        _row("resumePredict", "do_resume_predict", {_S.PAUSED}, None, _S.PREDICTING),
        _row("reset", "do_reset", _NOT_TERMINATING, _S.RESETTING, _S.STARTED),
        _row("shutdown", "do_terminate", _NOT_TERMINATING | {_S.TERMINATING}, _S.TERMINATING, _S.TERMINATED),
    )
}
