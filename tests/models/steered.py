"""Every hook does what it is told through a named pipe, so that a test decides when what happens.

The property ``gate`` is the path of the pipe. The commands are ``d``: the hook is done; ``f``: it raises; ``u``: it raises
NotImplementedError; ``s``: it comes to a pause point and then waits for the next command; ``x``: its process dies.
Without a gate every hook is done at once.
"""

from __future__ import annotations

import os
import signal
import weakref
from typing import Any

from mistk_service import (
    AbstractAgent,
    AbstractEvaluationPlugin,
    AbstractModel,
    AbstractOrchestrator,
    AbstractTransformPlugin,
    StopActivity,
)
from mistk_service.kinds.component import Component


class Obeys(Component):
    def __init__(self) -> None:
        self._gate: int | None = None
        self.steps_done = 0

    def obey(self) -> None:
        if self._gate is None:
            return
        while (command := os.read(self._gate, 1)) != b"d":
            if command == b"s":
                self.pause_point()
                self.steps_done += 1
                self.update_status({"steps": self.steps_done})
            elif command == b"f":
                raise ValueError("told to fail")
            elif command == b"u":
                raise NotImplementedError("told not to")
            elif command == b"x":
                os.kill(os.getpid(), signal.SIGKILL)
            else:  # the test is over
                raise StopActivity

    def steer_by(self, gate: str) -> None:
        if self._gate is None:
            # At once, also where the test is over and nobody holds the other end any more.
            self._gate = os.open(gate, os.O_RDONLY | os.O_NONBLOCK)
            os.set_blocking(self._gate, True)
            weakref.finalize(self, os.close, self._gate)


class Steered(Obeys, AbstractModel):
    def do_initialize(self, objectives: list[str], props: dict[str, Any], hparams: dict[str, Any]) -> None:
        if "gate" in props:
            self.steer_by(props["gate"])
            if props.get("from_the_start"):
                self.obey()

    def do_load_data(self, dataset_map: dict[str, Any]) -> None:
        self.obey()

    def do_build_model(self, path: str | None = None) -> None:
        self.obey()

    def do_train(self) -> None:
        self.obey()

    def do_build_ensemble(self, ensemble_path: str | None = None, model_paths: dict[str, str] | None = None) -> None:
        """Leave it to ``do_build_model``, which follows."""

    def do_miniaturize(self, dataPath: str, includeHalfPrecision: bool) -> None:
        self.obey()

    def do_save_model(self, path: str) -> None:
        self.obey()

    def do_predict(self) -> None:
        self.obey()

    def do_save_predictions(self, dataPath: str) -> None:
        self.obey()

    def do_stream_predict(self, data_map: dict[str, str], details: bool = False) -> dict[str, Any]:
        self.obey()
        return dict(data_map)

    def do_stream_predict_source(self, source: str, format: str | None, props: dict[str, Any]) -> None:
        self.obey()

    def do_update_stream_properties(self, props: dict[str, Any]) -> None:
        self.obey()

    def do_evaluate(self, *arguments: Any) -> None:
        self.obey()

    def do_generate(self) -> None:
        self.obey()

    def do_save_generations(self, dataPath: str) -> None:
        self.obey()


class SteeredAgent(Obeys, AbstractAgent):
    def do_initialize(self, props: dict[str, Any], hparams: dict[str, Any]) -> None:
        self.steer_by(props["gate"])
        self.obey()

    def do_build_model(self, path: str | None = None) -> None:
        self.obey()

    def do_save_model(self, path: str) -> None:
        self.obey()

    def do_agent_registered(self, agent_cfg: dict[str, Any]) -> None:
        self.obey()

    def do_episode_started(self, episode_cfg: dict[str, Any]) -> None:
        self.obey()

    def do_get_action(self, obs: dict[str, list[float]]) -> dict[str, Any]:
        self.obey()
        return obs

    def do_replay_action(self, obs: dict[str, Any]) -> None:
        self.obey()

    def do_episode_stopped(self) -> None:
        self.obey()

    def do_reset(self, unload_model: bool = True) -> None:
        if not unload_model:
            self.obey()


class QuietAgent:
    def __init__(self, name: str, url: str) -> None:
        pass

    def agent_registered(self, agent_cfg: dict[str, Any]) -> None:
        pass

    def episode_stopped(self) -> None:
        pass


class SteeredOrchestrator(Obeys, AbstractOrchestrator):
    _mistk_agent_class = "steered:QuietAgent"

    def do_initialize(self, env: dict[str, Any], agents_needed: int) -> None:
        self.steer_by(env["gate"])
        self.obey()

    def do_register_agent(self, agent_name: str, agent_url: Any) -> None:
        self.obey()

    def do_start_episode(self, episode_cfg: dict[str, Any]) -> None:
        self.obey()

    def do_stop_episode(self) -> None:
        self.obey()

    def do_save_episode(self, path: str) -> None:
        self.obey()


class SteeredEvaluation(Obeys, AbstractEvaluationPlugin):
    def do_evaluate(self, *arguments: Any) -> None:
        self.steer_by(arguments[-1]["gate"])
        self.obey()


class SteeredTransform(Obeys, AbstractTransformPlugin):
    def do_transform(self, inputDirs: Any, outputDir: Any, properties: dict[str, Any]) -> None:
        self.steer_by(properties["gate"])
        self.obey()
