"""The client of an orchestrator, with one typed method for each operation of the contract."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from mistk_service.client.container import AsyncContainerClient, ContainerCalls, ContainerClient
from mistk_service.client.dual import DualMethod
from mistk_service.client.status import ModelStatus
from mistk_service.kinds.orchestrator import ORCHESTRATOR


class OrchestratorCalls(ContainerCalls):
    """The calls of an orchestrator."""

    kind = ORCHESTRATOR

    @DualMethod
    async def initialize(self, env: Mapping[str, Any] | None = None, *, agents_needed: int) -> ModelStatus:
        """Set up a game with settings, for a number of agents."""
        return await self._call("initialize", body={"env": dict(env or {}), "agents_needed": agents_needed})

    @DualMethod
    async def register_agent(self, agent_name: str, agent_url: str, *, skip_train: bool = False) -> ModelStatus:
        """Register an agent, by its name and the address of its container. With ``skip_train``, it does not learn."""
        skip = "true" if skip_train else None
        return await self._call("registerAgent", agentName=agent_name, agentUrl=agent_url, skipTrain=skip)

    @DualMethod
    async def start_episode(self, episode_cfg: Mapping[str, Any] | None = None) -> ModelStatus:
        """Play an episode with settings."""
        return await self._call("startEpisode", body=dict(episode_cfg or {}))

    @DualMethod
    async def stop_episode(self) -> ModelStatus:
        """Finish the episode."""
        return await self._call("stopEpisode")

    @DualMethod
    async def save_episode(self, path: str | os.PathLike[str]) -> ModelStatus:
        """Write the last episode to the folder ``path``, as the container sees it."""
        return await self._call("saveEpisode", path=path)


class OrchestratorClient(OrchestratorCalls, ContainerClient):
    """A client of one orchestrator. :class:`ContainerClient` describes its arguments and errors, and how to wait and watch."""


class AsyncOrchestratorClient(OrchestratorCalls, AsyncContainerClient):
    """A client of one orchestrator for asyncio; :class:`AsyncContainerClient` describes it."""
