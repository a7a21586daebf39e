"""The states of a model instance."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """The states of a model instance; the values are those of the wire."""

    STARTED = "started"
    INITIALIZING = "initializing"
    INITIALIZED = "initialized"
    LOADING_DATA = "loading_data"
    BUILDING_MODEL = "building_model"
    BUILDING_ENSEMBLE = "building_ensemble"
    READY = "ready"
    TRAINING = "training"
    PREDICTING = "predicting"
    GENERATING = "generating"
    MINIATURIZING = "miniaturizing"
    EVALUATING = "evaluating"
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
