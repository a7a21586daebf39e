"""Delivering the journal to one remote, a window of rows at a time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from mistk_service.tracking.artifacts import ArtifactRepository
from mistk_service.tracking.errors import NotSupported, ResourceNotFound, StoreError
from mistk_service.tracking.replication.packing import Batch, merged
from mistk_service.tracking.replication.remote import Remote, is_refusal, may_be_the_item, takes_something
from mistk_service.tracking.replication.run_mapping import EXCLUDED, RunRefused
from mistk_service.tracking.replication.sending import WHOLE_RUN, Sender
from mistk_service.tracking.replication.transfer import Transfer
from mistk_service.tracking.store.outbox import Entry, Ledger, MappedRun, OutboxStore
from mistk_service.tracking.values import DatasetInput, LifecycleStage, ModelInput, ModelOutput, RunStatus
from mistk_service.tracking.values.changes import (
    ArtifactLogged,
    Change,
    InputsLogged,
    ModelChanged,
    OutputsLogged,
    RunCreated,
    RunMoved,
    RunUpdated,
    TagDeleted,
    VersionCreated,
)

__all__ = ["Delivery"]


#: Tries in a row at one run, over a minute and over some minutes, after which the items that fail are searched for, and after
#: which the run is put off.
_SUSPICIOUS, _STUBBORN = 8, 16


class Delivery:
    """Delivers the journal to one remote.

    Rows are taken in windows. Within a window the changes of each run are sent together, in their order; the window is
    acknowledged when all of them are. What was on its way when something failed, or when the last process ended, may have
    arrived; it is sent again, and where the remote would then have it twice, compared with what is there.

    Args:
        store: the local store.
        artifacts: where its artifacts are.
        remote: the remote.
        ledger: remembers what the remote has.
    """

    def __init__(
        self, store: OutboxStore, artifacts: ArtifactRepository | None, remote: Remote, ledger: Ledger
    ) -> None:
        self._journal = store.journal
        self._store = store
        self._remote = remote
        self._ledger = ledger
        self._transfer = Transfer(store, artifacts, remote, ledger)
        self._behind: list[str] | None = None
        # How far each run of the window has come, and whether its first rows may have arrived already.
        self._done: dict[str, int] = {}
        self._doubtful = True
        # The run at which the last try failed, and how often in a row it was that one.
        self._stuck: tuple[str, int] = "", 0
        # The runs that were put off over that, which get one try from then on.
        self._put_off: set[str] = set()

    def deliver(self) -> bool:
        """Deliver the next window; return whether there was anything to deliver.

        Raises:
            StoreError: the remote, or the local store, cannot do it now; call it again later.
        """
        if self._behind is None:
            self._behind = self._ledger.incomplete()
        if self._behind:
            self._catch_up(self._behind[-1])
            self._behind.pop()
            return True
        entries = self._journal.read(self._ledger.number)
        if not entries:
            return False
        by_run: dict[str, list[Entry]] = {}
        for entry in entries:
            by_run.setdefault(entry.run_id, []).append(entry)
        try:
            for run_id, rows in by_run.items():
                self._deliver_run(run_id, [row for row in rows if row.seq > self._done.get(run_id, 0)])
                self._done[run_id] = rows[-1].seq
        except BaseException:
            self._doubtful = True
            raise
        self._journal.acknowledge(self._ledger.number, entries[-1].seq)
        self._done.clear()
        self._doubtful = False
        self._stuck = "", 0
        self._transfer.suspects.clear()
        return True

    def doubt(self) -> None:
        """Take it that some of the next window may have arrived: another process may have sent it, and then failed."""
        self._doubtful = True

    def _catch_up(self, run_id: str) -> None:
        """Bring a run over that was not finished when the last process ended, or has missed something."""
        try:
            self._transfer.bring(run_id)
        except Exception as error:  # noqa: BLE001 - raised again, unless it is the same every time
            self._set_aside(run_id, error, 1)

    def _deliver_run(self, run_id: str, rows: Sequence[Entry]) -> None:
        if not rows:
            return
        try:
            known = self._ledger.find(run_id)
            if known is None or not known.complete:
                self._transfer.bring(run_id, new=isinstance(rows[0].change, RunCreated))
                known = self._ledger.find(run_id)
            assert known is not None
            if known.remote_run_id is None:
                raise RunRefused("It could not be brought over before.")
            if known.remote_run_id == EXCLUDED:
                return
            sender = self._transfer.sender(run_id, known.remote_run_id)
            self._catch_up_tags(sender, known, [row.change for row in rows if row.seq <= known.covered])
            later = [row for row in rows if row.seq > known.covered]
            doubtful = self._doubtful or any(row.seq <= known.doubtful for row in later)
            changes = [row.change for row in later]
            if doubtful and known.deleted and RunMoved(LifecycleStage.DELETED) in changes and not self._revive(sender):
                # What was to be said before it was deleted has been said; if it lives again here, it is made anew.
                self._ledger.lapse(run_id)
                self._transfer.bring(run_id)
                return
            for part in merged(changes):
                self._send(part, sender, doubtful=doubtful)
        except Exception as error:  # noqa: BLE001 - raised again, unless it is the same every time
            self._set_aside(run_id, error, len(rows))
        else:
            self._put_off.discard(run_id)

    def _set_aside(self, run_id: str, error: Exception, items: int) -> None:
        """Note that a run was refused, or raise an error that will pass.

        It is tried again, as a whole, when it changes again and at the next start; perhaps somebody has mended the cause.
        """
        refused = isinstance(error, RunRefused) or (isinstance(error, StoreError) and is_refusal(error))
        if not refused and not self._is_stuck(run_id, error):
            raise error
        self._ledger.lapse(run_id)
        self._ledger.refuse(run_id, WHOLE_RUN, str(error) or type(error).__name__, items)

    def _is_stuck(self, run_id: str, error: Exception) -> bool:
        """Return whether the remote fails at this run again and again, and at nothing else.

        A server that is brought down by one request would otherwise keep everything that comes after it waiting for ever.
        """
        last, times = self._stuck
        self._stuck = run_id, times + 1 if last == run_id and may_be_the_item(error) else 1
        if self._stuck[1] >= _SUSPICIOUS:
            self._transfer.suspects.add(run_id)
        stuck = self._stuck[1] >= (1 if run_id in self._put_off else _STUBBORN) and self._works_otherwise(run_id)
        if stuck:
            self._put_off.add(run_id)
        return stuck

    def _works_otherwise(self, run_id: str) -> bool:
        """Return whether the remote takes something for another run; where there is none, whether it answers."""
        other = self._ledger.another(run_id)
        if other is not None:
            return takes_something(self._remote, other[1], other[0])
        try:
            self._remote.get_experiment_by_name("Default")
        except StoreError as error:
            return is_refusal(error)
        return True

    def _catch_up_tags(self, sender: Sender, known: MappedRun, covered: Sequence[Change]) -> None:
        """Delete the tags that a run has lost; where it was brought over as a whole, nobody could see which those were.

        A run that is deleted there is restored meanwhile. The ledger goes on calling it deleted, so that a try after one that
        was interrupted in between deletes it again.
        """
        keys = {change.key for change in covered if isinstance(change, TagDeleted)}
        if not keys:
            return
        here = self._store.get_run(sender.run_id)
        try:
            there = self._remote.get_run(sender.remote_run_id)
        except ResourceNotFound:
            return
        deleted = there.info.lifecycle_stage is LifecycleStage.DELETED
        lost = keys & {tag.key for tag in there.data.tags} - {tag.key for tag in here.data.tags}
        if lost and deleted:
            sender.attempt("restoring", lambda: self._remote.restore_run(sender.remote_run_id))
        for key in sorted(lost):
            self._send(TagDeleted(key), sender, doubtful=False)
        if (deleted and lost) or (known.deleted and not deleted):
            self._transfer.delete(sender)

    def _revive(self, sender: Sender) -> bool:
        """Make a run writable that a try before this one has deleted already; return False where it is gone for good."""
        try:
            there = self._remote.get_run(sender.remote_run_id)
            if there.info.lifecycle_stage is LifecycleStage.DELETED:
                self._remote.restore_run(sender.remote_run_id)
        except (ResourceNotFound, NotSupported):
            return False
        return True

    def _send(self, part: Batch | Change, sender: Sender, *, doubtful: bool) -> None:
        run_id = sender.remote_run_id
        match part:
            case Batch():
                part.tags = self._transfer.runs.translated(sender.run_id, part.tags)
                sender.send(part, doubtful=doubtful)
            case TagDeleted(key):
                sender.attempt(f"deletion of tag {key}", lambda: self._delete_tag(run_id, key))
            case RunUpdated(status, end_time, name):
                new = RunStatus[status] if status else None
                sender.attempt("status", lambda: self._remote.update_run(run_id, new, end_time, name))
            case RunMoved(LifecycleStage.DELETED):
                self._transfer.delete(sender)
            case RunMoved():
                self._transfer.restore(sender)
            case _:
                self._send_more(part, sender, doubtful=doubtful)

    def _send_more(self, part: Change, sender: Sender, *, doubtful: bool) -> None:
        match part:
            case InputsLogged(datasets, models):
                models = self._transfer.models.translated(models, sender)
                sender.attempt("inputs", lambda: self._log_inputs(sender.remote_run_id, datasets, models, doubtful))
            case OutputsLogged(made):
                made = self._transfer.models.translated(made, sender)
                sender.attempt("outputs", lambda: self._log_outputs(sender.remote_run_id, made, doubtful))
            case ArtifactLogged(path):
                files = self._transfer.files
                files.send(files.of_run(self._store.get_run(sender.run_id), sender), path, sender)
            case VersionCreated(name, version):
                self._transfer.versions.send(self._store.get_run(sender.run_id), name, version, sender)
            case ModelChanged(model_id):
                self._transfer.models.bring(model_id, sender)

    def _delete_tag(self, run_id: str, key: str) -> None:
        # It was deleted by a try whose answer was lost, or was never there; the run is, or its next change says so.
        with suppress(ResourceNotFound):
            self._remote.delete_tag(run_id, key)

    def _log_inputs(self, run_id: str, datasets: list[DatasetInput], models: list[ModelInput], doubtful: bool) -> None:
        if doubtful:
            inputs = self._remote.get_run(run_id).inputs
            used = {(use.dataset.name, use.dataset.digest) for use in inputs.dataset_inputs}
            datasets = [use for use in datasets if (use.dataset.name, use.dataset.digest) not in used]
            models = [model for model in models if model not in inputs.model_inputs]
        if datasets or models:
            self._remote.log_inputs(run_id, datasets, models)

    def _log_outputs(self, run_id: str, models: list[ModelOutput], doubtful: bool) -> None:
        if doubtful:
            made = self._remote.get_run(run_id).outputs.model_outputs
            models = [model for model in models if model not in made]
        if models:
            self._remote.log_outputs(run_id, models)
