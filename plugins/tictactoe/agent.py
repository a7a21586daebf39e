"""An agent that learns tic-tac-toe with tabular Q-learning."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec

from mistk_service import AbstractAgent, RequestError

from .symmetry import canonical

_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


@dataclass(frozen=True)
class Hyperparameters:
    """The hyperparameters of the learning.

    Attributes:
        learning_rate: the fraction of an error that is corrected at once.
        discount: the factor of a reward for each earlier move.
        epsilon: the fraction of random moves in training.
        seed: the seed of the random moves; None for a different one each time.
    """

    learning_rate: _Share = 0.5
    discount: _Share = 1.0
    epsilon: _Share = 0.3
    seed: int | None = None


_FILE = "q_table.json"


class QLearner(AbstractAgent):
    """Learns tic-tac-toe by playing. An agent that has not learned anything plays at random.

    The value of a move is kept for the position that it leads to, and for all symmetric ones.
    The values are updated at the end of a game, from its last move to its first, each by the rule of Watkins and Dayan
    (Q-learning, Machine Learning 8, 1992)::

        Q(s, a) ← Q(s, a) + learning_rate · (reward + discount · max Q(s', a') - Q(s, a))
    """

    hyperparameters = Hyperparameters

    def do_initialize(self, props: dict[str, Any], hparams: Hyperparameters) -> None:  # noqa: ARG002 - there are no properties
        """Take the hyperparameters."""
        self._settings = hparams
        self._random = random.Random(hparams.seed)  # noqa: S311 - it chooses moves
        self._q: dict[str, float] = {}
        self._episode = 0

    def do_build_model(self, path: str | None = None) -> None:
        """Begin without knowledge, or with the values that ``do_save_model`` wrote."""
        self._q = {} if path is None else _read(Path(path) / _FILE)

    def do_save_model(self, path: str) -> None:
        """Write the values to ``q_table.json``."""
        (Path(path) / _FILE).write_text(json.dumps(self._q), encoding="utf-8")

    def do_episode_started(self, episode_cfg: dict[str, Any]) -> None:
        """Begin an episode, in which ``train`` says whether to explore."""
        self._train = bool(episode_cfg.get("train", True))
        self._game: list[tuple[list[float], int, float, list[float] | None]] = []
        self._rewards: list[float] = []

    def do_get_action(self, obs: dict[str, list[float]]) -> dict[str, Any]:
        """Choose a cell: mostly the best one, and in training sometimes any."""
        board = self._own(obs)
        cells = _empty(board)
        if not cells:
            raise RequestError("obs: the board has no empty cell.", field="obs")
        if self._train and self._random.random() < self._settings.epsilon:
            return {self.agent_name: [self._random.choice(cells)]}
        best = self._best(board)
        return {self.agent_name: [self._random.choice([c for c in cells if self._value(board, c) == best])]}

    def do_replay_action(self, obs: dict[str, Any]) -> None:
        """Remember a move, and learn at the end of the game."""
        before, action = self._own(obs.get("prev_obs")), (obs.get("actions") or {}).get(self.agent_name)
        reward = (obs.get("rewards") or {}).get(self.agent_name, 0.0)
        after = None if obs.get("done") else self._own(obs.get("new_obs"))
        if action not in [[cell] for cell in _empty(before)]:
            action = None  # an illegal move, which only teaches not to make it
        if not isinstance(reward, int | float):
            raise RequestError(f"rewards: {reward!r:.80}; expected a number for {self.agent_name}.", field="obs")
        if action is not None:
            self._game.append((before, int(action[0]), float(reward), after))
        if after is None:
            self._learn()
            self._rewards.append(float(reward))

    def do_episode_stopped(self) -> None:
        """Report the results of the episode."""
        if self._rewards:
            self._episode += 1
            reward = sum(self._rewards) / len(self._rewards)
            self.report_metrics({"reward": reward, "positions": len(self._q)}, step=self._episode)

    def do_reset(self, unload_model: bool = True) -> None:  # noqa: ARG002 - the process ends by itself
        """Forget the game but not what was learned."""
        self._game, self._rewards = [], []

    def _learn(self) -> None:
        for board, cell, reward, after in reversed(self._game):
            target = reward if after is None else reward + self._settings.discount * self._best(after)
            key = canonical(board, cell)
            self._q[key] = self._value(board, cell) + self._settings.learning_rate * (target - self._value(board, cell))
        self._game = []

    def _best(self, board: list[float]) -> float:
        return max((self._value(board, cell) for cell in _empty(board)), default=0.0)

    def _value(self, board: list[float], cell: int) -> float:
        return self._q.get(canonical(board, cell), 0.0)

    def _own(self, obs: Any) -> list[float]:
        """Return the board as this agent sees it."""
        board = obs.get(self.agent_name) if isinstance(obs, dict) else None
        if not isinstance(board, list) or len(board) != 9 or not set(board) <= {0, 1, -1}:
            raise RequestError(
                f"obs: {board!r:.80}; expected 9 numbers 1, -1 or 0 for the agent {self.agent_name!r}.", field="obs"
            )
        return board


def _empty(board: list[float]) -> list[int]:
    return [cell for cell in range(9) if not board[cell]]


def _read(file: Path) -> dict[str, float]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RequestError(
            f"modelPath: {file} cannot be read ({error}); expected a saved agent.", field="modelPath"
        ) from error
    if not isinstance(values, dict) or not all(isinstance(value, int | float) for value in values.values()):
        raise RequestError(f"modelPath: {file} is not a table of values; expected a saved agent.", field="modelPath")
    return values
