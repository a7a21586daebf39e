"""Containers that share a PostgreSQL store: each run has one writer, whatever happens to the containers."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from mistk_service.tracking import open_store
from mistk_service.tracking.sql import SqlStore
from mistk_service.tracking.values import Run
from tests.service.harness import OBEDIENT, Service, wait_until
from tests.support import postgres
from tests.support.namespaces import forwarded, namespaces

pytestmark = pytest.mark.timeout(120)

#: Seconds: more than a busy machine keeps a container from renewing it.
LEASE = 5.0

postgres_url, postgres_database = postgres.postgres_url, postgres.postgres_database


@pytest.fixture
def store(postgres_database: str) -> Iterator[SqlStore]:
    """The store."""
    with open_store(postgres_database) as store:
        assert isinstance(store, SqlStore)
        yield store


@pytest.fixture
def container(postgres_database: str, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Start containers by name, each with a state directory of its own, as on machines of their own."""
    with ExitStack() as stack:

        def start(name: str, lease: float = 60, *more: str, url: str = postgres_database, **how: Any) -> Service:
            options = ("--port", "0", "--state-dir", name, "--tracking-uri", url, "--run-lease", str(lease), *more)
            return stack.enter_context(Service("serve", OBEDIENT, *options, cwd=tmp_path, **how))

        yield start


def runs(store: SqlStore) -> dict[str, Run]:
    """Return all runs by their id."""
    experiments = [each.experiment_id for each in store.search_experiments()]
    return {run.info.run_id: run for run in store.search_runs(experiments)}


def begin(service: Service, train: str = "steps_for_ever") -> str:
    """Begin a training without end, and return the id of its run."""
    service.make_ready(train=train)
    status = service.wait(lambda s: "run" in s["payload"], service.post("train"))
    return str(status["payload"]["run"]["id"])


def tags(run: Run) -> dict[str, str]:
    return {tag.key: tag.value for tag in run.data.tags}


def test_the_runs_of_killed_containers_are_ended_by_those_that_live(
    container: Callable[..., Service], store: SqlStore
) -> None:
    survivor, *others = [container(name, LEASE) for name in ("a", "b", "c")]
    kept, *killed = [begin(each) for each in (survivor, *others)]
    wait_until(lambda: set(runs(store)) == {kept, *killed})
    for each in others:
        each.signal(signal.SIGKILL)
    wait_until(lambda: all(runs(store)[run].info.status.name == "FAILED" for run in killed))
    assert all("ContainerKilled" in tags(runs(store)[run])["mistk.failure"] for run in killed)
    assert runs(store)[kept].info.status.name == "RUNNING"


def test_a_container_that_loses_its_lease_says_so_and_continues_in_a_new_run(
    container: Callable[..., Service], store: SqlStore
) -> None:
    stopped, other = container("a", LEASE), container("b", LEASE)
    first = begin(stopped)
    begin(other)
    wait_until(lambda: len(runs(store)) == 2)
    stopped.signal(signal.SIGSTOP)
    wait_until(lambda: runs(store)[first].info.status.name == "FAILED")
    ended = runs(store)[first]
    stopped.signal(signal.SIGCONT)
    status = stopped.wait(lambda s: s["payload"].get("run", {}).get("id") not in (None, first), stopped.status())
    second = status["payload"]["run"]["id"]
    wait_until(lambda: runs(store)[second].info.status.name == "RUNNING")
    assert tags(runs(store)[second])["mistk.replacesRunId"] == first
    assert runs(store)[first] == ended, "nothing was written to it afterwards"
    stopped.wait_for_line("Another container has ended the runs of this one")


def test_a_run_that_another_container_writes_to_is_not_resumed(
    container: Callable[..., Service], store: SqlStore
) -> None:
    writer, other = container("a"), container("b")
    run = begin(writer)
    wait_until(lambda: run in runs(store))
    other.do("initialize", {"modelProperties": {"mlflow.runId": run}, "hyperparameters": {"train": "three_steps"}})
    other.do("buildModel")
    other.do("train")
    payload = other.settled()["payload"]
    assert payload["run"]["id"] != run
    assert f"Another container is writing to the run {run}" in str(payload)
    assert runs(store)[run].info.status.name == "RUNNING"


def test_the_lease_of_a_container_that_ends_in_order_is_given_back(
    container: Callable[..., Service], store: SqlStore
) -> None:
    service = container("a")
    run = begin(service)
    wait_until(lambda: run in runs(store))
    service.signal(signal.SIGTERM)
    assert service.wait_exit() == 0
    assert store.writer_leases.claim_expired("nobody", 0.0) is None
    assert runs(store)[run].info.status.name == "KILLED"


@pytest.mark.nightly  # Chromium aborts what it loads when a network interface appears
def test_a_container_that_is_cut_off_from_the_database_for_too_long_continues_in_a_new_run(
    container: Callable[..., Service], store: SqlStore, postgres_database: str
) -> None:
    database = make_url(postgres_database)
    with namespaces(2) as machines, ExitStack() as ports, ExitStack() as ends:
        services = []
        for number, machine in enumerate(machines):
            port = ports.enter_context(forwarded(machine.host, f"{database.query['host']}/.s.PGSQL.5432"))
            url = database.set(host=machine.host, port=port, query={"tcp_user_timeout": str(int(LEASE / 3 * 1000))})
            options = ("--host", machine.address, "--insecure")
            address = url.render_as_string(hide_password=False)
            services.append(container(str(number), LEASE, *options, url=address, prefix=machine.prefix))
            ends.callback(services[-1].end)
        cut_off, other = services
        first, kept = begin(cut_off, "report_calmly"), begin(other, "report_calmly")
        wait_until(lambda: {first, kept} == set(runs(store)))
        machines[0].cut()
        wait_until(lambda: runs(store)[first].info.status.name == "FAILED")
        ended = runs(store)[first]
        machines[0].mend()
        cut_off.wait_for_line("Another container has ended the runs of this one")
        status = cut_off.wait(lambda s: s["payload"].get("run", {}).get("id") not in (None, first), cut_off.status())
        second = status["payload"]["run"]["id"]
        wait_until(lambda: runs(store)[second].info.status.name == "RUNNING")
        assert tags(runs(store)[second])["mistk.replacesRunId"] == first
        assert runs(store)[first] == ended, "nothing was written to it afterwards"
        assert runs(store)[kept].info.status.name == "RUNNING"
        assert set(runs(store)) == {first, second, kept}
        for each in services:
            each.signal(signal.SIGTERM)
            assert each.wait_exit() == 0
        steps = {run: [point.step for point in store.get_metric_history(run, "loss")] for run in (first, second, kept)}
        for recorded in (steps[first] + steps[second], steps[kept]):
            assert recorded == list(range(len(recorded))), "from the first on, each once"


@pytest.mark.nightly
@pytest.mark.timeout(1200)
def test_a_hundred_containers_that_are_killed_at_random_leave_no_run_unended_and_no_value_twice(
    container: Callable[..., Service], store: SqlStore
) -> None:
    chance = random.Random(15)
    containers = [container(str(number), 30) for number in range(100)]
    owned = {}
    for each in containers:
        each.make_ready(train="report_calmly")
        owned[each] = str(each.wait(lambda s: "run" in s["payload"], each.post("train"))["payload"]["run"]["id"])
    wait_until(lambda: set(runs(store)) == set(owned.values()))
    killed = chance.sample(containers, 60)
    for each in killed:
        each.signal(signal.SIGKILL)
    wait_until(lambda: all(runs(store)[owned[each]].info.status.name == "FAILED" for each in killed))
    for each in containers:
        if each not in killed:
            assert runs(store)[owned[each]].info.status.name == "RUNNING"
            each.signal(signal.SIGTERM)
    for each in containers:
        assert each in killed or each.wait_exit() == 0
        history = [point.step for point in store.get_metric_history(owned[each], "loss")]
        assert history == list(range(len(history))), "from the first on, each once"
