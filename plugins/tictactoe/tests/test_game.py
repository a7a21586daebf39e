"""The rules of the game, and an agent that learns it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tictactoe.agent import Hyperparameters, QLearner
from tictactoe.game import Game
from tictactoe.orchestrator import TicTacToe

from mistk_service import DetachedContext, RequestError

#: Cells of the agent, of the opponent, and empty ones.
EMPTY = [0.0] * 9


@pytest.fixture
def game() -> Game:
    made = Game()
    made.engine_create(["x", "o"], {})
    return made


def learner(name: str, **hyperparameters: Any) -> QLearner:
    agent = QLearner()
    agent.attach(DetachedContext())
    agent.agent_name = name
    agent.do_initialize({}, Hyperparameters(**{"seed": 1, **hyperparameters}))
    agent.do_build_model()
    agent.do_episode_started({"obs": {}, "train": True})
    return agent


def play(game: Game, *cells: int) -> tuple[dict[str, float], bool]:
    for cell in cells:
        _, rewards, done, _ = game.step({game.turn: [cell]})
    return rewards, done


def test_three_in_a_line_win(game: Game) -> None:
    assert play(game, 0, 3, 1, 4, 2) == ({"x": 1.0, "o": -1.0}, True)
    assert game.winner == "x"


def test_a_full_board_without_a_line_is_a_draw(game: Game) -> None:
    assert play(game, 0, 1, 2, 4, 3, 5, 7, 6, 8) == ({"x": 0.0, "o": 0.0}, True)
    assert game.winner is None


def test_each_player_sees_its_own_cells_as_1(game: Game) -> None:
    obs, *_ = game.step({"x": [4]})
    assert (obs["x"][4], obs["o"][4]) == (1, -1)
    assert sum(map(abs, obs["x"])) == 1


@pytest.mark.parametrize("action", [[4], [9], [-1], [0.5], [], [0, 1]])
def test_an_illegal_move_loses_the_game(game: Game, action: list[float]) -> None:
    play(game, 4)
    _, rewards, done, info = game.step({"o": action})
    assert (rewards, done, info) == ({"x": 1.0, "o": -1.0}, True, {"illegal": "o"})


def test_the_players_take_turns_to_begin(game: Game) -> None:
    assert [game.turn, game.reset() and game.turn, game.reset() and game.turn] == ["x", "o", "x"]


class Local:
    """An agent without a container."""

    def __init__(self, name: str, agent: QLearner) -> None:
        self.name = name
        self.episode_started = agent.do_episode_started
        self.get_action = agent.do_get_action
        self.replay_action = agent.do_replay_action
        self.episode_stopped = agent.do_episode_stopped


class LocalTicTacToe(TicTacToe):
    """The orchestrator without containers."""

    def __init__(self, agents: dict[str, QLearner], *, train: bool) -> None:
        self._agents = {name: Local(name, agent) for name, agent in agents.items()}
        self._skip_train = dict.fromkeys(agents, not train)
        self.attach(DetachedContext())
        self.do_initialize({}, 2)

    def episode(self, games: int) -> dict[str, float]:
        """Play an episode and return what it reports."""
        context = DetachedContext()
        self.attach(context)
        self.do_start_episode({"games": games})
        for agent in self._agents.values():
            agent.episode_stopped()
        return {key: value for key, value, _ in context.metrics}


def test_an_agent_that_has_learned_beats_one_that_plays_at_random() -> None:
    x, o = learner("x"), learner("o", seed=2)
    before = LocalTicTacToe({"x": x, "o": o}, train=False).episode(400)
    assert abs(before["reward/x"]) < 0.2
    LocalTicTacToe({"x": x, "o": o}, train=True).episode(3000)
    after = LocalTicTacToe({"x": x, "o": learner("o", seed=3)}, train=False).episode(400)
    assert after["wins/x"] > 0.85
    assert after["wins/o"] < 0.05
    assert after["illegal_moves/x"] == after["illegal_moves/o"] == 0


def test_what_was_learned_survives_saving(tmp_path: Path) -> None:
    agent = learner("x")
    LocalTicTacToe({"x": agent, "o": learner("o")}, train=True).episode(50)
    agent.do_save_model(str(tmp_path))
    values = json.loads((tmp_path / "q_table.json").read_text())
    assert len(values) > 50
    loaded = learner("x")
    loaded.do_build_model(str(tmp_path))
    loaded.do_save_model(str(tmp_path / ".."))
    assert json.loads((tmp_path / ".." / "q_table.json").read_text()) == values


def test_a_move_shares_its_value_with_its_symmetric_forms() -> None:
    agent = learner("x", epsilon=0.0, learning_rate=1.0)
    step = {"prev_obs": {"x": EMPTY}, "actions": {"x": [0]}, "rewards": {"x": 1.0}, "new_obs": {"x": EMPTY}}
    agent.do_replay_action({**step, "done": True})
    assert {agent.do_get_action({"x": EMPTY})["x"][0] for _ in range(50)} == {0, 2, 6, 8}


@pytest.mark.parametrize("obs", [{}, {"o": EMPTY}, {"x": [0.0] * 8}, {"x": [2.0] * 9}, {"x": [1.0] * 9}])
def test_observations_that_are_not_a_board_are_refused(obs: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="obs: "):
        learner("x").do_get_action(obs)


@pytest.mark.parametrize("content", ["", "[]", '{"x": "y"}'])
def test_a_file_that_is_not_a_saved_agent_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "q_table.json").write_text(content)
    with pytest.raises(RequestError, match=r"q_table.json.*expected a saved agent"):
        learner("x").do_build_model(str(tmp_path))


@pytest.mark.parametrize("cfg", [{"games": 0}, {"games": "3"}, {"games": True}, {"rounds": 3}])
def test_an_episode_of_no_number_of_games_is_refused(cfg: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="episodeCfg"):
        LocalTicTacToe({"x": learner("x"), "o": learner("o")}, train=True).do_start_episode(cfg)


def test_a_game_of_three_is_refused() -> None:
    with pytest.raises(RequestError, match="expected 2"):
        TicTacToe().do_initialize({}, 3)
