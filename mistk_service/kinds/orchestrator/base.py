"""The base class of orchestrators, and that of the games that they run."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from mistk_service.kinds.component import Component


class Agent(Protocol):
    """The interface of an agent's container for the hooks of an orchestrator.

    A call returns when the agent is done. If the agent does not answer, refuses, or fails, every method raises
    :class:`~mistk_service.AgentFailed`, which names the agent.
    """

    name: str

    def episode_started(self, episode_cfg: dict[str, Any]) -> Any:
        """Begin an episode. ``episode_cfg`` has the first observations, by agent, under ``obs``."""

    def get_action(self, obs: dict[str, list[float]]) -> dict[str, list[float]]:
        """Return the agent's action for the observations: agent → numbers, with at least this agent's."""

    def replay_action(self, obs: dict[str, Any]) -> Any:
        """Let the agent learn from ``prev_obs``, ``actions``, ``rewards``, ``new_obs`` and ``done``.

        It may return earlier: the agent's next action waits until the agent has learned.
        """

    def episode_stopped(self) -> Any:
        """End the episode, if the agent is in one."""


class BaseEnv:
    """A game. Subclass it for the games of your orchestrator.

    Attributes:
        game_env: the environment of a library, if the game has one.
    """

    game_env: Any = None

    def engine_create(self, players: list[str], game_kwargs: dict[str, Any]) -> None:
        """Set up a game for these players, with these settings."""
        raise NotImplementedError

    def reset(self) -> dict[str, list[float]]:
        """Begin a new game and return the first observations, by player."""
        raise NotImplementedError

    def step(
        self, actions: dict[str, list[float]]
    ) -> tuple[dict[str, list[float]], dict[str, float], bool, dict[str, Any]]:
        """Take the actions by player. Return observations and rewards by player, whether the game is over, and details."""
        raise NotImplementedError

    def close(self) -> None:
        """Release resources."""


class AbstractOrchestrator(Component):
    """Runs games between agents, each in its own container. Subclass it and write the hooks for your game.

    The container calls the hooks one at a time, with arguments by name, on the main thread of the orchestrator's own process::

        do_initialize → do_register_agent, for each agent → do_start_episode → do_save_episode → do_stop_episode
                                                                ↑                                      │
                                                                └──────────────────────────────────────┘

    ``do_start_episode`` plays an episode with ``self._agents`` and returns when it is over. The container registers with an
    agent before ``do_register_agent``. It ends the episode of each agent after ``do_stop_episode``, or when an episode
    fails. All hooks except ``do_start_episode`` and ``do_save_episode`` are optional.

    A hook that raises :class:`~mistk_service.RequestError` refuses the request, and the previous state is restored. Any other
    exception makes the state ``failed``, such as the :class:`~mistk_service.AgentFailed` of an agent that dies in an episode.
    NotImplementedError from ``do_save_episode`` restores the previous state.
    """

    _mistk_kind = "mistk_service.kinds.orchestrator:ORCHESTRATOR"

    #: The class of the agents' clients: ``package.module:NAME``. It is only loaded when an agent is registered, since other
    #: workers need no HTTP.
    _mistk_agent_class: ClassVar[str] = "mistk_service.client.player:Player"

    #: The registered agents, by name.
    _agents: dict[str, Agent]
    #: Whether each agent only plays and does not learn, by name.
    _skip_train: dict[str, bool]
    #: The number of agents that the game needs.
    _agents_needed: int
    #: The number of steps of an episode, for games without a natural end.
    _steps: int = 10
    #: The latest observations, actions and rewards, for the use of subclasses.
    obs: dict[str, Any]
    actions: dict[str, Any]
    rewards: dict[str, list[float]]
    #: The game, for the use of subclasses.
    env_obj: Any = None

    # --- hooks: what the orchestrator does ------------------------------------------------------------------------

    def do_initialize(self, env: dict[str, Any], agents_needed: int) -> None:
        """Receive the settings of the game, and the number of agents that it needs."""

    def do_register_agent(self, agent_name: str, agent_url: Agent) -> None:
        """Receive an agent that was registered.

        Args:
            agent_name: its name.
            agent_url: its client. The name is MISTK's.
        """

    def do_start_episode(self, episode_cfg: dict[str, Any]) -> None:
        """Play an episode. Put the steps through ``self.steps(...)``, so that a reset or a shutdown can end it."""
        raise NotImplementedError

    def do_stop_episode(self) -> None:
        """Finish the episode. Afterwards, the container ends the episode of each agent."""

    def do_save_episode(self, path: str) -> None:
        """Write the last episode to the folder ``path``."""
        raise NotImplementedError
