"""Forwarding over HTTP to our server, MLflow's and a fake of GitLab, over an unreliable network."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from mistk_service.tracking.artifacts import open_artifacts
from mistk_service.tracking.replication import Backoff, open_remote
from mistk_service.tracking.replication.replicator import Replicator
from mistk_service.tracking.replication.sync import sync
from mistk_service.tracking.rest import RestConfig, open_rest_store
from mistk_service.tracking.server import create_tracking_app
from mistk_service.tracking.sql import SqlStore
from mistk_service.tracking.values import Dataset, DatasetInput, Metric, Param, RunStatus, Tag
from tests.support.copies import content, copies
from tests.support.gitlab import gitlab
from tests.support.preloaded import python
from tests.support.remotes import answer, proxy_to
from tests.support.serving import served

pytestmark = pytest.mark.timeout(240)  # the first test that wants MLflow's server waits for its start

#: What GitLab does not have or has in its own way.
GITLAB_LACKS = frozenset({"user", "tags", "stage"})


@dataclass
class Place:
    """A server that runs are forwarded to.

    Attributes:
        kind: ours, mlflow or gitlab.
        uri: its address.
        token: what it wants to see.
        project: GitLab's double, to look into.
    """

    kind: str
    uri: str
    token: str | None = None
    project: object | None = None

    @property
    def lacks(self):
        return GITLAB_LACKS if self.kind == "gitlab" else frozenset()

    def store(self):
        return open_rest_store(RestConfig(self.uri, token=self.token))


@contextmanager
def a_server_of_ours(folder):
    with SqlStore.open(f"sqlite:///{folder}/remote.db") as store:
        with served(create_tracking_app(store, open_artifacts(folder / "remote artifacts"))) as url:
            yield Place("ours", url)


@pytest.fixture(params=["ours", "mlflow", "gitlab"])
def place(request, tmp_path) -> Iterator[Place]:
    match request.param:
        case "ours":
            with a_server_of_ours(tmp_path) as place:
                yield place
        case "mlflow":
            yield Place("mlflow", request.getfixturevalue("mlflow_store_uri"))
        case _:
            with gitlab() as project:
                yield Place("gitlab", project.uri, project.token, project)
                assert set(project.received.values()) <= {1}


class Impatient(httpx.HTTPTransport):
    """The network, which may be given up earlier than the store would.

    Attributes:
        timeout: seconds to wait for an answer; None for what the store says.
    """

    timeout: float | None = None

    def __init__(self) -> None:
        super().__init__(limits=httpx.Limits(keepalive_expiry=4.0))  # as the store does it

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.timeout is not None:
            request.extensions["timeout"] = httpx.Timeout(self.timeout).as_dict()
        return super().handle_request(request)


class Local:
    """A local store with a replicator to a place, over a proxy."""

    def __init__(self, folder, place, proxy, name):
        self.store = SqlStore.open(f"sqlite:///{folder}/local.db")
        self.artifacts = open_artifacts(folder / "local artifacts")
        self.place = place
        self.proxy = proxy
        self.uri = place.uri.replace(place.uri.split("/")[2], proxy.url.removeprefix("http://"))
        self.now = 0.0
        if place.project is not None:
            # Where it says that artifacts belong is behind the proxy, too; the token goes to no other host.
            place.project.url = proxy.url
        self.store.journal.configure([self.uri])
        self.experiment = self.store.create_experiment(name)
        self.config = RestConfig(self.uri, token=self.place.token, timeout=30.0)
        self.opened: Any = None
        self.network: Impatient
        #: What is done to a remote that was opened.
        self.changed: Callable[[Any], None] = lambda remote: None
        self.restart()

    def open(self):
        self.network = Impatient()
        self.opened = open_rest_store(self.config, transport=self.network)
        self.changed(self.opened)
        return self.opened

    def restart(self):
        self.replicator = Replicator(
            self.store, self.artifacts, self.uri, self.open,
            clock=lambda: self.now, backoff=Backoff(lambda: 1.0),
        )  # fmt: skip

    def run(self, **options):
        return self.store.create_run(self.experiment, **options).info.run_id

    def put(self, run_id, path, data):
        upload = self.artifacts.create(f"{self.experiment}/{run_id}/artifacts/{path}")
        upload.write(data)
        upload.commit()
        self.store.artifact_logged(run_id, path)

    def step(self):
        self.now += 1000
        self.replicator.step()

    @contextmanager
    def in_haste(self):
        """Give the remote up at once where it does not answer; it is open already."""
        self.network.timeout = 0.5
        yield
        self.network.timeout = None

    def deliver(self):
        """Deliver all there is; a server that is slow for once is tried again, until the test's time limit."""
        done = False
        while not done:
            self.now += 1000
            more = self.replicator.step()
            state = self.replicator.state()
            done = not more and (state.depth, state.last_error) == (0, None)
        assert state.refused == 0

    def remote(self):
        """Return the remote, by the way that the replicator goes."""
        return open_remote(RestConfig(self.uri, token=self.place.token))

    def assert_same(self, run_id):
        with self.place.store() as remote:
            copy = copies(remote)[run_id]
            there, here = (
                content(remote, copy, without=self.place.lacks),
                content(self.store, run_id, without=self.place.lacks),
            )
        assert there == here
        return copy


@pytest.fixture
def local(tmp_path, place, request) -> Iterator[Local]:
    host = "http://" + place.uri.split("/")[2]
    with proxy_to(host) as proxy:
        local = Local(tmp_path, place, proxy, f"experiment of {request.node.name} in {tmp_path.name}")
        yield local
        if local.opened is not None:
            local.opened.close()
        local.store.close()


def log_all(local, run_id, start=0):
    for step in range(start, start + 40):
        metrics = [Metric(key, step / 7, 1_700_000_000_000 + step, step) for key in ("loss", "accuracy")]
        local.store.log_batch(run_id, metrics, [Param(f"p{step}", str(step))])


def test_a_run_arrives_field_by_field(local):
    run_id = local.run(user_id="me", run_name="a run", start_time=1_700_000_000_000, tags=[Tag("made", "with")])
    local.step()
    log_all(local, run_id)
    local.store.log_inputs(run_id, [DatasetInput(Dataset("d", "1", "local", "here"), (Tag("k", "v"),))])
    local.store.set_tag(run_id, Tag("later", "x"))
    local.store.update_run(run_id, RunStatus.FINISHED, 1_700_000_009_000)
    local.deliver()
    local.assert_same(run_id)


FAILURES = [
    "gone",
    "hang",
    "cut",
    answer("503 Service Unavailable", "Retry-After: 3"),
    answer("429 Too Many Requests", "Retry-After: 3"),
    answer("401 Unauthorized"),
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
]


def test_whatever_the_network_does_in_the_middle_nothing_is_missing_and_nothing_twice(local):
    run_id = local.run(run_name="first", start_time=1)
    local.deliver()
    for number, failure in enumerate(FAILURES):
        log_all(local, run_id, 100 * number)
        local.proxy.become(failure)
        with local.in_haste() if failure == "hang" else nullcontext():
            local.step()
        state = local.replicator.state()
        assert state.last_error is not None, failure
        assert (state.connected, state.refused) == (False, 0), failure
        if isinstance(failure, bytes) and b"Retry-After" in failure:
            assert 3 <= state.retry_in < 3 + 10
        local.proxy.become("pass")
        if number % 2:
            local.restart()
        local.deliver()
    local.assert_same(run_id)


@pytest.mark.parametrize("crash", [True, False])
def test_a_run_whose_creation_was_not_answered_is_made_once(local, crash):
    local.deliver()
    run_id = local.run(run_name="first", start_time=1)
    local.opened.close()
    cut: list[Any] = []

    def lose_the_first_answer(remote):
        create_run = remote.create_run

        def create(*arguments):
            if not cut:
                cut.append(True)
                local.proxy.become("cut")
            return create_run(*arguments)

        remote.create_run = create

    local.changed = lose_the_first_answer
    local.restart()
    local.step()
    assert cut
    assert local.replicator.state().last_error is not None
    local.proxy.become("pass")
    if crash:
        local.opened.close()
        local.restart()
    local.deliver()
    local.assert_same(run_id)


def test_a_large_file_that_broke_off_arrives_whole_and_the_others_are_not_sent_again(local):
    run_id = local.run()
    local.deliver()
    first, large = os.urandom(1_000_000), os.urandom(6_000_000)
    local.put(run_id, "first.bin", first)
    local.deliver()
    local.put(run_id, "large.bin", large)
    local.proxy.become("hang")
    with local.in_haste():
        local.step()
    assert local.replicator.state().last_error is not None
    local.proxy.become("pass")
    local.restart()
    local.deliver()
    with local.remote() as remote:
        repository = remote.run_artifacts(remote.get_run(copies(remote)[run_id]))
        for name, data in (("first.bin", first), ("large.bin", large)):
            with repository.open(name) as stored:
                assert stored.stream.read() == data
    if local.place.project is not None:
        # It keeps every version that it gets.
        assert sorted(len(versions) for versions in local.place.project.files.values()) == [1, 1]


def test_sync_changes_nothing_after_a_replicator_and_brings_what_it_lacks(local):
    run_id = local.run(run_name="first", start_time=1)
    log_all(local, run_id)
    local.put(run_id, "file.txt", b"text")
    local.deliver()
    local.store.journal.configure([])
    log_all(local, run_id, 100)
    for _ in range(2):
        with local.place.store() as remote:
            report = sync(local.store, remote, local.uri, artifacts=local.artifacts)
        assert (report.runs, report.refusals) == (1, ())
        local.assert_same(run_id)


FORWARD = """
import sys
from mistk_service.tracking.artifacts import open_artifacts
from mistk_service.tracking.values import Metric, Param
from mistk_service.tracking.replication import ReplicationService
from mistk_service.tracking.rest import RestConfig
from mistk_service.tracking.sql import SqlStore
folder, uri, run_id, token = sys.argv[1:]
store = SqlStore.open(f"sqlite:///{folder}/local.db")
config = RestConfig(uri, token=token or None)
replication = ReplicationService(store, open_artifacts(f"{folder}/local artifacts"), [config])
replication.start()
last = 0
for step in range(1_000_000):
    store.log_batch(run_id, [Metric("m", float(step), step, step)], [Param(f"p{step % 50}", "x")])
    success = replication.states()[0].last_success
    if success != last:
        last = success
        print(step, flush=True)
"""


def test_a_service_that_is_killed_in_the_middle_continues_where_it_was(local, tmp_path):
    run_id = local.run(run_name="first", start_time=1)
    for deliveries in (1, 2):
        with python("-c", FORWARD, str(tmp_path), local.uri, run_id, local.place.token or "") as process:
            for _ in range(deliveries):
                assert process.stdout.readline()
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
    local.restart()
    local.deliver()
    local.assert_same(run_id)


def test_a_token_that_expired_and_was_renewed_in_its_file_is_taken_up(tmp_path):
    with gitlab() as project, proxy_to(project.url) as proxy:
        place = Place("gitlab", project.uri, project.token, project)
        local = Local(tmp_path, place, proxy, "an experiment")
        file = tmp_path / "token"
        file.write_text(project.token)
        local.config = RestConfig(local.uri, token_file=str(file))
        run_id = local.run(run_name="first")
        local.deliver()
        project.token = place.token = "glpat-another"
        local.store.log_metric(run_id, Metric("m", 1.0, 1))
        local.step()
        state = local.replicator.state()
        assert (state.connected, state.refused, state.depth) == (False, 0, 1)
        assert "glpat" not in (state.last_error or "")
        file.write_text("glpat-another")
        local.deliver()
        local.assert_same(run_id)
        local.opened.close()
        local.store.close()
