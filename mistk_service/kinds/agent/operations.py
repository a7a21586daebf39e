"""The operations of an agent: the states in which each is allowed, and the state that it leads to.

The contract repeats the table in ``x-mistk-states``. A test compares the two.
"""

from __future__ import annotations

from typing import Any

from mistk_service.kinds.agent.base import AbstractAgent
from mistk_service.kinds.agent.states import State
from mistk_service.kinds.kind import Role, RunSettings, reset_and_shutdown, row, table

_RESET, _SHUTDOWN = reset_and_shutdown(State, State.STARTED)


def _settings(arguments: tuple[Any, ...]) -> RunSettings:
    properties, hyperparameters = arguments
    return RunSettings(hyperparameters, properties=properties)


def _initialize(agent: AbstractAgent, props: dict[str, Any], hparams: Any) -> None:
    agent.agent_name = str(props.get("name") or agent.agent_name)
    agent.do_initialize(props, hparams)


def _register(agent: AbstractAgent, agent_cfg: dict[str, Any]) -> None:
    agent.agent_name = agent_cfg["name"]
    agent.do_agent_registered(agent_cfg)


def _replay(agent: AbstractAgent, obs: dict[str, Any]) -> None:
    agent.do_replay_action(obs=obs)  # MISTK gives this argument by name


def _unregister(agent: AbstractAgent) -> None:
    agent.do_reset(False)


OPERATIONS = table(
    row("initialize", "do_initialize", {State.STARTED}, State.INITIALIZING, State.INITIALIZED, has_default=True,
        call=_initialize, configures_run=_settings, takes_hyperparameters=True),
    row("buildModel", "do_build_model", {State.INITIALIZED}, State.BUILDING_MODEL, State.INITIALIZED, has_default=True),
    row("saveModel", "do_save_model", {State.INITIALIZED, State.READY}, State.SAVING_MODEL_INIT, None,
        running_from={State.READY: State.SAVING_MODEL_READY}, may_decline=True, saves="model"),
    row("agentRegistered", "do_agent_registered", {State.INITIALIZED, State.READY}, State.AGENT_REGISTERING, State.READY,
        has_default=True, call=_register),
    row("episodeStarted", "do_episode_started", {State.READY}, State.EPISODE_STARTING, State.IN_EPISODE,
        has_default=True, is_work=True),
    # An action that is requested while the agent still learns from the last one waits in the worker's queue.
    row("getAction", "do_get_action", {State.IN_EPISODE, State.REPLAYING_ACTION}, State.GETTING_ACTION, State.IN_EPISODE,
        role=Role.PREDICTION),
    row("replayAction", "do_replay_action", {State.IN_EPISODE}, State.REPLAYING_ACTION, State.IN_EPISODE,
        has_default=True, call=_replay, affects_predictions=True, is_step=True),
    row("episodeStopped", "do_episode_stopped", {State.IN_EPISODE}, State.EPISODE_STOPPING, State.READY,
        has_default=True),
    _RESET,
    row("unregister", "do_reset", {State.INITIALIZED, State.READY, State.IN_EPISODE}, State.RESETTING, State.INITIALIZED,
        has_default=True, call=_unregister),
    _SHUTDOWN,
)  # fmt: skip
