"""Calls an agent for the hooks of an orchestrator. The orchestrator's worker loads this when an agent is registered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from mistk_service.client.agent import AgentClient
from mistk_service.client.responses import shown
from mistk_service.client.status import ModelStatus
from mistk_service.errors import AgentFailed, MistkError, RequestRefused
from mistk_service.kinds.agent.states import State

#: The states in which an agent waits for a call.
_SETTLED = frozenset({State.INITIALIZED, State.READY, State.IN_EPISODE})


class Player:
    """Calls return when the agent is done, and raise :class:`~mistk_service.AgentFailed`, which names the agent.

    Args:
        name: the name of the agent.
        url: the address of its container; it may have credentials.

    Attributes:
        client: the client of the container.
    """

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        with self._named():
            self.client = AgentClient(url)
        self._url = shown(url)

    def agent_registered(self, agent_cfg: Mapping[str, Any]) -> ModelStatus:
        """Tell the agent its ``name`` in the game, and its ``url`` without credentials."""
        return self._completed(lambda: self.client.agent_registered({"url": self._url, **agent_cfg}))

    def episode_started(self, episode_cfg: Mapping[str, Any]) -> ModelStatus:
        """Begin an episode, with the first observations by agent under ``obs``."""
        return self._completed(lambda: self.client.episode_started(episode_cfg))

    def get_action(self, obs: Mapping[str, Any]) -> dict[str, list[float]]:
        """Return the agent's action for observations, both by agent. The answer has at least this agent's."""
        with self._named():
            actions = self.client.get_action(obs)
            if self.name not in actions:
                raise self._failed(f"answered getAction without its own action: {actions!r:.200}")
            return actions

    def replay_action(self, obs: Mapping[str, Any]) -> ModelStatus:
        """Let the agent learn from a step.

        It may continue learning afterwards; its next action waits until it has learned.
        """
        with self._named():
            try:
                return self.client.replay_action(obs)
            except RequestRefused as error:
                if error.state != State.REPLAYING_ACTION:
                    raise
            self.client.wait_for(State.IN_EPISODE)  # it still learned from the step before
            return self.client.replay_action(obs)

    def episode_stopped(self) -> ModelStatus:
        """End the episode, if the agent is in one."""
        with self._named():
            status = self.client.status()
            if status.state == State.READY:
                return status
            if status.state in (State.GETTING_ACTION, State.REPLAYING_ACTION):
                self.client.wait_for(State.IN_EPISODE)
            return self._completed(self.client.episode_stopped)

    def _completed(self, call: Callable[[], ModelStatus]) -> ModelStatus:
        """Call an operation and wait until it has completed."""
        with self._named():
            status = self.client.wait_for(_SETTLED, since=call())
            ended = status.last_activity
            if ended is None or ended.outcome != "completed":
                raise self._failed(status.notice or f"is {status.state} and did not complete the call")
            return status

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except AgentFailed:
            raise
        except MistkError as error:
            raise self._failed(f"failed: {error}") from error

    def _failed(self, how: str) -> AgentFailed:
        return AgentFailed(f"The agent {self.name!r} {how}", agent=self.name)
