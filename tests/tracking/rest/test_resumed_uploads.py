"""Interrupted uploads in parts, and how the next process resumes them."""

import io
import logging
from dataclasses import dataclass, field

import httpx
import pytest

from mistk_service.tracking.artifacts import StoredFile
from mistk_service.tracking.errors import StoreUnavailable, Unauthenticated
from mistk_service.tracking.replication.remote import may_be_due_to_item
from mistk_service.tracking.rest import RestConfig
from mistk_service.tracking.rest.artifacts import ProxiedArtifacts
from mistk_service.tracking.rest.transport import Transport
from mistk_service.tracking.sql import SqlStore
from mistk_service.tracking.sql.outbox.upload_notes import UnfinishedUpload
from mistk_service.tracking.values.uploads import MultipartUpload
from tests.support.parts import PartsServer

CONTENT = bytes(range(256)) * 10
COMPLETE = ("POST", "/complete/1/r/artifacts/big")
TARGET = "1/r/artifacts/big/file"


class Killed(BaseException):
    """The process ends here."""


@dataclass
class Upload:
    """A file on its way to a server, from processes that come and go.

    Attributes:
        uri: where the notes are.
        server: the server.
        content: the file.
        etag: its etag.
        folder: the run's, at the server.
        dies: where the process is killed: at ``arrived 2`` before it notes that, at ``noted`` before it notes that all is
            done.
        unchanged: whether the file is still the same when all of it was sent.
    """

    uri: str
    server: PartsServer = field(default_factory=PartsServer)
    content: bytes = CONTENT
    etag: str = "first"
    folder: str = "1/r/artifacts"
    dies: frozenset[str] = frozenset()
    unchanged: bool = True

    def send(self):
        """Send the file from a process of its own, to its end."""
        with SqlStore.open(self.uri) as store:
            ledger = store.journal.ledger("http://host")
            notes = ledger.upload("run", "big/file")
            arrived = notes.arrived

            def arrive(number, etag):
                if f"arrived {number}" in self.dies:
                    raise Killed
                arrived(number, etag)

            notes.arrived = arrive  # type: ignore[method-assign]
            transport = Transport(RestConfig("https://host"), httpx.MockTransport(self.server))
            artifacts = ProxiedArtifacts(transport, transport.addresses.proxied(), self.folder, "uri", 1000)
            stored = StoredFile("file", len(self.content), self.etag, None, io.BytesIO(self.content))
            artifacts.resume("big/file", stored, notes, lambda: self.unchanged)
            if "noted" in self.dies:
                raise Killed
            ledger.file_sent("run", "big/file", self.etag)

    def interrupted(self, *dies):
        """Send the file from a process that is killed, and forget what went over the network."""
        self.dies = frozenset(dies)
        with pytest.raises(Killed):
            self.send()
        self.dies = frozenset()
        self.server.sent.clear()
        self.server.asked.clear()

    def noted(self) -> MultipartUpload | None:
        with SqlStore.open(self.uri) as store:
            return store.journal.ledger("http://host").upload("run", "big/file").find()

    def is_done(self):
        """Whether the server has the file, and nothing is left over anywhere."""
        return (self.server.files, self.server.uploads, self.noted()) == ({TARGET: self.content}, {}, None)


@pytest.fixture
def upload(tmp_path):
    return Upload(f"sqlite:///{tmp_path}/store.db")


def test_only_the_parts_that_have_not_arrived_are_sent_after_a_restart(upload):
    upload.interrupted("arrived 3")
    upload.send()
    assert upload.server.sent == ["upload1/3"]
    assert upload.is_done()
    assert upload.server.aborted == []


def test_an_outage_does_not_give_up_what_has_arrived(upload):
    upload.server.faults["PUT", "/2"] = 99
    with pytest.raises(StoreUnavailable) as caught:
        upload.send()
    assert "signature" not in str(caught.value)
    upload.server.faults.clear()
    upload.server.sent.clear()
    upload.send()
    assert upload.server.sent == ["upload1/2", "upload1/3"]
    assert upload.is_done()


def test_a_file_that_comes_nearer_with_every_try_is_not_taken_for_one_at_which_the_server_fails(upload):
    for fault, is_suspicious in (("/2", False), ("/2", True), ("/3", False), ("/3", True)):
        upload.server.faults = {("PUT", fault): 99}
        with pytest.raises(StoreUnavailable) as caught:
            upload.send()
        assert may_be_due_to_item(caught.value) is is_suspicious
    upload.server.faults.clear()
    upload.send()
    assert upload.is_done()


def test_what_cannot_be_noted_is_given_up_at_once(upload, monkeypatch):
    def full(self, begun):
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(UnfinishedUpload, "begin", full)
    with pytest.raises(StoreUnavailable, match="the disk is full"):
        upload.send()
    assert (upload.server.sent, upload.server.uploads, upload.server.aborted) == ([], {}, ["upload1"])


def test_a_completion_whose_answer_is_lost_is_seen_in_what_is_there(upload):
    upload.server.lost_answers = 1
    upload.send()
    assert [path for _, _, path, _ in upload.server.asked if "complete" in path] == [
        f"/api/2.0/mlflow-artifacts/mpu{COMPLETE[1]}"
    ]
    assert upload.is_done()


def test_a_server_that_cannot_complete_it_now_gets_no_part_twice(upload):
    upload.server.faults[COMPLETE] = 1
    with pytest.raises(StoreUnavailable):
        upload.send()
    upload.server.sent.clear()
    upload.send()
    assert upload.server.sent == []
    assert upload.is_done()


def test_a_file_that_was_changed_since_is_sent_from_its_beginning(upload):
    upload.interrupted("arrived 3")
    upload.content, upload.etag = CONTENT[::-1], "second"
    upload.send()
    assert upload.server.sent == ["upload2/1", "upload2/2", "upload2/3"]
    assert upload.server.aborted == ["upload1"]
    assert upload.is_done()


def test_a_file_that_shrank_below_a_part_leaves_no_upload_behind(upload):
    upload.interrupted("arrived 3")
    upload.content, upload.etag = b"small", "second"
    upload.send()
    assert (upload.server.sent, upload.server.aborted) == ([], ["upload1"])
    assert upload.is_done()


def test_a_file_that_changes_while_it_is_sent_is_not_completed(upload):
    upload.unchanged = False
    with pytest.raises(StoreUnavailable, match="changed while it was sent") as caught:
        upload.send()
    assert may_be_due_to_item(caught.value)
    assert (upload.server.files, upload.server.aborted, upload.noted()) == ({}, ["upload1"], None)
    upload.unchanged = True
    upload.send()
    assert upload.is_done()


def test_addresses_that_have_expired_are_given_up_for_new_ones(upload):
    upload.interrupted("arrived 3")
    upload.server.refused.add("upload1")
    upload.send()
    assert upload.server.sent == ["upload1/3", "upload2/1", "upload2/2", "upload2/3"]
    assert upload.server.aborted == ["upload1"]
    assert upload.is_done()


def test_addresses_that_expire_before_a_file_is_sent_do_not_keep_it_from_arriving(upload):
    upload.interrupted("arrived 3")
    upload.server.refused |= {"upload1", "upload2"}
    upload.send()
    assert upload.server.sent == ["upload1/3", "upload2/1"]
    assert upload.is_done()


def test_an_upload_that_is_gone_is_begun_anew(upload):
    upload.interrupted("arrived 3")
    upload.server.uploads.clear()
    upload.send()
    assert upload.server.sent == ["upload1/3", "upload2/1", "upload2/2", "upload2/3"]
    assert upload.is_done()


def test_an_upload_that_is_gone_when_all_parts_have_arrived_is_begun_anew(upload):
    upload.server.faults[COMPLETE] = 1
    with pytest.raises(StoreUnavailable):
        upload.send()
    upload.server.uploads.clear()
    upload.server.sent.clear()
    upload.send()
    assert upload.server.sent == ["upload1/3", "upload2/1", "upload2/2", "upload2/3"]
    assert upload.is_done()


def test_a_file_that_was_completed_and_not_noted_is_not_sent_again(upload):
    upload.interrupted("noted")
    upload.send()
    assert upload.server.sent == []
    assert {method for method, *_ in upload.server.asked} == {"GET"}
    assert upload.is_done()


def test_an_older_file_of_the_same_size_is_not_taken_for_the_one_that_was_sent(upload):
    upload.server.files[TARGET] = bytes(len(CONTENT))
    upload.server.faults[COMPLETE] = 1
    with pytest.raises(StoreUnavailable):
        upload.send()
    upload.server.uploads.clear()
    upload.send()
    assert upload.is_done()


def test_a_place_that_nobody_could_look_at_before_counts_as_taken(upload):
    upload.server.files[TARGET] = bytes(len(CONTENT))
    upload.server.faults[COMPLETE] = 1
    upload.server.listed = False
    with pytest.raises(StoreUnavailable):
        upload.send()
    upload.server.listed = True
    upload.send()
    assert upload.is_done()


def test_a_server_that_gives_no_listing_gets_the_file_all_the_same(upload):
    upload.server.listed = False
    upload.interrupted("noted")
    upload.send()
    assert upload.is_done()


def test_addresses_that_were_handed_out_in_part_are_in_no_error(upload):
    upload.server.cuts = True
    with pytest.raises(StoreUnavailable, match=r"only a part of one\. Is that") as caught:
        upload.send()
    assert "signature" not in str(caught.value)
    assert upload.noted() is None


def test_a_file_that_the_server_refuses_to_complete_goes_through_it_in_one_piece(upload, caplog):
    caplog.set_level(logging.DEBUG)
    upload.interrupted("noted")
    upload.server.files.clear()
    upload.server.completes = False
    upload.send()
    assert upload.server.sent == ["upload2/1", "upload2/2", "upload2/3"]
    assert upload.is_done()
    assert "answered 400" in caplog.text
    assert "signature" not in caplog.text


def test_a_run_that_was_made_again_gets_the_whole_file_at_its_new_place(upload):
    upload.interrupted("arrived 3")
    upload.folder = "1/another/artifacts"
    upload.send()
    assert upload.server.files == {"1/another/artifacts/big/file": CONTENT}
    assert (upload.server.aborted, upload.server.uploads, upload.noted()) == (["upload1"], {}, None)


def test_a_token_that_expired_loses_nothing(upload):
    upload.interrupted("arrived 3")
    server, upload.server = (
        upload.server,
        lambda request: httpx.Response(401) if "mpu" in str(request.url) else server(request),
    )
    with pytest.raises(Unauthenticated):
        upload.send()
    upload.server = server
    server.sent.clear()
    upload.send()
    assert server.sent == []
    assert upload.is_done()


def test_a_server_that_takes_no_parts_any_more_gets_the_file_whole(upload):
    upload.interrupted("arrived 3")
    upload.server.offered = False
    upload.send()
    assert (upload.server.files, upload.noted()) == ({TARGET: CONTENT}, None)


def test_where_a_part_goes_is_in_no_log_no_repr_and_no_error(upload, caplog):
    caplog.set_level(logging.DEBUG)
    upload.interrupted("arrived 3")
    assert "secret" not in repr(upload.noted())
    upload.server.refused |= {"upload1"}
    upload.server.faults["PUT", "/upload2/2"] = 99
    with pytest.raises(StoreUnavailable) as caught:
        upload.send()
    chain = []
    error: BaseException | None = caught.value
    while error is not None:
        chain.append(str(error))
        error = error.__cause__ or error.__context__
    assert "cannot be resumed" in caplog.text
    assert "signature" not in caplog.text + "".join(chain)
