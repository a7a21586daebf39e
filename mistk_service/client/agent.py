"""The client of an agent, with one typed method for each operation of the contract."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from mistk_service.client.container import AsyncContainerClient, ContainerCalls, ContainerClient
from mistk_service.client.dual import DualMethod
from mistk_service.client.responses import decoded
from mistk_service.client.status import ModelStatus
from mistk_service.kinds.agent import AGENT

#: The type of actions by agent. Whole numbers stay integers.
_ACTIONS: Any = dict[str, list[int | float]]


class AgentCalls(ContainerCalls):
    """The calls of an agent."""

    kind = AGENT

    @DualMethod
    async def initialize(
        self, model_properties: Mapping[str, Any] | None = None, hyperparameters: Mapping[str, Any] | None = None
    ) -> ModelStatus:
        """Initialize the agent with settings and hyperparameters."""
        body = {"modelProperties": dict(model_properties or {}), "hyperparameters": dict(hyperparameters or {})}
        return await self._call("initialize", body=body)

    @DualMethod
    async def build_model(self, model_path: str | os.PathLike[str] | None = None) -> ModelStatus:
        """Build the agent's model, or load it from the folder ``model_path`` that :meth:`save_model` wrote."""
        return await self._call("buildModel", modelPath=model_path)

    @DualMethod
    async def save_model(self, path: str | os.PathLike[str]) -> ModelStatus:
        """Write the agent's model to the folder ``path``, as the container sees it."""
        return await self._call("saveModel", modelPath=path)

    @DualMethod
    async def agent_registered(self, agent_cfg: Mapping[str, Any]) -> ModelStatus:
        """Tell the agent its ``name`` in the game."""
        return await self._call("agentRegistered", body=dict(agent_cfg))

    @DualMethod
    async def episode_started(self, episode_cfg: Mapping[str, Any]) -> ModelStatus:
        """Begin an episode, with the first observations by agent under ``obs``."""
        return await self._call("episodeStarted", body=dict(episode_cfg))

    @DualMethod
    async def get_action(self, obs: Mapping[str, Any]) -> dict[str, list[float]]:
        """Return the agent's action for observations, both by agent."""
        response = await self._send("POST", self._path("getAction"), body=dict(obs))
        actions: dict[str, list[float]] = decoded(response, lambda value: msgspec.convert(value, _ACTIONS))
        return actions

    @DualMethod
    async def replay_action(self, obs: Mapping[str, Any]) -> ModelStatus:
        """Let the agent learn from a step: ``prev_obs``, ``actions``, ``rewards``, ``new_obs`` and ``done``."""
        return await self._call("replayAction", body=dict(obs))

    @DualMethod
    async def episode_stopped(self) -> ModelStatus:
        """End the episode."""
        return await self._call("episodeStopped")

    @DualMethod
    async def unregister(self) -> ModelStatus:
        """Leave the game and keep the model; the agent can be registered again."""
        return await self._call("unregister")


class AgentClient(AgentCalls, ContainerClient):
    """A client of one agent. :class:`ContainerClient` describes its arguments and errors, and how to wait and watch."""


class AsyncAgentClient(AgentCalls, AsyncContainerClient):
    """A client of one agent for asyncio; :class:`AsyncContainerClient` describes it."""
