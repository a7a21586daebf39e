"""The states of an agent instance."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """The states of an agent instance; the values are those of the wire."""

    STARTED = "started"
    INITIALIZING = "initializing"
    INITIALIZED = "initialized"
    BUILDING_MODEL = "building_model"
    SAVING_MODEL_INIT = "saving_model_init"
    AGENT_REGISTERING = "agent_registering"
    READY = "ready"
    SAVING_MODEL_READY = "saving_model_ready"
    EPISODE_STARTING = "episode_starting"
    IN_EPISODE = "in_episode"
    GETTING_ACTION = "getting_action"
    REPLAYING_ACTION = "replaying_action"
    EPISODE_STOPPING = "episode_stopping"
    RESETTING = "resetting"
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    FAILED = "failed"
