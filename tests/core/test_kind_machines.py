"""The property tests of the state machine for the other kinds, with the states of their contracts."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import precondition, run_state_machine_as_test

from mistk_service.kinds import all_kinds
from mistk_service.kinds.agent import AGENT
from mistk_service.kinds.evaluation import EVALUATION
from mistk_service.kinds.model import MODEL
from mistk_service.kinds.orchestrator import ORCHESTRATOR
from mistk_service.kinds.transform import TRANSFORM
from mistk_service.resources import load_contract
from tests.core.test_state_machine_properties import Lifecycle
from tests.support.examples import examples


@cache
def table_of(name: str) -> dict[str, dict[str, Any]]:
    """Return what the contract says of the states, by operation."""
    paths = load_contract(f"mistk-{name}-api.yaml")["paths"]
    operations = {path.strip("/"): method for path, item in paths.items() for method in item.values()}
    return {name: each["x-mistk-states"] for name, each in operations.items() if "x-mistk-states" in each}


class KindLifecycle(Lifecycle):
    """An instance of a kind without pauses, and beside it what the contract says of it.

    Attributes:
        works: the operations that are work.
    """

    prediction: str | None = None
    works: tuple[str, ...] = ()

    @property
    def table(self) -> dict[str, dict[str, Any]]:
        return table_of(self.component.name)

    def allows(self, operation: str) -> bool:
        return operation in self.table and self.state in self.table[operation]["allowed"]

    def running(self, operation: str) -> str:
        states = self.table[operation]["while"]
        return states if isinstance(states, str) else states[0]

    def then(self, operation: str) -> str:
        state = self.table[operation]["then"]
        return self.origin if state == "back" else state

    def takes_work(self) -> bool:
        return self.state in {state for name in self.works for state in self.table[name]["allowed"]}

    def may_decline(self, operation: str) -> bool:
        return operation.startswith("save")  # an evaluation is what its container is for

    def arguments(self, operation: str) -> tuple[Any, ...]:
        """Return proper arguments of an operation."""
        raise NotImplementedError

    async def send(self, operation: str) -> dict[str, Any]:
        if operation == self.prediction:
            return await self.instance.stream({"a": ""})
        return await self.instance.call(operation, *self.arguments(operation))

    # These are about models.
    call_with_a_bad_argument = precondition(lambda _: False)(Lifecycle.call_with_a_bad_argument)


class AgentLifecycle(KindLifecycle):
    component, model, calls = AGENT, "steered:SteeredAgent", list(table_of("agent"))
    prediction, predicts_in, predicting = "getAction", "in_episode", "getting_action"
    works = ("episodeStarted",)

    def running(self, operation: str) -> str:
        if operation == "saveModel":
            return "saving_model_init" if self.state == "initialized" else "saving_model_ready"
        return super().running(operation)

    def takes_work(self) -> bool:
        return super().takes_work() or self.state in ("in_episode", "getting_action")

    def arguments(self, operation: str) -> tuple[Any, ...]:
        given: dict[str, tuple[Any, ...]] = {
            "initialize": ({"gate": str(self.gate.path)}, {}),
            "buildModel": (None,),
            "saveModel": (self.folder.name,),
            "agentRegistered": ({"name": "x"},),
            "episodeStarted": ({"obs": {}},),
            "replayAction": ({},),
        }
        return given.get(operation, ())


class OrchestratorLifecycle(KindLifecycle):
    component, model, calls = ORCHESTRATOR, "steered:SteeredOrchestrator", list(table_of("orchestrator"))
    first = "uninitialized"
    works = ("startEpisode",)

    def __init__(self) -> None:
        self.agents = 0
        super().__init__()

    def then(self, operation: str) -> str:
        if operation == "initialize":
            self.agents = 0
        if operation != "registerAgent":
            return super().then(operation)
        self.agents += 1
        return "ready" if self.agents == 2 else "waiting_for_agents"

    def arguments(self, operation: str) -> tuple[Any, ...]:
        given: dict[str, tuple[Any, ...]] = {
            "initialize": ({"gate": str(self.gate.path)}, 2),
            "registerAgent": (f"agent-{self.agents}", "http://127.0.0.1:8081", False),
            "startEpisode": ({},),
            "saveEpisode": (self.folder.name,),
        }
        return given.get(operation, ())


class EvaluationLifecycle(KindLifecycle):
    component, model, calls = EVALUATION, "steered:SteeredEvaluation", list(table_of("evaluation"))
    works = ("evaluate",)

    def arguments(self, operation: str) -> tuple[Any, ...]:
        gate = {"gate": str(self.gate.path)}
        return ("Regression", [], "/nowhere", "predictions", "/nowhere", None, gate) if operation == "evaluate" else ()


class TransformLifecycle(KindLifecycle):
    component, model, calls = TRANSFORM, "steered:SteeredTransform", list(table_of("transform"))
    works = ("transform",)

    def arguments(self, operation: str) -> tuple[Any, ...]:
        return ([], None, {"gate": str(self.gate.path)}) if operation == "transform" else ()


MACHINES = (AgentLifecycle, OrchestratorLifecycle, EvaluationLifecycle, TransformLifecycle)


def test_every_kind_is_attacked() -> None:
    assert {machine.component.name for machine in MACHINES} | {MODEL.name} == {kind.name for kind in all_kinds()}


@pytest.mark.hypothesis
@pytest.mark.timeout(300)
@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.component.name)
def test_any_call_is_refused_and_changes_nothing_or_does_what_was_asked(machine: type[KindLifecycle]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples(6),
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
