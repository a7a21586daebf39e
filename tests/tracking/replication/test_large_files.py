"""Large files over restarts, to MLflow's own server with an S3 storage.

The storage is reached through a proxy, which sees the parts that are sent, and does to them what networks do.
"""

from __future__ import annotations

import io
import os
import re
import signal
import uuid
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest

from mistk_service.tracking.artifacts import open_artifacts
from mistk_service.tracking.replication import Backoff, open_remote
from mistk_service.tracking.replication.replicator import Replicator
from mistk_service.tracking.rest import RestConfig
from mistk_service.tracking.sql import SqlStore
from tests.support.copies import copies
from tests.support.preloaded import python
from tests.support.remotes import MlflowServer, answer, proxy_to
from tests.support.s3 import CREDENTIALS, new_bucket, s3_server

pytestmark = pytest.mark.timeout(300)  # the first test waits for the start of both servers

#: The smallest part that S3 takes.
PART = 5 << 20
#: Three whole parts and a little one.
SIZE = 3 * PART + 1000

NO_SUCH_UPLOAD = answer("404 Not Found", body="<Error><Code>NoSuchUpload</Code></Error>")
AWAY = answer("503 Service Unavailable")
EXPIRED = answer("403 Forbidden", body="<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>")

FORWARD = """
import sys
from mistk_service.deadline import Deadline
from mistk_service.tracking.artifacts import open_artifacts
from mistk_service.tracking.replication import ReplicationService
from mistk_service.tracking.rest import RestConfig
from mistk_service.tracking.sql import SqlStore
folder, uri, part_size = sys.argv[1:]
store = SqlStore.open(f"sqlite:///{folder}/local.db")
replication = ReplicationService(store, open_artifacts(f"{folder}/artifacts"), [RestConfig(uri, part_size=int(part_size))])
replication.start()
sys.stdin.read()
replication.close(Deadline(60))
store.close()
"""


class Place:
    """A server with a storage.

    Attributes:
        front: the proxy between the server and us.
        proxy: the proxy between the storage and everybody else.
    """

    def __init__(self, front, storage, bucket, proxy):
        self.uri = front.url
        self.front = front
        self.proxy = proxy
        self._storage = f"{storage}/{bucket}"

    def parts(self):
        """Return the numbers of the parts that were sent, in their order."""
        return [int(number) for line in self.proxy.lines for number in re.findall(r"^PUT .*[?&]partNumber=(\d+)", line)]

    def forget(self):
        """Forget what was sent, and let everything through again."""
        self.proxy.treat = self._as_s3_would
        self.proxy.become("pass")
        self.proxy.lines.clear()
        self.front.treat = lambda line: None
        self.front.lines.clear()

    def _as_s3_would(self, line):
        """Answer for moto, which fails at a part of an upload that it does not know, where S3 says so."""
        found = re.search(r"^PUT .*[?&]uploadId=([^& ]+)", line)
        return NO_SUCH_UPLOAD if found and found[1] not in dict(map(reversed, self.uploads())) else None

    def loses_completions(self):
        """Let files be completed without an answer, after which the server cannot be reached."""

        def treat(line):
            if "/mpu/complete/" in line:
                return "cut"
            return AWAY if any("/mpu/complete/" in before for before in self.front.lines) else None

        self.front.treat = treat

    def uploads(self):
        """Return the keys and ids of the uploads that are under way in the storage."""
        text = httpx.get(f"{self._storage}?uploads", timeout=30).text
        return [
            (key, upload_id) for upload_id, key in re.findall(r"<UploadId>([^<]+)</UploadId><Key>([^<]+)</Key>", text)
        ]

    def abort(self):
        """Abort them, as the rule of a bucket does after some days."""
        for key, upload_id in self.uploads():
            httpx.delete(f"{self._storage}/{key}", params={"uploadId": upload_id}, timeout=30).raise_for_status()


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("remote")
    with s3_server(folder) as storage, proxy_to(storage) as proxy:
        bucket = new_bucket(storage)
        environment = {**CREDENTIALS, "MLFLOW_S3_ENDPOINT_URL": proxy.url}
        mlflow = MlflowServer(folder / "mlflow", f"s3://{bucket}/root", environment)
        with mlflow as server, proxy_to(server.url) as front:
            yield Place(front, storage, bucket, proxy)


@pytest.fixture
def place(running):
    running.abort()
    running.forget()
    return running


class Local:
    """A local store with a run and a large file in it."""

    def __init__(self, folder, place):
        self.folder = folder
        self.place = place
        self.store = SqlStore.open(f"sqlite:///{folder}/local.db")
        self.artifacts = open_artifacts(folder / "artifacts")
        self.store.journal.configure([place.uri])
        experiment = self.store.create_experiment(f"experiment {uuid.uuid4().hex}")
        self.run = self.store.create_run(experiment)
        self.content = b""
        self.put()

    def put(self):
        """Put another file of the same size in the place of the one that is there."""
        self.content = os.urandom(SIZE)
        upload = self.artifacts.create(
            f"{self.run.info.experiment_id}/{self.run.info.run_id}/artifacts/model/weights.bin"
        )
        upload.write(self.content)
        upload.commit()
        self.store.artifact_logged(self.run.info.run_id, "model/weights.bin")

    def step(self):
        """Deliver from a process that ends afterwards, and return how the remote stands."""
        config = RestConfig(self.place.uri, part_size=PART, timeout=20)
        remote = open_remote(config)
        replicator = Replicator(
            self.store, self.artifacts, self.place.uri, lambda: remote, backoff=Backoff(lambda: 0.0)
        )  # fmt: skip
        while replicator.step():
            pass
        remote.close()
        return replicator.state()

    def deliver(self):
        """Deliver everything, and see that the file is there as it is here, and nothing is left over anywhere."""
        state = self.step()
        assert (state.last_error, state.depth, state.refused) == (None, 0, 0)
        self.assert_there()

    def assert_there(self):
        with closing(open_remote(RestConfig(self.place.uri))) as remote:
            there = remote.get_run(copies(remote)[self.run.info.run_id])
            with remote.run_artifacts(there).open("model/weights.bin") as stored:
                assert stored.stream.read() == self.content
        assert self.place.uploads() == []
        assert self.noted() is None

    def noted(self):
        ledger = self.store.journal.ledger(self.place.uri)
        return ledger.upload(self.run.info.run_id, "model/weights.bin").find()

    def interrupted_after(self, parts):
        """Send some of the parts, and meet a storage that is gone for the rest."""
        self.place.proxy.treat = lambda line: "cut" if f"partNumber={parts + 1}" in line else None
        assert "storage" in self.step().last_error
        assert [part.number for part in self.noted().parts if part.etag] == list(range(1, parts + 1))
        assert len(self.place.uploads()) == 1
        self.place.forget()


@pytest.fixture
def local(tmp_path, place) -> Iterator[Local]:
    local = Local(tmp_path, place)
    yield local
    local.store.close()


def forwarding(local):
    """Return a process that forwards until its input ends, and then as long as there is anything to forward."""
    return python("-c", FORWARD, str(local.folder), local.place.uri, str(PART))


def syncing(local):
    """Return a process that brings everything over by hand."""
    options = [
        "--store",
        f"sqlite:///{local.folder}/local.db",
        "--to",
        local.place.uri,
        "--artifacts",
        local.folder / "artifacts",
    ]
    environment = {**os.environ, "MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE": str(PART)}
    return python("-m", "mistk_service", "tracking", "sync", *map(str, options), env=environment)


@pytest.mark.parametrize(("first", "second"), [(forwarding, syncing), (syncing, forwarding)])
def test_a_process_that_is_killed_in_the_middle_of_a_file_leaves_the_rest_of_it_to_the_next(local, first, second):
    local.place.proxy.treat = lambda line: "hang" if "partNumber=3" in line else None
    with first(local) as process:
        local.place.proxy.wait_line("partNumber=3")
        os.kill(process.pid, signal.SIGKILL)
    assert local.place.parts() == [1, 2, 3]
    local.place.forget()
    with second(local) as process:
        process.communicate()
        assert process.returncode == 0
    assert local.place.parts() == [3, 4]
    local.assert_there()


def test_a_file_that_was_replaced_meanwhile_is_sent_from_its_beginning(local):
    local.interrupted_after(2)
    local.put()
    local.deliver()
    assert local.place.parts() == [1, 2, 3, 4]


def test_a_file_that_is_written_to_while_it_is_sent_is_not_completed_of_both(local):
    (file,) = local.folder.glob("artifacts/**/weights.bin")

    def write(line):
        if "partNumber=3" in line:
            with file.open("r+b") as stream:
                stream.write(b"another beginning")

    local.place.proxy.treat = write
    assert "changed while it was sent" in local.step().last_error
    assert (local.place.uploads(), local.noted()) == ([], None)
    local.place.forget()
    local.content = file.read_bytes()
    local.deliver()
    assert local.place.parts() == [1, 2, 3, 4]


def test_an_older_file_of_the_same_size_is_not_taken_for_one_that_is_under_way(local):
    local.artifacts.delete(local.run.info.experiment_id)
    assert local.step().depth == 0
    with closing(open_remote(RestConfig(local.place.uri))) as remote:
        there = remote.get_run(copies(remote)[local.run.info.run_id])
        remote.run_artifacts(there).put("model/weights.bin", io.BytesIO(bytes(SIZE)))
    local.put()
    local.interrupted_after(2)
    with syncing(local) as process:
        process.communicate()
        assert process.returncode == 0
    assert local.place.parts() == [3, 4]
    local.assert_there()


def test_a_file_that_was_removed_meanwhile_leaves_nothing_in_the_storage(local):
    local.interrupted_after(2)
    local.artifacts.delete(local.run.info.experiment_id)
    state = local.step()
    assert (state.last_error, state.depth, local.place.parts()) == (None, 0, [])
    assert (local.place.uploads(), local.noted()) == ([], None)


def test_an_upload_that_the_storage_has_forgotten_is_begun_anew(local):
    local.interrupted_after(2)
    local.place.abort()
    local.deliver()
    assert local.place.parts() == [3, 1, 2, 3, 4]


def test_addresses_that_have_expired_are_replaced_by_those_of_a_new_upload(local):
    local.interrupted_after(2)
    ((_, upload_id),) = local.place.uploads()
    local.place.proxy.treat = lambda line: EXPIRED if line.startswith("PUT") and upload_id in line else None
    local.deliver()
    assert local.place.parts() == [3, 1, 2, 3, 4]


def test_a_file_that_was_completed_without_an_answer_is_not_sent_again(local):
    local.place.loses_completions()
    assert local.step().last_error is not None
    assert local.place.parts() == [1, 2, 3, 4]
    local.place.forget()
    local.deliver()
    assert local.place.parts() == []
    assert [line for line in local.place.front.lines if "/mpu/" in line] == []


def test_a_file_that_was_completed_in_place_of_another_one_without_an_answer_is_the_new_one_at_last(local):
    local.deliver()
    local.put()
    local.place.loses_completions()
    assert local.step().last_error is not None
    local.place.forget()
    local.deliver()
