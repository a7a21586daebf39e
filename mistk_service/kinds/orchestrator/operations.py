"""The operations of an orchestrator: the states in which each is allowed, and the state that it leads to.

The contract repeats the table in ``x-mistk-states``. A test compares the two. The functions do the container's part: they
store the agents, and notify them when they are registered and when an episode ends.
"""

from __future__ import annotations

import importlib
from contextlib import ExitStack, suppress
from typing import Any

from mistk_service.errors import MistkError, RequestError
from mistk_service.kinds.kind import RunSettings, reset_and_shutdown, row, table
from mistk_service.kinds.orchestrator.base import AbstractOrchestrator
from mistk_service.kinds.orchestrator.states import State

_RESET, _SHUTDOWN = reset_and_shutdown(State, State.UNINITIALIZED)


def _settings(arguments: tuple[Any, ...]) -> RunSettings:
    env, agents_needed = arguments
    return RunSettings({"agents_needed": agents_needed}, properties=env)


def _initialize(orchestrator: AbstractOrchestrator, env: dict[str, Any], agents_needed: int) -> None:
    orchestrator._agents, orchestrator._skip_train = {}, {}
    orchestrator._agents_needed = agents_needed
    orchestrator.obs, orchestrator.actions, orchestrator.rewards = {}, {}, {}
    orchestrator.do_initialize(env=env, agents_needed=agents_needed)


def _register(orchestrator: AbstractOrchestrator, name: str, url: str, skip_train: bool) -> State | None:
    """Register an agent, and return READY if all agents are registered."""
    if name in orchestrator._agents:
        raise RequestError(
            f"agentName: an agent {name!r} is registered already; expected another name.", field="agentName"
        )
    module, _, client_class = orchestrator._mistk_agent_class.partition(":")
    try:
        agent = getattr(importlib.import_module(module), client_class)(name, url)
        agent.agent_registered({"name": name})
    except MistkError as error:
        raise RequestError(f"agentUrl: {error}", field="agentUrl") from error
    orchestrator._agents[name], orchestrator._skip_train[name] = agent, bool(skip_train)
    orchestrator.rewards[name] = []
    orchestrator.do_register_agent(agent_name=name, agent_url=agent)
    return State.READY if len(orchestrator._agents) >= orchestrator._agents_needed else None


def _start_episode(orchestrator: AbstractOrchestrator, episode_cfg: dict[str, Any]) -> None:
    try:
        orchestrator.do_start_episode(episode_cfg=episode_cfg)
    except BaseException:  # also where a reset ends the episode
        # Otherwise the agents would wait for the rest of this episode, and refuse to be registered again.
        for agent in orchestrator._agents.values():
            with suppress(MistkError):
                agent.episode_stopped()
        raise


def _stop_episode(orchestrator: AbstractOrchestrator) -> None:
    orchestrator.do_stop_episode()
    with ExitStack() as stack:  # after an error, the episodes of the other agents end too
        for agent in orchestrator._agents.values():
            stack.callback(agent.episode_stopped)


def _save_episode(orchestrator: AbstractOrchestrator, path: str) -> None:
    orchestrator.do_save_episode(path=path)


OPERATIONS = table(
    row("initialize", "do_initialize", {State.UNINITIALIZED}, State.INITIALIZING, State.WAITING_FOR_AGENTS,
        has_default=True, call=_initialize, configures_run=_settings),
    row("registerAgent", "do_register_agent", {State.WAITING_FOR_AGENTS}, State.REGISTERING_AGENT,
        State.WAITING_FOR_AGENTS, alternatives=frozenset({State.READY}), has_default=True, call=_register),
    row("startEpisode", "do_start_episode", {State.READY}, State.RUNNING, State.COMPLETED_EPISODE, call=_start_episode,
        is_work=True),
    row("stopEpisode", "do_stop_episode", {State.COMPLETED_EPISODE}, State.STOPPING_EPISODE, State.READY,
        has_default=True, call=_stop_episode),
    row("saveEpisode", "do_save_episode", {State.COMPLETED_EPISODE}, State.SAVING_EPISODE, None, call=_save_episode,
        may_decline=True, saves="episode"),
    _RESET,
    _SHUTDOWN,
)  # fmt: skip
