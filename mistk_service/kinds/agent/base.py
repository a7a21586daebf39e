"""The base class of agents."""

from __future__ import annotations

from typing import Any

from mistk_service.kinds.component import Component


class AbstractAgent(Component):
    """A player of games, as in reinforcement learning. Subclass it and write the hooks for how your agent acts and learns.

    An orchestrator calls the operations of the container, and the container calls the hooks, one at a time, on the main thread
    of the agent's own process::

        do_initialize → do_build_model → do_agent_registered
          → do_episode_started → do_get_action → do_replay_action → do_get_action ... → do_episode_stopped
          → do_save_model

    A hook returns when its work is done, and raises an exception if it fails. The container refuses operations whose hook is
    missing. ``do_initialize``, ``do_build_model``, ``do_agent_registered``, ``do_episode_started``, ``do_replay_action``,
    ``do_episode_stopped``, ``do_reset`` and ``do_terminate`` are optional and do nothing by default.

    A hook that raises :class:`~mistk_service.RequestError` refuses the request, and the previous state is restored. Any other
    exception makes the state ``failed``, except for these:

    * ``do_get_action``: only its request fails.
    * NotImplementedError from ``do_save_model``: the previous state is restored.
    """

    _mistk_kind = "mistk_service.kinds.agent:AGENT"

    #: The type of the hyperparameters: a msgspec struct or a dataclass; see :class:`~mistk_service.AbstractModel`.
    hyperparameters: Any = None

    #: The name of the agent: the property ``name`` of ``initialize``, and later the name that the orchestrator registers.
    agent_name: str = "agent0"

    # --- hooks: what the agent does -------------------------------------------------------------------------------

    def do_initialize(self, props: dict[str, Any], hparams: Any) -> None:
        """Receive the settings of this instance.

        Args:
            props: the model properties of the request: settings other than hyperparameters.
            hparams: the hyperparameters of the request, by name; an instance of ``hyperparameters`` if the class declares it.
        """

    def do_build_model(self, path: str | None = None) -> None:
        """Build the agent's model, or load it from the folder ``path`` that ``do_save_model`` wrote."""

    def do_save_model(self, path: str) -> None:
        """Write the agent's model to the folder ``path``."""
        raise NotImplementedError

    def do_agent_registered(self, agent_cfg: dict[str, Any]) -> None:
        """Receive the settings of the agent from the orchestrator: ``name``, ``url`` and perhaps more."""

    def do_episode_started(self, episode_cfg: dict[str, Any]) -> None:
        """Prepare for an episode.

        Args:
            episode_cfg: ``obs``, the first observations by agent, and any other settings of the orchestrator.
        """

    def do_get_action(self, obs: dict[str, list[float]]) -> dict[str, Any]:
        """Choose an action.

        Args:
            obs: the observations, by agent.

        Returns:
            agent → action, a list of numbers. Arrays of numpy are converted.
        """
        raise NotImplementedError

    def do_replay_action(self, obs: dict[str, Any]) -> None:
        """Learn from a step of the game.

        Args:
            obs: ``prev_obs``, ``actions``, ``rewards`` and ``new_obs``, each by agent, and ``done``.
        """

    def do_episode_stopped(self) -> None:
        """Finish the episode."""

    def do_reset(self, unload_model: bool = True) -> None:
        """Release resources before a reset.

        Args:
            unload_model: whether the process ends right afterwards. If not, keep the model: the agent is initialized again,
                and is going to be registered for another game.
        """
