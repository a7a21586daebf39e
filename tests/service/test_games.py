"""Agents and an orchestrator as services: a game from registration to learning, and failing agents."""

from __future__ import annotations

import json
import signal
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mistk_service.client import AgentClient, ContainerClient, OrchestratorClient
from mistk_service.errors import RequestFailed, RequestRefused, WaitFailed
from mistk_service.tracking import open_store
from mistk_service.tracking.values import Run
from tests.service.conftest import Start
from tests.service.harness import Service, run

PLUGIN = Path(__file__).parents[2] / "plugins" / "tictactoe"
BAD = Path(__file__).parents[1] / "models" / "players.py"
Bad = Callable[[str], AgentClient]

LEARNER, GAME = f"{PLUGIN / 'agent.py'}:QLearner", f"{PLUGIN / 'orchestrator.py'}:TicTacToe"


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Service, Service]]:
    """Two agents that learn, and an orchestrator."""
    started = [
        Service("serve", reference, "--port", "0", "--state-dir", str(folder), cwd=folder)
        for reference in (LEARNER, LEARNER, GAME)
        for folder in [tmp_path_factory.mktemp("state")]
    ]
    yield started[0], started[1], started[2]
    for service in started:
        service.end()


@pytest.fixture(scope="module")
def bad_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of the agents that let a game down, which its hyperparameter chooses from."""
    with Service("serve", f"{BAD}:Chosen", "--port", "0", cwd=tmp_path_factory.mktemp("bad")) as service:
        yield service


@pytest.fixture
def bad(bad_service: Service) -> Iterator[Callable[[str], AgentClient]]:
    """Returns the client of an agent: ``bad(player)``."""
    with AgentClient(bad_service.url) as agent:

        def initialize(player: str) -> AgentClient:
            agent.wait_for("started", since=agent.reset())
            agent.wait_for("initialized", since=agent.initialize(hyperparameters={"player": player}))
            return agent

        yield initialize


class Table:
    """Clients of a game's containers; each begins anew."""

    def __init__(self, services: tuple[Service, Service, Service]) -> None:
        self.x, self.o = (AgentClient(service.url) for service in services[:2])
        self.game = OrchestratorClient(services[2].url)
        for client, first in ((self.x, "started"), (self.o, "started"), (self.game, "uninitialized")):
            client.wait_for(first, since=client.reset())
        for seed, agent in enumerate((self.x, self.o)):
            agent.wait_for("initialized", since=agent.initialize({"name": "unnamed"}, {"seed": seed}))
        self.game.wait_for("waiting_for_agents", since=self.game.initialize(agents_needed=2))

    def register(self, x: str, o: str, *, skip_train: bool = False) -> None:
        """Register two agents, by their addresses."""
        self.game.wait_for("waiting_for_agents", since=self.game.register_agent("x", x, skip_train=skip_train))
        self.game.wait_for("ready", since=self.game.register_agent("o", o, skip_train=skip_train))

    def play(self, games: int) -> dict[str, float]:
        """Play an episode to its end and return its results."""
        status = self.game.wait_for("completed_episode", since=self.game.start_episode({"games": games}))
        self.game.wait_for("ready", since=self.game.stop_episode())
        return status.metrics


@pytest.fixture
def table(services: tuple[Service, Service, Service]) -> Iterator[Table]:
    made = Table(services)
    yield made
    for client in (made.x, made.o, made.game):
        client.close()


def run_of(client: ContainerClient) -> Run:
    """Return the run of a container."""
    payload = client.status().payload
    with open_store(payload["tracking"]["store"]) as store:
        return store.get_run(payload["run"]["id"])


def test_two_agents_learn_in_episodes_that_are_tracked(
    table: Table, services: tuple[Service, Service, Service], tmp_path: Path
) -> None:
    x, o, _ = services
    table.register(x.url, o.url)
    assert table.x.status().state == "ready"
    first = table.play(3)
    assert first["games"] == 3
    assert first["wins/x"] + first["wins/o"] + first["draws"] == pytest.approx(1)
    assert first["reward/x"] == -first["reward/o"]
    assert table.x.status().metrics["positions"] > 5
    status = table.game.wait_for("completed_episode", since=table.game.start_episode({"games": 2}))
    table.game.wait_for("completed_episode", since=table.game.save_episode(tmp_path))
    assert len(json.loads((tmp_path / "episode.json").read_text())["games"]) == 2
    assert table.x.status().state == "in_episode"
    table.game.wait_for("ready", since=table.game.stop_episode())
    assert table.x.status().state == table.o.status().state == "ready"
    table.x.wait_for("ready", since=table.x.save_model(tmp_path / "x"))
    assert (tmp_path / "x" / "q_table.json").is_file()
    for service in services:
        service.wait_for_metric("mistk_reporter_waiting", 0)
    played, learned = run_of(table.game), run_of(table.x)
    assert {metric.key: (metric.value, metric.step) for metric in played.data.metrics}["reward/x"] == (
        status.metrics["reward/x"],
        2,
    )
    assert {param.key: param.value for param in played.data.params} == {"agents_needed": "2"}
    metrics = {metric.key: metric.value for metric in learned.data.metrics}
    assert metrics["mistk/episodeStarted_count"] == 2
    assert metrics["reward"] == status.metrics["reward/x"]
    assert not [key for key in metrics if "replayAction" in key]
    assert {param.key: param.value for param in learned.data.params}["seed"] == "0"
    assert learned.info.status.name == "FINISHED"


def test_an_agent_that_is_not_to_learn_only_plays(table: Table, services: tuple[Service, Service, Service]) -> None:
    table.register(services[0].url, services[1].url, skip_train=True)
    table.play(2)
    assert "positions" not in table.x.status().metrics


def test_an_agent_that_leaves_keeps_its_model_and_can_be_registered_again(
    table: Table, services: tuple[Service, Service, Service], tmp_path: Path
) -> None:
    x, o, _ = services
    table.register(x.url, o.url)
    table.play(2)
    pid = x.metric("mistk_worker_process_start_time_seconds")
    assert x.api.post("/agent/reset", params={"unloadModel": "false"}).json()["state"] == "resetting"
    table.x.wait_for("initialized")
    assert x.metric("mistk_worker_process_start_time_seconds") == pid
    table.x.wait_for("initialized", since=table.x.save_model(tmp_path))
    assert len(json.loads((tmp_path / "q_table.json").read_text())) > 5
    table.o.wait_for("started", since=table.o.reset())
    with pytest.raises(RequestRefused, match="unregister is not possible in the state started"):
        table.o.unregister()
    with pytest.raises(RequestRefused, match=r"hyperparameters.epsilon cannot be 2; expected a number"):
        table.o.initialize(hyperparameters={"epsilon": 2})
    table.game.wait_for("uninitialized", since=table.game.reset())
    table.game.wait_for("waiting_for_agents", since=table.game.initialize(agents_needed=2))
    table.game.wait_for("waiting_for_agents", since=table.game.register_agent("x", x.url))
    assert table.x.status().state == "ready"


# --- agents that let the game down ------------------------------------------------------------------------------------


def refusal_of(game: OrchestratorClient, *arguments: str) -> str:
    """Register an agent that is to be refused, early or late, and return why."""
    try:
        status = game.wait_for("waiting_for_agents", since=game.register_agent(*arguments))
    except RequestRefused as error:
        return f"{error.field}: {error}"
    assert status.last_activity is not None
    assert status.last_activity.outcome == "refused"
    return str(status.notice)


def test_an_agent_that_cannot_be_reached_is_not_registered(
    table: Table, services: tuple[Service, Service, Service]
) -> None:
    assert "agentUrl: The agent 'x' failed: No response from http://127.0.0.1:1/" in refusal_of(
        table.game, "x", "http://127.0.0.1:1"
    )
    assert "expected the address of a model container" in refusal_of(table.game, "x", "nonsense")
    assert "There is nothing at /v1/mistk/agent/agentRegistered" in refusal_of(table.game, "x", services[2].url)
    table.o.wait_for("started", since=table.o.reset())
    assert "agentRegistered is not possible in the state started" in refusal_of(table.game, "o", services[1].url)
    table.game.wait_for("waiting_for_agents", since=table.game.register_agent("x", services[0].url))
    with pytest.raises(RequestRefused, match="'x' is registered already") as caught:
        table.game.register_agent("x", services[0].url)
    assert caught.value.field == "agentName"


def failure_of(table: Table, games: int = 3) -> str:
    with pytest.raises(WaitFailed) as caught:
        table.game.wait_for("completed_episode", since=table.game.start_episode({"games": games}))
    failure = table.game.status().error
    assert failure is not None
    assert failure.type == "AgentFailed"
    assert caught.value.failure == failure
    return failure.message


def test_an_agent_that_dies_in_an_episode_fails_it_by_name_and_the_other_one_is_released(
    table: Table, services: tuple[Service, Service, Service], start: Start
) -> None:
    doomed = start(model=LEARNER)
    with AgentClient(doomed.url) as agent:
        agent.wait_for("initialized", since=agent.initialize())
        table.register(services[0].url, doomed.url)
        begun = table.game.start_episode({"games": 100_000})
        for event in table.game.watch(begun.resource_version):
            if event.status.progress is not None and event.status.progress.done > 1:
                break
        doomed.process.kill()
        with pytest.raises(WaitFailed, match="The agent 'o' failed: "):
            table.game.wait_for("completed_episode", since=begun)
    assert table.x.wait_for("ready").state == "ready"
    assert table.game.status().state == "failed"
    services[2].wait_for_metric("mistk_reporter_waiting", 0)
    assert run_of(table.game).info.status.name == "FAILED"


@pytest.mark.parametrize(
    ("player", "reason"),
    [
        ("Raises", "The agent 'o' failed: The model failed in getAction: ValueError: no idea"),
        ("Malformed", "Expected `array`, got `str`"),
        ("Nameless", "The agent 'o' answered getAction without its own action: {'somebody': [1]}"),
        ("FailsToLearn", "The agent 'o' failed: "),
    ],
)
def test_an_agent_that_does_not_play_fails_the_episode_by_name(
    table: Table, services: tuple[Service, Service, Service], bad: Bad, player: str, reason: str
) -> None:
    table.register(services[0].url, bad(player).address)
    message = failure_of(table)
    assert reason in message
    assert "The agent 'o'" in message
    assert table.x.wait_for("ready").state == "ready"


def test_an_agent_that_makes_illegal_moves_loses_and_the_game_continues(
    table: Table, services: tuple[Service, Service, Service], bad: Bad
) -> None:
    table.register(services[0].url, bad("Illegal").address)
    results = table.play(4)
    assert (results["illegal_moves/o"], results["wins/x"]) == (4, 1)


def test_a_reset_ends_an_episode_and_releases_the_agents(
    table: Table, services: tuple[Service, Service, Service]
) -> None:
    table.register(services[0].url, services[1].url)
    table.game.start_episode({"games": 100_000})
    table.x.wait_for("in_episode")
    table.game.wait_for("uninitialized", since=table.game.reset())
    assert {table.x.wait_for("ready").state, table.o.wait_for("ready").state} == {"ready"}


def state_of(service: Service, kind: str) -> tuple[str, Any]:
    """Return the state, and the last activity."""
    status = service.api.get(f"/{kind}/status").json()
    return status["state"], status["payload"].get("lastActivity")


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "body", "message"),
    [
        ("initialize", {"modelProperties": [], "hyperparameters": {}}, "modelProperties"),
        ("initialize", {"objectives": []}, "objectives"),
        ("agentRegistered", {}, "name"),
        ("agentRegistered", {"name": 3}, "name"),
        ("episodeStarted", {}, "obs"),
        ("getAction", {"x": "up"}, "up"),
        ("getAction", {"x": ["up"]}, "up"),
        ("getAction", [], "not an object"),
        ("replayAction", {"done": "yes"}, "done"),
        ("replayAction", {"rewards": 3}, "rewards"),
    ],
)
def test_wrong_fields_for_an_agent_are_named_and_change_nothing(
    services: tuple[Service, Service, Service], operation: str, body: Any, message: str
) -> None:
    before = state_of(services[0], "agent")
    answer = services[0].api.post(f"/agent/{operation}", json=body)
    assert answer.status_code == 400
    assert message in answer.json()["message"]
    assert state_of(services[0], "agent") == before


@pytest.mark.parametrize(
    ("operation", "body", "message"),
    [
        ("initialize", {}, "agents_needed"),
        ("initialize", {"agents_needed": 0}, "agents_needed"),
        ("initialize", {"agents_needed": "two"}, "agents_needed"),
        ("registerAgent", None, "agentName"),
        ("registerAgent?agentName=x", None, "agentUrl"),
        ("registerAgent?agentName=x&agentUrl=http://h&skipTrain=perhaps", None, "skipTrain"),
        ("startEpisode", [], "not an object"),
        ("saveEpisode", None, "path"),
    ],
)
def test_wrong_fields_for_an_orchestrator_are_named_and_change_nothing(
    services: tuple[Service, Service, Service], operation: str, body: Any, message: str
) -> None:
    before = state_of(services[2], "orchestrator")
    content = {} if body is None else {"json": body}
    answer = services[2].api.post(f"/orchestrator/{operation}", **content)
    assert answer.status_code == 400
    assert message in answer.json()["message"]
    assert state_of(services[2], "orchestrator") == before


def test_what_the_model_refuses_changes_nothing(table: Table, services: tuple[Service, Service, Service]) -> None:
    table.register(services[0].url, services[1].url)
    with pytest.raises(RequestRefused, match="expected an integer from 1") as caught:
        table.game.start_episode({"games": 0})
    assert caught.value.field == "episodeCfg.games"
    assert table.game.status().state == "ready"
    table.x.wait_for("in_episode", since=table.x.episode_started({"obs": {}}))
    with pytest.raises(RequestRefused, match="expected 9 numbers"):
        table.x.get_action({"x": [1.0]})
    with pytest.raises(RequestRefused, match="expected 9 numbers"):
        table.x.replay_action({"prev_obs": {"x": []}, "done": True})
    assert table.x.status().state == "in_episode"


def test_an_agent_is_ready_for_an_episode_and_in_one(table: Table, services: tuple[Service, Service, Service]) -> None:
    assert not table.x.ready()
    table.register(services[0].url, services[1].url)
    assert table.x.ready()
    table.x.wait_for("in_episode", since=table.x.episode_started({"obs": {}}))
    assert table.x.ready()


def test_a_failed_step_fails_the_run(bad: Bad, bad_service: Service) -> None:
    agent = bad("FailsToLearn")
    agent.wait_for("ready", since=agent.agent_registered({"name": "o"}))
    agent.wait_for("in_episode", since=agent.episode_started({"obs": {}}))
    assert agent.get_action({"o": [0, 0]}) == {"o": [0]}
    with pytest.raises(WaitFailed, match="learned nothing"):
        agent.wait_for("in_episode", since=agent.replay_action({"done": False}))
    with pytest.raises(RequestRefused, match="getAction is not possible in the state failed"):
        agent.get_action({"o": [0]})
    bad_service.wait_for_metric("mistk_reporter_waiting", 0)
    assert run_of(agent).info.status.name == "FAILED"


def test_an_error_of_get_action_fails_its_request_alone(bad: Bad) -> None:
    agent = bad("Raises")
    agent.wait_for("ready", since=agent.agent_registered({"name": "o"}))
    agent.wait_for("in_episode", since=agent.episode_started({"obs": {}}))
    with pytest.raises(RequestFailed, match="no idea"):
        agent.get_action({"o": [0]})
    assert agent.status().state == "in_episode"


# --- agents that ask for tokens ---------------------------------------------------------------------------------------


def test_the_tokens_of_agents_are_sent_to_them_and_shown_nowhere(tmp_path: Path) -> None:
    learner, other = (
        run("token", "new", "game", "--role", "operator", "--token-file", name, cwd=tmp_path)[1].strip()
        for name in "xo"
    )
    env = {"MISTK_CLIENT_TOKEN": learner}
    options = ("--port", "0", "--log-level", "debug", "--log-libraries", "--access-log", "--audit-file", "-")
    commands = {
        "x": (LEARNER, "--state-dir", "states/x", "--token-file", "x"),
        "o": (f"{BAD}:Illegal", "--state-dir", "states/o", "--token-file", "o"),
        "game": (GAME, "--state-dir", "states/game"),
    }
    with ExitStack() as stack:
        services = {
            name: stack.enter_context(Service("serve", *command, *options, cwd=tmp_path, env=env))
            for name, command in commands.items()
        }
        for each in services.values():
            each.lines = deque(each.lines)  # all of them
        own = {name: services[name].url.replace("//", f"//:{token}@") for name, token in (("x", learner), ("o", other))}
        agents = {name: stack.enter_context(AgentClient(url)) for name, url in own.items()}
        game = stack.enter_context(OrchestratorClient(services["game"].url))
        for agent in agents.values():
            agent.wait_for("initialized", since=agent.initialize())
        game.wait_for("waiting_for_agents", since=game.initialize(agents_needed=2))
        refusals = [
            refusal_of(game, "o", services["o"].url),  # gets the token of the other one
            refusal_of(game, "o", f"http://:{other}@127.0.0.1:1"),
            refusal_of(game, "o", f"nonsense://:{other}@127.0.0.1:1"),
        ]
        assert "The credentials of the request are wrong" in refusals[0]
        game.wait_for("waiting_for_agents", since=game.register_agent("x", services["x"].url))
        game.wait_for("ready", since=game.register_agent("o", own["o"]))
        shown = agents["o"].status().payload
        assert shown["registered"] == {"name": "o", "url": services["o"].url}
        assert "MISTK_CLIENT_TOKEN" not in shown["environment"]
        game.wait_for("completed_episode", since=game.start_episode({"games": 2}))
        game.wait_for("ready", since=game.stop_episode())
        services["o"].signal(signal.SIGKILL)
        services["o"].wait_exit()
        refusals.append(failure_of_game(game))
        texts = {
            "the messages": "\n".join(refusals),
            **{f"the status of {client.address}": str(client.status().payload) for client in (agents["x"], game)},
            "the status of o": str(shown),
            **{f"the log of {name}": each.output() for name, each in services.items()},
            **{
                str(file): file.read_bytes().decode("latin-1")
                for file in (tmp_path / "states").rglob("*")
                if file.is_file()
            },
        }
    assert "127.0.0.1" in texts["the log of game"]
    assert [(place, secret) for place, text in texts.items() for secret in (learner, other) if secret in text] == []


def failure_of_game(game: OrchestratorClient) -> str:
    """Play an episode that fails, and return why."""
    with pytest.raises(WaitFailed, match="The agent 'o' failed") as caught:
        game.wait_for("completed_episode", since=game.start_episode())
    return str(caught.value)
