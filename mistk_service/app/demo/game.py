"""The demonstration of agents: two learn tic-tac-toe in containers, and then one plays against a random player."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from mistk_service.app.demo.results import show_run
from mistk_service.app.demo.tour import interruptible, program, writable
from mistk_service.client import AgentClient, Launch, ModelStatus, OrchestratorClient, launch
from mistk_service.errors import MistkError
from mistk_service.kinds.agent.states import State as AgentState
from mistk_service.kinds.orchestrator.states import State
from mistk_service.resources import plugins_path

#: The episodes of the training, and the games of each.
_EPISODES, _GAMES = 6, 40

#: The number of games against a random player, and the mean reward to reach. A win is 1, a loss -1; random play has 0.
_TEST_GAMES, _REWARD = 50, 0.2

#: Maximum duration of a single step in seconds.
_STEP_TIMEOUT = 300.0


def run_game_demo(folder: Path) -> None:
    """Run the demonstration.

    Args:
        folder: the folder for the files of the containers; a temporary folder if it cannot be written.

    Raises:
        MistkError: a step failed, or the trained agent is not better than chance.
        SystemExit: it was interrupted, with the exit code that shells use for that.
    """
    console, folder = Console(stderr=False), writable(folder)
    with interruptible(console), ExitStack() as running:
        containers = _containers(folder)
        x, o, game = (running.enter_context(container) for container in containers)
        assert isinstance(x, AgentClient)
        assert isinstance(o, AgentClient)
        assert isinstance(game, OrchestratorClient)
        for name, container in zip(("agent x", "agent o", "orchestrator"), containers, strict=True):
            console.print(f"A container with the {name} is running at [b]{container.url}[/b]")
        container_id = game.status().object_info.id or ""
        reward = _Match(console, x, o, game, (containers[0].url, containers[1].url)).run()
    if reward < _REWARD:
        raise MistkError(f"The trained agent's mean reward is {reward:.2f}; expected at least {_REWARD}.")
    show_run(console, folder / "game", container_id, program())


def _containers(folder: Path) -> list[Launch[AgentClient] | Launch[OrchestratorClient]]:
    plugin = plugins_path() / "tictactoe"
    agent, game = f"{plugin / 'agent.py'}:QLearner", f"{plugin / 'orchestrator.py'}:TicTacToe"

    def options(name: str) -> list[str]:
        return ["--state-dir", str(folder / name), "--log-level", "warning"]

    return [
        launch(agent, AgentClient, options=options("x")),
        launch(agent, AgentClient, options=options("o")),
        launch(game, OrchestratorClient, options=options("game")),
    ]


class _Match:
    """The steps, in order. The orchestrator's container drives those of the agents; this class only calls the orchestrator."""

    def __init__(
        self, console: Console, x: AgentClient, o: AgentClient, game: OrchestratorClient, urls: tuple[str, str]
    ) -> None:
        self._console, self._x, self._o, self._game, self._urls = console, x, o, game, urls

    def run(self) -> float:
        """Train both agents against each other, and return the mean reward of one against an agent that plays at random."""
        for seed, agent in enumerate((self._x, self._o), 1):
            self._initialize(agent, seed)
        self._register()
        self._print_step("registerAgent", f"of x and o → {self._game.status().state}")
        for number in range(1, _EPISODES + 1):
            status = self._episode(_GAMES)
            self._print_step("startEpisode", f"{number} of {_EPISODES}: {_results(status)}")
        self._print_step("learning", f"by x: values for {self._x.status().metrics['positions']:.0f} positions")
        self._o.wait_for(AgentState.STARTED, timeout=_STEP_TIMEOUT, since=self._o.reset())
        self._initialize(self._o, seed=3)
        self._game.wait_for(State.UNINITIALIZED, timeout=_STEP_TIMEOUT, since=self._game.reset())
        self._register(skip_train=True)
        self._print_step("reset", "of o, which now plays at random")
        status = self._episode(_TEST_GAMES)
        self._print_step("startEpisode", f"against chance: {_results(status)}")
        return status.metrics["reward/x"]

    def _initialize(self, agent: AgentClient, seed: int) -> None:
        accepted = agent.initialize(hyperparameters={"seed": seed})
        agent.wait_for(AgentState.INITIALIZED, timeout=_STEP_TIMEOUT, since=accepted)

    def _register(self, *, skip_train: bool = False) -> None:
        game = self._game
        game.wait_for(State.WAITING_FOR_AGENTS, timeout=_STEP_TIMEOUT, since=game.initialize(agents_needed=2))
        for name, url, then in zip("xo", self._urls, (State.WAITING_FOR_AGENTS, State.READY), strict=True):
            accepted = game.register_agent(name, url, skip_train=skip_train)
            game.wait_for(then, timeout=_STEP_TIMEOUT, since=accepted)

    def _episode(self, games: int) -> ModelStatus:
        accepted = self._game.start_episode({"games": games})
        status = self._game.wait_for(State.COMPLETED_EPISODE, timeout=_STEP_TIMEOUT, since=accepted)
        self._game.wait_for(State.READY, timeout=_STEP_TIMEOUT, since=self._game.stop_episode())
        return status

    def _print_step(self, operation: str, text: str) -> None:
        self._console.print(f"[green]✓[/green] [b]{operation}[/b] {text}", highlight=False)


def _results(status: ModelStatus) -> str:
    metrics = status.metrics
    wins = ", ".join(f"{name} wins {metrics[f'wins/{name}']:.0%}" for name in "xo")
    return f"{metrics['games']:.0f} games, {wins}, mean reward of x {metrics['reward/x']:+.2f}"
