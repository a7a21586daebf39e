"""The records of uploads in parts are kept over restarts, and removed when they are useless."""

from msgspec.structs import replace
from sqlalchemy import update

from mistk_service.tracking.sql import SqlStore
from mistk_service.tracking.sql.outbox.tables import journal_uploads
from mistk_service.tracking.values.uploads import MultipartUpload, UploadPart

PARTS = tuple(
    UploadPart(number, f"https://storage/{number}?signature=secret", {"X-Part": str(number)}) for number in (1, 2, 3)
)
UPLOAD = MultipartUpload(
    "http://host/api", "1/run/artifacts/file", "an id", "etag", 12_000_000_000, 5_000_000_000, PARTS
)
REMOTE = "http://host"


def noted(uri, run_id="run", path="file", remote=REMOTE):
    """Return what a process finds that is started now."""
    with SqlStore.open(uri) as store:
        return store.journal.ledger(remote).upload(run_id, path).find()


def begin(uri, run_id="run", path="file", remote=REMOTE, upload=UPLOAD):
    with SqlStore.open(uri) as store:
        store.journal.ledger(remote).upload(run_id, path).begin(upload)


def rows(uri):
    """Return how many uploads and parts there are."""
    with SqlStore.open(uri) as store, store.database.read() as connection:
        return tuple(
            connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar()
            for table in ("journal_uploads", "journal_parts")
        )


def test_what_was_noted_is_there_after_a_restart(shared_uri):
    begin(shared_uri)
    with SqlStore.open(shared_uri) as store:
        notes = store.journal.ledger(REMOTE).upload("run", "file")
        notes.arrived(2, "what the storage says")
    done = (PARTS[0], replace(PARTS[1], etag="what the storage says"), PARTS[2])
    assert noted(shared_uri) == replace(UPLOAD, parts=done)
    for was_free in (False, True):
        with SqlStore.open(shared_uri) as store:
            store.journal.ledger(REMOTE).upload("run", "file").completing(was_free=was_free)
        assert noted(shared_uri) == replace(UPLOAD, parts=done, was_free=was_free)


def test_each_file_of_each_run_at_each_remote_has_notes_of_its_own(shared_uri):
    places = [
        ("run", "file", REMOTE),
        ("run", "other", REMOTE),
        ("another", "file", REMOTE),
        ("run", "file", "http://b"),
    ]
    for number, place in enumerate(places):
        begin(shared_uri, *place, replace(UPLOAD, upload_id=str(number)))
    with SqlStore.open(shared_uri) as store:
        store.journal.ledger(REMOTE).upload("run", "file").arrived(1, "x")
        store.journal.ledger(REMOTE).upload("run", "other").forget()
    found = [noted(shared_uri, *place) for place in places]
    assert [upload and (upload.upload_id, upload.parts[0].etag) for upload in found] == [
        ("0", "x"), None, ("2", None), ("3", None),
    ]  # fmt: skip


def test_a_new_upload_takes_the_place_of_the_old_one(shared_uri):
    begin(shared_uri)
    with SqlStore.open(shared_uri) as store:
        store.journal.ledger(REMOTE).upload("run", "file").arrived(1, "x")
    begin(shared_uri, upload=replace(UPLOAD, upload_id="another", parts=PARTS[:2]))
    assert noted(shared_uri) == replace(UPLOAD, upload_id="another", parts=PARTS[:2])
    assert rows(shared_uri) == (1, 2)


def test_the_secrets_are_gone_when_the_file_is_there(shared_uri):
    begin(shared_uri)
    begin(shared_uri, path="other")
    with SqlStore.open(shared_uri) as store:
        store.journal.ledger(REMOTE).file_sent("run", "file", "etag")
    assert noted(shared_uri) is None
    assert rows(shared_uri) == (1, 3)


def test_they_are_gone_when_the_remote_is_taken_out(shared_uri):
    with SqlStore.open(shared_uri) as store:
        store.journal.configure([REMOTE, "http://b"])
    begin(shared_uri)
    begin(shared_uri, remote="http://b")
    with SqlStore.open(shared_uri) as store:
        store.journal.configure(["http://b"])
    assert (noted(shared_uri), noted(shared_uri, remote="http://b")) == (None, UPLOAD)


def test_they_are_gone_at_a_start_when_no_storage_accepts_them_any_more(shared_uri):
    begin(shared_uri)
    for days, kept in ((6, True), (2, False)):
        earlier = update(journal_uploads).values(begun=journal_uploads.c.begun - days * 86_400_000)
        with SqlStore.open(shared_uri) as store:
            store.database.write(lambda connection, earlier=earlier: connection.execute(earlier))  # type: ignore[misc]
        with SqlStore.open(shared_uri) as store:
            store.journal.configure([REMOTE])
        assert (noted(shared_uri) is not None) is kept
