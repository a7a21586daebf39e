"""Delivering the journal to one remote, a window of rows at a time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from mistk_service.tracking.artifacts import ArtifactRepository
from mistk_service.tracking.errors import NotSupported, ResourceNotFound, StoreError
from mistk_service.tracking.remotes import Remote
from mistk_service.tracking.replication.packing import Batch, merged
from mistk_service.tracking.replication.remote import accepts_writes, is_refusal, may_be_due_to_item
from mistk_service.tracking.replication.run_mapping import EXCLUDED, RunRefused
from mistk_service.tracking.replication.run_sender import WHOLE_RUN, RunSender
from mistk_service.tracking.replication.run_transfer import RunTransfer
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

#: Failures in a row of one run, about a minute and some minutes long, after which the items that fail are searched for, and
#: after which the run is postponed.
_SUSPICIOUS, _POSTPONED = 8, 16


class Delivery:
    """Delivers the journal to one remote.

    Rows are read in windows. Within a window the changes of each run are sent together, in order. The window is acknowledged
    when all of them have arrived. What was being sent when something failed, or when the last process ended, may have arrived.
    It is sent again, after a comparison with the remote if it would otherwise be stored twice.
    """

    def __init__(
        self, store: OutboxStore, artifacts: ArtifactRepository | None, remote: Remote, ledger: Ledger
    ) -> None:
        self._journal = store.journal
        self._store = store
        self._remote = remote
        self._ledger = ledger
        self._transfer = RunTransfer(store, artifacts, remote, ledger)
        self._behind: list[str] | None = None
        # The last row delivered of each run of the window, and whether the first rows may have arrived already.
        self._done: dict[str, int] = {}
        self._doubtful = True
        # The run that failed last, and how often in a row.
        self._stuck: tuple[str, int] = "", 0
        # The runs that were postponed for that reason; they get one attempt from then on.
        self._postponed: set[str] = set()

    def deliver(self) -> bool:
        """Deliver the next window; return whether there was anything to deliver.

        Raises:
            StoreError: the remote or the local store is unavailable; call this again later.
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
        except BaseException:  # after any error, a part may have arrived
            self._doubtful = True
            raise
        self._journal.acknowledge(self._ledger.number, entries[-1].seq)
        self._done.clear()
        self._doubtful = False
        self._stuck = "", 0
        self._transfer.suspects.clear()
        return True

    def assume_sent(self) -> None:
        """Assume that a part of the next window may have arrived: another process may have sent it and then failed."""
        self._doubtful = True

    def _catch_up(self, run_id: str) -> None:
        """Copy a run that was not finished when the last process ended, or that lacks something."""
        try:
            self._transfer.copy(run_id)
        except Exception as error:  # noqa: BLE001 - raised again, unless it is permanent
            self._set_aside(run_id, error, 1)

    def _deliver_run(self, run_id: str, rows: Sequence[Entry]) -> None:
        if not rows:
            return
        try:
            known = self._ledger.find(run_id)
            if known is None or not known.complete:
                self._transfer.copy(run_id, new=isinstance(rows[0].change, RunCreated))
                known = self._ledger.find(run_id)
            assert known is not None
            if known.remote_run_id is None:
                raise RunRefused("An earlier attempt to copy it was refused.")
            if known.remote_run_id == EXCLUDED:
                return
            sender = self._transfer.sender(run_id, known.remote_run_id)
            self._catch_up_tags(sender, known, [row.change for row in rows if row.seq <= known.covered])
            later = [row for row in rows if row.seq > known.covered]
            doubtful = self._doubtful or any(row.seq <= known.doubtful for row in later)
            changes = [row.change for row in later]
            if (
                doubtful
                and known.deleted
                and RunMoved(LifecycleStage.DELETED) in changes
                and not self._undelete(sender)
            ):
                # Everything before the deletion has been sent. If the run was restored here, it is created again.
                self._ledger.mark_incomplete(run_id)
                self._transfer.copy(run_id)
                return
            for part in merged(changes):
                self._send(part, sender, doubtful=doubtful)
        except Exception as error:  # noqa: BLE001 - raised again, unless it is permanent
            self._set_aside(run_id, error, len(rows))
        else:
            self._postponed.discard(run_id)

    def _set_aside(self, run_id: str, error: Exception, items: int) -> None:
        """Record that a run was refused, or raise a temporary error.

        The whole run is sent again after its next change and after the next start; the cause may have been fixed by then.
        """
        refused = isinstance(error, RunRefused) or (isinstance(error, StoreError) and is_refusal(error))
        if not refused and not self._is_stuck(run_id, error):
            raise error
        self._ledger.mark_incomplete(run_id)
        self._ledger.refuse(run_id, WHOLE_RUN, str(error) or type(error).__name__, items)

    def _is_stuck(self, run_id: str, error: Exception) -> bool:
        """Return whether the remote fails repeatedly for this run, and for nothing else.

        Otherwise, a server that crashes on one request would block all later changes.
        """
        last, times = self._stuck
        self._stuck = run_id, times + 1 if last == run_id and may_be_due_to_item(error) else 1
        if self._stuck[1] >= _SUSPICIOUS:
            self._transfer.suspects.add(run_id)
        stuck = self._stuck[1] >= (1 if run_id in self._postponed else _POSTPONED) and self._accepts_other_runs(run_id)
        if stuck:
            self._postponed.add(run_id)
        return stuck

    def _accepts_other_runs(self, run_id: str) -> bool:
        """Return whether the remote accepts a write to another run, or, if there is none, whether it responds."""
        other = self._ledger.other_run(run_id)
        if other is not None:
            return accepts_writes(self._remote, other[1], other[0])
        try:
            self._remote.get_experiment_by_name("Default")
        except StoreError as error:
            return is_refusal(error)
        return True

    def _catch_up_tags(self, sender: RunSender, known: MappedRun, covered: Sequence[Change]) -> None:
        """Delete the tags that a run has lost. Copying a whole run does not show which those were.

        A run that is deleted there is restored in the meantime. The ledger still marks it as deleted, so that the next attempt
        after an interruption deletes it again.
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

    def _undelete(self, sender: RunSender) -> bool:
        """Restore a run that an earlier attempt has already deleted; return False if it does not exist any more."""
        try:
            there = self._remote.get_run(sender.remote_run_id)
            if there.info.lifecycle_stage is LifecycleStage.DELETED:
                self._remote.restore_run(sender.remote_run_id)
        except (ResourceNotFound, NotSupported):
            return False
        return True

    def _send(self, part: Batch | Change, sender: RunSender, *, doubtful: bool) -> None:
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

    def _send_more(self, part: Change, sender: RunSender, *, doubtful: bool) -> None:
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
                self._transfer.models.copy(model_id, sender)

    def _delete_tag(self, run_id: str, key: str) -> None:
        # An earlier attempt deleted it, or it never existed. If the run is missing, its next change shows it.
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
