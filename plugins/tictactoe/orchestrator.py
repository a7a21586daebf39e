"""The orchestrator of tic-tac-toe: an episode is a number of games between two agents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mistk_service import AbstractOrchestrator, RequestError

from .game import Game

_MOST_GAMES = 100_000


class TicTacToe(AbstractOrchestrator):
    """Plays tic-tac-toe between two agents. See the README of this folder."""

    def do_initialize(self, env: dict[str, Any], agents_needed: int) -> None:  # noqa: ARG002 - the game has no settings
        """Refuse any number of players but two."""
        if agents_needed != 2:
            raise RequestError(f"agents_needed: {agents_needed}; expected 2.", field="agents_needed")
        self.env_obj = Game()
        self._episode = 0

    def do_start_episode(self, episode_cfg: dict[str, Any]) -> None:
        """Play the games of an episode, and report its results."""
        games = _games(episode_cfg)
        game: Game = self.env_obj
        game.engine_create(list(self._agents), {})
        self.rewards = {name: [] for name in self._agents}
        self._played: list[dict[str, Any]] = []
        for name, agent in self._agents.items():
            agent.episode_started({"obs": game.reset(), "train": not self._skip_train[name]})
        for _ in self.steps(range(games), "games"):
            self._played.append(self._play(game))
        self._episode += 1
        self.report_metrics(self._results(), step=self._episode)

    def do_save_episode(self, path: str) -> None:
        """Write the games of the last episode, with all moves, to ``episode.json``."""
        (Path(path) / "episode.json").write_text(json.dumps({"games": self._played}), encoding="utf-8")

    def _play(self, game: Game) -> dict[str, Any]:
        """Play a game and return its moves and its winner."""
        self.obs, done = game.reset(), False
        moves: list[tuple[str, list[float]]] = []
        before: dict[str, tuple[list[float], list[float]]] = {}
        while not done:
            mover = game.turn
            # The reward of a move is known when it is the player's turn again.
            if mover in before:
                self._replay(mover, *before[mover], 0.0, done=False)
            self.actions = {mover: self._agents[mover].get_action({mover: self.obs[mover]})[mover]}
            before[mover] = self.obs[mover], self.actions[mover]
            moves.append((mover, self.actions[mover]))
            self.obs, rewards, done, _ = game.step(self.actions)
        for name, move in before.items():
            self._replay(name, *move, rewards[name], done=True)
        for name, reward in rewards.items():
            self.rewards[name].append(reward)
        return {"moves": moves, "winner": game.winner, "illegal": game.illegal}

    def _replay(self, name: str, obs: list[float], action: list[float], reward: float, *, done: bool) -> None:
        if not self._skip_train[name]:
            step = {"prev_obs": obs, "actions": action, "rewards": reward, "new_obs": self.obs[name]}
            self._agents[name].replay_action({**{key: {name: value} for key, value in step.items()}, "done": done})

    def _results(self) -> dict[str, float]:
        games = len(self._played)
        results = {"games": float(games), "draws": sum(each["winner"] is None for each in self._played) / games}
        for name, rewards in self.rewards.items():
            results[f"reward/{name}"] = sum(rewards) / games
            results[f"wins/{name}"] = rewards.count(1.0) / games
            results[f"illegal_moves/{name}"] = float(sum(each["illegal"] == name for each in self._played))
        return results


def _games(episode_cfg: dict[str, Any]) -> int:
    """Return how many games an episode has.

    Raises:
        RequestError: the number is invalid, or there are other settings.
    """
    if unknown := episode_cfg.keys() - {"games"}:
        raise RequestError(f"episodeCfg: unknown {', '.join(sorted(unknown))}; expected games.", field="episodeCfg")
    games = episode_cfg.get("games", 1)
    if type(games) is not int or not 1 <= games <= _MOST_GAMES:
        raise RequestError(
            f"episodeCfg.games: {games!r:.80}; expected an integer from 1 to {_MOST_GAMES}.", field="episodeCfg.games"
        )
    return games
