"""Property tests of the state machine: any call is either refused without a change, or carried out.

Hypothesis drives an instance through sequences of calls and of what a model can do, allowed or not, and compares it at every
turn with a model of the design's table that is written down here on its own.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from mistk_service.core.events import ActivityBegan, ActivityEnded, Event
from mistk_service.core.view import InstanceView
from mistk_service.errors import HookFailed, InvalidRequest, OperationRefused, OperationUnsupported, WorkerDied
from mistk_service.kinds.model import MODEL
from tests.recording.conftest import outcome_of, story_in
from tests.support.examples import examples
from tests.support.harness import TIMEOUT, Gate, Instance, of_type, version_of

RUNNING = {
    "initialize": "initializing",
    "loadData": "loading_data",
    "buildModel": "building_model",
    "buildEnsemble": "building_ensemble",
    "train": "training",
    "miniaturize": "miniaturizing",
    "predict": "predicting",
    "updateStreamProperties": "updating_properties",
    "streamPredict/source": "predicting",
    "generate": "generating",
    "evaluate": "evaluating",
    "saveModel": "saving_model",
    "savePredictions": "saving_predictions",
    "saveGenerations": "saving_generations",
}
RESUMED = {"resumeTraining": "train", "resumePredict": "predict"}
SOURCE, CANCEL = "streamPredict/source", "streamPredict/source/cancel"
CALLS = [*RUNNING, "streamPredict", CANCEL, "pause", *RESUMED, "reset", "shutdown"]


class Lifecycle(RuleBasedStateMachine):
    """An instance, and beside it what the design says of it.

    Attributes:
        state: where it has to be.
        activity: what runs or is paused.
        has_failed: whether the status tells of a failure; only a reset takes that away.
        saving: whether a saving runs while that is paused.
        cancelled: whether it has been asked to end at its next pause point.
        origin: where the activity began.
        answers: the stream predictions in flight, the oldest first.
    """

    kind = "thread"
    component = MODEL
    model = "steered:Steered"
    calls = CALLS
    prediction: str | None = "streamPredict"
    #: The states of a new instance, and of one in which predictions are made.
    first, predicts_in, predicting = "started", "ready", "predicting"

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.faults: list[dict[str, Any]] = []
        self.runner.get_loop().set_exception_handler(lambda _, context: self.faults.append(context))
        self.folder = tempfile.TemporaryDirectory()
        self.gate = Gate(Path(self.folder.name) / "gate")
        self.recorded = story_in(Path(self.folder.name) / "live", self.component)
        self.instance = Instance(self.model, self.kind, observers=[self.record], component=self.component)
        self.runner.run(self.instance.start())
        self.state = self.first
        self.activity: str | None = None
        self.saving = self.cancelled = False
        self.origin = self.first
        self.answers: list[asyncio.Task[Any]] = []
        self.streamed = 0
        self.has_failed = False
        #: Whether the worker has been told to end.
        self.ending = False

    def record(self, event: Event) -> None:
        """Let the run follow from an event as it happens."""
        self.recorded.tell(event)

    def teardown(self) -> None:
        self.gate.close()
        for answer in self.answers:
            answer.cancel()
        self.runner.run(self.instance.close())
        self.runner.close()
        replayed = story_in(Path(self.folder.name) / "replayed", self.component).tell(*self.instance.events)
        assert outcome_of(replayed.close()) == outcome_of(self.recorded.close())
        replayed.store.close()
        self.recorded.store.close()
        self.folder.cleanup()
        assert not self.faults

    # --- what the design says -------------------------------------------------------------------------------------

    def is_possible(self, operation: str) -> bool:
        """Return whether the table allows an operation now."""
        if operation == "shutdown":
            return self.state != "terminated"
        if operation == "reset":
            return self.state not in ("terminating", "terminated")
        if self.answers:
            return operation == self.prediction and self.state == self.predicting
        return self.allows(operation)

    def allows(self, operation: str) -> bool:
        """Return whether the table allows an operation in the present state, but for reset and shutdown."""
        if operation == "streamPredict" and self.state == "updating_properties":
            return True
        if operation == "initialize":
            return self.state == "started"
        if operation == "buildEnsemble":
            return self.state == "initialized"
        if operation in ("loadData", "buildModel"):
            return self.state in ("initialized", "ready")
        if operation == "saveModel":
            return self.state in ("ready", "paused")
        if operation == "pause":
            return self.state in ("training", "predicting") and self.activity != SOURCE
        if operation == CANCEL:
            return self.state == "predicting" and self.activity == SOURCE
        if operation in RESUMED:
            return self.state == "paused" and self.activity == RESUMED[operation]
        return self.state == "ready"

    def running(self, operation: str) -> str:
        """Return the state while an operation runs that begins in the present state."""
        return RUNNING[operation]

    def then(self, operation: str) -> str:
        """Return the state after an operation that was done."""
        if operation == "initialize":
            return "initialized"
        return self.origin if operation in ("loadData", "saveModel") else "ready"

    def takes_work(self) -> bool:
        """Return whether work can begin."""
        return self.is_possible("streamPredict")

    def may_decline(self, operation: str) -> bool:
        """Return whether a hook that says that it does not do this leads back to where it began."""
        return operation.startswith(("save", "evaluate"))

    def onward(self) -> list[str]:
        """Return what is allowed and ends nothing."""
        return [name for name in self.calls if self.is_possible(name) and name not in ("reset", "shutdown")]

    @property
    def waits_at_gate(self) -> bool:
        """Whether a hook waits to be told what to do."""
        return bool(self.answers) or self.saving or (self.activity is not None and self.state != "paused")

    @property
    def shown(self) -> str | None:
        """The activity that the status shows."""
        return "saveModel" if self.saving else self.activity

    # --- calls ----------------------------------------------------------------------------------------------------

    @rule(data=st.data())
    def call(self, data: st.DataObject) -> None:
        """Call whatever there is, allowed or not."""
        operation = data.draw(st.sampled_from(self.calls))
        if self.is_possible(operation):
            self.runner.run(self.accepted(operation))
        elif operation in ("shutdown", CANCEL):
            # To ask for the end once more is no fault, nor for the end of what does not run.
            before = self.facts()
            assert self.runner.run(self.send(operation))["state"] == self.state
            assert self.facts() == before
        else:
            self.runner.run(self.refused(operation))

    @precondition(lambda self: self.onward())
    @rule(data=st.data())
    def proceed(self, data: st.DataObject) -> None:
        """Call what is allowed, so that the sequences lead somewhere."""
        self.runner.run(self.accepted(data.draw(st.sampled_from(self.onward()))))

    async def refused(self, operation: str) -> None:
        before = self.facts()
        with pytest.raises(OperationRefused) as caught:
            await self.send(operation)
        assert not isinstance(caught.value, OperationUnsupported)
        assert (caught.value.operation, caught.value.state) == (operation, self.state)
        assert caught.value.activity == self.shown
        assert set(caught.value.possible) == {name for name in self.calls if self.is_possible(name)}
        assert self.facts() == before

    @precondition(lambda self: self.is_possible("saveModel") or self.is_possible("buildModel"))
    @rule()
    def call_with_a_bad_argument(self) -> None:
        """What is wrong with an allowed call changes nothing either."""
        # The call looks at files on a thread; what waited to be published would be meanwhile.
        self.instance.controller.log.publish()
        before = self.facts()
        call = ("saveModel", "") if self.is_possible("saveModel") else ("buildModel", f"{self.folder.name}/nowhere")
        with pytest.raises(InvalidRequest):
            self.runner.run(self.instance.call(*call))
        assert self.facts() == before

    async def send(self, operation: str) -> dict[str, Any]:
        """Call an operation with proper arguments."""
        if operation == "streamPredict":
            return await self.instance.stream({"a": ""})
        arguments: dict[str, Any] = {
            "initialize": {"gate": str(self.gate.path), "from_the_start": True},
            "updateStreamProperties": {},
            SOURCE: "anywhere",
            **dict.fromkeys(("miniaturize", "saveModel", "savePredictions", "saveGenerations"), self.folder.name),
        }
        if operation == "evaluate":
            return await self.instance.call(operation, "Regression", [], "anywhere", None, {})
        return await self.instance.call(operation, *([arguments[operation]] if operation in arguments else []))

    async def accepted(self, operation: str) -> None:
        if operation == self.prediction:
            self.streamed += 1
            self.answers.append(asyncio.ensure_future(self.instance.stream({"a": str(self.streamed)})))
            await asyncio.sleep(0)
            if self.state not in (self.predicts_in, self.predicting):
                self.gate.tell("d")  # it waits for the activity, and for nothing else
                await self.instance.until(self.predicting)
                self.activity = None
            self.state = self.predicting
            return
        before = self.instance.version, self.instance.payload.get("steps", 0)
        if operation == CANCEL:
            await self.send(operation)
            await self.instance.heard()
            self.cancelled = True
            return
        again = self.state == {"reset": "resetting", "shutdown": "terminating"}.get(operation)
        status = await self.send(operation)
        self.ending = self.ending or operation in ("reset", "shutdown")
        if again:
            assert version_of(status) == before[0]
            return
        if operation in RESUMED:
            self.state = RUNNING[RESUMED[operation]]
            await self.instance.until(lambda status: status["payload"].get("steps", 0) > before[1])
        elif operation in ("pause", "reset", "shutdown"):
            self.state = {"pause": "pausing", "reset": "resetting", "shutdown": "terminating"}[operation]
        else:
            self.begin(operation)
        assert status["state"] == self.state
        assert version_of(status) > before[0]
        if self.ending and not self.waits_at_gate:
            await self.ended()

    def begin(self, operation: str) -> None:
        self.cancelled = False
        if self.state == "paused":
            self.saving = True
        else:
            self.activity, self.origin = operation, self.state
        self.state = self.running(operation)

    # --- what the model does --------------------------------------------------------------------------------------

    @precondition(lambda self: self.waits_at_gate)
    @rule(how=st.sampled_from(["done", "done", "fails", "unsupported"]))
    def end_of_a_hook(self, how: str) -> None:
        """The hook that waits returns or raises."""
        self.gate.tell({"done": "d", "fails": "f", "unsupported": "u"}[how])
        if self.answers:
            self.runner.run(self.answer_ended(how))
        elif self.ending:
            # The nested one ends first, and then what was paused stops at its pause point.
            self.runner.run(self.ended())
        else:
            self.runner.run(self.activity_ended(how))

    async def answer_ended(self, how: str) -> None:
        answer = self.answers.pop(0)
        number = self.streamed - len(self.answers)
        if how == "done":
            assert await answer == {"a": str(number)}
        else:
            with pytest.raises(HookFailed if how == "fails" else OperationUnsupported):
                await answer
        if not self.answers and self.state == self.predicting:
            self.state = self.predicts_in
        elif not self.answers:
            await self.ended()

    async def activity_ended(self, how: str) -> None:
        operation = self.shown
        assert operation is not None
        # A saving beside what is paused costs only itself.
        fails = not self.saving and (how == "fails" or (how == "unsupported" and not self.may_decline(operation)))
        if fails:
            self.state, self.activity = "failed", None
            self.has_failed = True
        elif self.saving:
            self.state, self.saving = "paused", False
        else:
            self.state = self.then(operation) if how == "done" else self.origin
            self.activity = None
        status = await self.instance.until(self.state)
        if fails:
            assert status["payload"]["operation"] == operation
            assert status["payload"]["error"]["message"] == ("told to fail" if how == "fails" else "told not to")
        else:
            outcome = {"done": "completed", "fails": "failed", "unsupported": "unsupported"}[how]
            last = status["payload"]["lastActivity"]
            assert (last["operation"], last["outcome"]) == (operation, outcome)

    @precondition(lambda self: self.waits_at_gate)
    @rule()
    def step(self) -> None:
        """The hook that waits comes to a pause point."""
        self.runner.run(self.stepped())

    async def stepped(self) -> None:
        if self.activity == SOURCE and self.cancelled and self.state == "predicting":
            self.gate.tell("s")
            self.state, self.activity = "ready", None
            status = await self.instance.until("ready")
            assert status["payload"]["lastActivity"]["outcome"] == "completed"
        elif self.state == "pausing":
            await self.instance.step_until(self.gate, "paused")
            self.state = "paused"
        elif self.ending and not self.answers:
            await self.instance.step_until(self.gate, self.end_of_life())
            await self.ended()
        elif not self.ending:
            steps = self.instance.payload.get("steps", 0)
            self.gate.tell("s")
            await self.instance.until(lambda status: status["payload"].get("steps", 0) > steps)

    def end_of_life(self) -> str:
        return "terminated" if self.state == "terminating" else self.first

    async def ended(self) -> None:
        """Wait for the end of a reset or a shutdown."""
        self.has_failed &= self.state == "terminating"
        self.ending = False
        self.state = self.end_of_life()
        self.activity, self.saving = None, False
        await self.instance.until(self.state)

    # --- always ---------------------------------------------------------------------------------------------------

    def facts(self) -> tuple[Any, ...]:
        """Return all that a refused call must not change."""
        instance = self.instance
        return instance.version, instance.state, list(instance.events), instance.payload, len(instance.workers)

    @invariant()
    def the_instance_is_where_the_design_says(self) -> None:
        status = self.instance.payload
        assert self.instance.state == self.state
        assert set(status["possible"]) == {name for name in self.calls if self.is_possible(name)}
        assert status.get("activity", {}).get("operation") == self.shown
        assert ("error" in status) == self.has_failed
        assert self.instance.controller.view.in_flight == len(self.answers)
        assert self.instance.controller.can_accept_work == self.takes_work()

    @invariant()
    def the_events_alone_rebuild_the_state_and_the_status(self) -> None:
        view = InstanceView(self.component, self.instance.controller.view.name)
        for event in self.instance.events:
            view.apply(event)
        assert (view.state, view.status()) == (self.instance.state, self.instance.controller.view.status())

    @invariant()
    def what_began_has_ended_or_still_runs(self) -> None:
        began = [event.operation for event in of_type(self.instance.events, ActivityBegan)]
        ended = [event.operation for event in of_type(self.instance.events, ActivityEnded)]
        still = [name for name in (self.activity, "saveModel" if self.saving else None) if name]
        assert sorted(began) == sorted(ended + still)


class LifecycleInAProcess(Lifecycle):
    """The same, with a worker that can die."""

    kind = "process"

    @precondition(lambda self: self.state not in ("resetting", "terminating", "terminated", "failed"))
    @rule()
    def death(self) -> None:
        """The worker is killed from outside."""
        self.runner.run(self.died())

    async def died(self) -> None:
        os.kill(self.instance.pid, signal.SIGKILL)
        status = await self.instance.until("failed")
        assert "SIGKILL" in status["payload"]["error"]["message"]
        async with asyncio.timeout(TIMEOUT):
            outcomes = await asyncio.gather(*self.answers, return_exceptions=True)
        assert all(isinstance(outcome, WorkerDied) for outcome in outcomes)
        self.state, self.activity, self.saving, self.answers = "failed", None, False, []
        self.has_failed = True


class LifecycleOnRay(LifecycleInAProcess):
    """The same, with a worker on Ray."""

    kind = "ray"


@pytest.mark.hypothesis
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("machine", "count"), [(Lifecycle, 25), (LifecycleInAProcess, 8)])
def test_any_call_is_refused_and_changes_nothing_or_does_what_was_asked(
    machine: type[RuleBasedStateMachine], count: int, isolated: str
):
    if isolated == "ray":
        machine, count = LifecycleOnRay, count // 5  # an actor takes a second to start
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples(count),
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
