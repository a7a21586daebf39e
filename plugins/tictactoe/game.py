"""The game: a board of nine cells, on which two players take turns."""

from __future__ import annotations

from typing import Any

from mistk_service import BaseEnv

_LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))


class Game(BaseEnv):
    """Tic-tac-toe. The players take turns to begin a game.

    An observation has 9 numbers, row by row: 1 for a cell of the player, -1 for one of the opponent, 0 for an empty one. An
    action is the number of a cell, from 0 to 8. The winner gets a reward of 1, and the loser of -1. An illegal move ends the
    game: the player who makes it loses.

    Attributes:
        turn: the player that moves next.
        winner: the player that has won; None without one.
        illegal: the player that has made an illegal move, if any.
    """

    def engine_create(self, players: list[str], game_kwargs: dict[str, Any]) -> None:  # noqa: ARG002 - there are no settings
        """Set up the game for two players, of which the first begins."""
        self.players = list(players)
        self._first = 1
        self.reset()

    def reset(self) -> dict[str, list[float]]:
        """Begin a new game; the other player moves first."""
        self._first = 1 - self._first
        self.turn: str = self.players[self._first]
        self.winner: str | None = None
        self.illegal: str | None = None
        self._cells: list[str | None] = [None] * 9
        return self._observations()

    def step(
        self, actions: dict[str, list[float]]
    ) -> tuple[dict[str, list[float]], dict[str, float], bool, dict[str, Any]]:
        """Take the action of the player whose turn it is."""
        mover, opponent = self.turn, self._other(self.turn)
        cell = self._cell(actions[mover])
        if cell is None:
            self.illegal, self.winner = mover, opponent
        else:
            self._cells[cell] = mover
            if any(all(self._cells[each] == mover for each in line) for line in _LINES):
                self.winner = mover
        self.turn = opponent
        rewards = dict.fromkeys(self.players, 0.0)
        if self.winner is not None:
            rewards = {self.winner: 1.0, self._other(self.winner): -1.0}
        return self._observations(), rewards, self.winner is not None or all(self._cells), {"illegal": self.illegal}

    def _cell(self, action: list[float]) -> int | None:
        """Return the cell that an action names; None if the move is illegal."""
        cells = [cell for cell in range(9) if action == [cell] and self._cells[cell] is None]
        return cells[0] if cells else None

    def _other(self, player: str) -> str:
        return self.players[1 - self.players.index(player)]

    def _observations(self) -> dict[str, list[float]]:
        return {
            player: [0.0 if cell is None else 1.0 if cell == player else -1.0 for cell in self._cells]
            for player in self.players
        }
