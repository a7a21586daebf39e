"""Property tests with writes, outages and crashes: in the end, the remote has everything once."""

from __future__ import annotations

import math
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from mistk_service.tracking.errors import StoreUnavailable
from mistk_service.tracking.replication.sync import sync
from mistk_service.tracking.values import (
    Dataset,
    DatasetInput,
    LifecycleStage,
    Metric,
    ModelOutput,
    Param,
    RunStatus,
    Tag,
)
from tests.support.copies import content, copies, files
from tests.support.examples import examples
from tests.support.stand_in import Abilities
from tests.tracking.replication.conftest import NAME, World

KEYS = st.sampled_from(["a", "b/c"])
VALUES = st.sampled_from([0.0, -1.5, math.nan, math.inf, -math.inf])
#: The calls until something fails, and whether it fails before the call is applied or after it.
FAULTS = st.tuples(st.integers(0, 9), st.booleans())


class Killed(BaseException):
    """The process is no more."""


class Replay(RuleBasedStateMachine):
    """A store that is written to, and a remote behind a bad network."""

    @initialize(once=st.booleans())
    def begin(self, once):
        self.folder = Path(tempfile.mkdtemp())
        self.world = World(self.folder)
        self.world.remote.capabilities = Abilities(stores_repeats_once=once)
        self.runs = [self.world.run(run_name="first")]
        self.count = 0
        self.versions = 0
        self.world.local.create_registered_model("model")

    def teardown(self):
        if not hasattr(self, "world"):
            return
        try:
            self.quiet()
            self.world.clock.now += 100
            self.world.restart()
            self.world.deliver()
            self.compare()
        finally:
            self.world.close()
            shutil.rmtree(self.folder)

    def compare(self):
        world = self.world
        found = copies(world.remote.store)
        assert found.keys() == set(self.runs)
        for run_id, copy in found.items():
            local = content(world.local, run_id)
            if "mlflow.parentRunId" in local["tags"]:
                local["tags"]["mlflow.parentRunId"] = found[local["tags"]["mlflow.parentRunId"]]
            assert content(world.remote.store, copy) == local
            roots = [f"{self.world.experiment}/{run_id}", f"{self.experiment_there(copy)}/{copy}"]
            there, here = (
                {path.removeprefix(root): data for path, data in files(where, root).items()}
                for where, root in zip((world.artifacts, world.remote.artifacts), roots, strict=True)
            )
            assert there == here
        versions = world.remote.store.search_model_versions("name = 'model'")
        assert len(versions) == self.versions
        if not world.remote.capabilities.stores_repeats_once:
            assert set(world.remote.received.values()) <= {1}
        assert world.local.journal.ledger(NAME).refusals() == []

    def experiment_there(self, copy):
        return self.world.remote.store.get_run(copy).info.experiment_id

    def quiet(self):
        self.world.remote.before = self.world.remote.after = lambda name: None

    def active(self, number):
        """Return one of the runs that may be written to, or None."""
        runs = [
            run_id
            for run_id in self.runs
            if self.world.local.get_run(run_id).info.lifecycle_stage is LifecycleStage.ACTIVE
        ]
        return runs[number % len(runs)] if runs else None

    @rule(parent=st.booleans(), number=st.integers(0, 9))
    @precondition(lambda self: len(self.runs) < 4)
    def create_run(self, parent, number):
        tags = [Tag("mlflow.parentRunId", self.runs[number % len(self.runs)])] if parent else []
        self.runs.append(self.world.run(user_id="me", start_time=number, tags=tags))

    @rule(number=st.integers(0, 9), key=KEYS, values=st.lists(VALUES, min_size=1, max_size=3), tag=st.booleans())
    def log(self, number, key, values, tag):
        run_id = self.active(number)
        if run_id is None:
            return
        self.count += 1
        metrics = [Metric(key, value, self.count, step) for step, value in enumerate(values)]
        tags = [Tag(key, str(self.count))] if tag else []
        self.world.local.log_batch(run_id, metrics, [Param(f"p{self.count}", "x")], tags)

    @rule(number=st.integers(0, 9))
    def delete_a_tag(self, number):
        run_id = self.active(number)
        if run_id is not None:
            tags = [tag.key for tag in self.world.local.get_run(run_id).data.tags if tag.key in ("a", "b/c")]
            for key in tags[:1]:
                self.world.local.delete_tag(run_id, key)

    @rule(number=st.integers(0, 9), status=st.sampled_from(RunStatus), name=st.sampled_from([None, "x", "y"]))
    def update(self, number, status, name):
        run_id = self.active(number)
        if run_id is not None:
            self.count += 1
            self.world.local.update_run(run_id, status, self.count, name)

    @rule(number=st.integers(0, 9))
    def delete_or_restore(self, number):
        run_id = self.runs[number % len(self.runs)]
        deleted = self.world.local.get_run(run_id).info.lifecycle_stage is LifecycleStage.DELETED
        (self.world.local.restore_run if deleted else self.world.local.delete_run)(run_id)

    @rule(number=st.integers(0, 9), kind=st.sampled_from(["inputs", "outputs", "file", "version"]))
    def log_more(self, number, kind):
        run_id = self.active(number)
        if run_id is None:
            return
        self.count += 1
        match kind:
            case "inputs":
                self.world.local.log_inputs(run_id, [DatasetInput(Dataset("d", str(self.count)))])
            case "outputs":
                self.world.local.log_outputs(run_id, [ModelOutput("m-1", self.count)])
            case "file":
                self.world.put(run_id, f"folder/{number % 2}", str(self.count).encode() * (1 + number))
            case "version":
                self.world.local.create_model_version("model", f"runs:/{run_id}/folder", run_id)
                self.versions += 1

    @rule(fault=FAULTS)
    def deliver_until_the_network_fails(self, fault):
        self.break_network(fault, StoreUnavailable("the network is away"))
        self.world.clock.now += 100
        while self.world.replicator.step():
            pass
        self.quiet()

    @rule(fault=FAULTS)
    def deliver_until_the_process_is_killed(self, fault):
        self.break_network(fault, Killed())
        self.world.clock.now += 100
        try:
            while self.world.replicator.step():
                pass
        except Killed:
            self.world.restart()
        self.quiet()

    @rule(fault=FAULTS)
    def sync_until_the_network_fails(self, fault):
        self.break_network(fault, StoreUnavailable("the network is away"))
        remote: Any = self.world.remote
        with suppress(StoreUnavailable):
            sync(self.world.local, remote, NAME, artifacts=self.world.artifacts)
        self.quiet()

    @rule()
    def deliver(self):
        self.world.clock.now += 100
        self.world.deliver()

    def break_network(self, fault, error):
        calls, applied = fault
        left = iter(range(calls))

        def fail(name):
            if next(left, None) is None:
                raise error

        if applied:
            self.world.remote.after = fail
        else:
            self.world.remote.before = fail


Replay.TestCase.settings = settings(
    max_examples=examples(15), stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.timeout(600)
class TestReplay(Replay.TestCase):  # type: ignore[misc, valid-type]
    """Runs the machine."""


def test_a_deletion_survives_outages_while_the_tags_of_the_deleted_run_are_removed():
    # An example that the property found once.
    replay = Replay()
    replay.begin(once=False)
    try:
        replay.log(number=0, key="b/c", tag=False, values=[0.0, 0.0])
        replay.deliver_until_the_network_fails(fault=(0, False))
        replay.log(number=0, key="b/c", tag=True, values=[0.0])
        replay.delete_or_restore(0)
        replay.deliver_until_the_network_fails(fault=(0, False))
        replay.log(number=0, key="a", tag=True, values=[0.0, 0.0, 0.0])
        replay.deliver_until_the_network_fails(fault=(8, False))
        replay.delete_or_restore(0)
        replay.sync_until_the_network_fails(fault=(2, False))
        replay.log(number=0, key="b/c", tag=True, values=[0.0, 0.0])
        replay.delete_a_tag(0)
        replay.delete_or_restore(0)
        replay.deliver_until_the_network_fails(fault=(8, False))
        replay.sync_until_the_network_fails(fault=(0, True))
    finally:
        replay.teardown()
