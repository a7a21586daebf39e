"""The states of an orchestrator instance."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """The states of an orchestrator instance; the values are those of the wire."""

    UNINITIALIZED = "uninitialized"
    INITIALIZING = "initializing"
    WAITING_FOR_AGENTS = "waiting_for_agents"
    REGISTERING_AGENT = "registering_agent"
    READY = "ready"
    RUNNING = "running"
    COMPLETED_EPISODE = "completed_episode"
    SAVING_EPISODE = "saving_episode"
    STOPPING_EPISODE = "stopping_episode"
    RESETTING = "resetting"
    TERMINATING = "terminating"
    TERMINATED = "terminated"
    FAILED = "failed"
