"""Agents that let a game down, each in its own way."""

from __future__ import annotations

import os
from typing import Any

from mistk_service import AbstractAgent


class Raises(AbstractAgent):
    def do_get_action(self, obs: dict[str, list[float]]) -> dict[str, Any]:
        raise ValueError("no idea")


class Malformed(AbstractAgent):
    def do_get_action(self, obs: dict[str, list[float]]) -> dict[str, Any]:
        return {self.agent_name: "left"}


class Nameless(AbstractAgent):
    def do_get_action(self, obs: dict[str, list[float]]) -> dict[str, Any]:
        return {"somebody": [1]}


class Illegal(AbstractAgent):
    def do_agent_registered(self, agent_cfg: dict[str, Any]) -> None:
        self.update_status({"registered": agent_cfg, "environment": dict(os.environ)})

    def do_get_action(self, obs: dict[str, list[float]]) -> dict[str, Any]:
        return {self.agent_name: [17]}


class FailsToLearn(AbstractAgent):
    def do_get_action(self, obs: dict[str, list[float]]) -> dict[str, Any]:
        return {self.agent_name: [next(cell for cell, value in enumerate(obs[self.agent_name]) if not value)]}

    def do_replay_action(self, obs: dict[str, Any]) -> None:
        raise ValueError("learned nothing")


class Chosen(AbstractAgent):
    """Behaves as the class that the hyperparameter ``player`` names."""

    def do_initialize(self, props: dict[str, Any], hparams: dict[str, Any]) -> None:
        self.player: Any = globals()[hparams["player"]]

    def do_get_action(self, obs: dict[str, list[float]]) -> dict[str, Any]:
        return self.player.do_get_action(self, obs)

    def do_replay_action(self, obs: dict[str, Any]) -> None:
        self.player.do_replay_action(self, obs)
