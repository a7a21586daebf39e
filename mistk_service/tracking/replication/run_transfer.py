"""Copying whole runs: what the remote lacks is found by comparison."""

from __future__ import annotations

from collections.abc import Iterator

from mistk_service.tracking.artifacts import ArtifactRepository
from mistk_service.tracking.errors import ResourceNotFound
from mistk_service.tracking.remotes import Remote
from mistk_service.tracking.replication.artifact_sender import ArtifactSender
from mistk_service.tracking.replication.metric_points import history, missing
from mistk_service.tracking.replication.model_senders import LoggedModelSender, VersionSender
from mistk_service.tracking.replication.packing import Batch
from mistk_service.tracking.replication.run_mapping import EXCLUDED, RemoteRuns, RunRefused
from mistk_service.tracking.replication.run_sender import RunSender
from mistk_service.tracking.store.outbox import Ledger, MappedRun, OutboxStore
from mistk_service.tracking.values import LifecycleStage, Metric, Run, RunInfo, RunStatus

#: Points that are in memory at once.
_CHUNK = 10_000


class RunTransfer:
    """Copies whole runs of a local store to a remote.

    It may be called any number of times, also after an interruption: what the remote has is not sent again.

    Args:
        store: the local store.
        artifacts: where its artifacts are; None if they are not copied.
        remote: the remote.
        ledger: records what the remote has.

    Attributes:
        runs: the mapping of runs.
        files: sends artifacts.
        models: sends logged models.
        versions: sends versions of models.
        suspects: the runs that have failed many times in a row, so that the items that fail have to be found.
    """

    def __init__(
        self, store: OutboxStore, artifacts: ArtifactRepository | None, remote: Remote, ledger: Ledger
    ) -> None:
        self._store = store
        self._remote = remote
        self._ledger = ledger
        self.runs = RemoteRuns(store, remote, ledger, self.copy)
        self.files = ArtifactSender(store, artifacts, remote, ledger)
        self.models = LoggedModelSender(store, remote, self.runs, self.files)
        self.versions = VersionSender(store, remote, self.models)
        self.suspects: set[str] = set()

    def sender(self, run_id: str, remote_run_id: str) -> RunSender:
        """Return the sender for a local run."""
        return RunSender(self._remote, self._ledger, run_id, remote_run_id, suspicious=run_id in self.suspects)

    def copy(self, run_id: str, *, new: bool = False, remake: bool = False) -> bool:
        """Copy what the remote lacks of a run; return False if the run came from the remote and is left as it is.

        Args:
            run_id: the local run.
            new: whether it is certain that the run was never copied.
            remake: whether to create it again if it was copied before and does not exist at the remote any more.

        Raises:
            RunRefused: the remote accepts nothing of it.
            StoreUnavailable: call this again.
        """
        covered = self._store.journal.last()
        run = self._store.get_run(run_id)
        known = self._ledger.find(run_id)
        if known is not None and known.remote_run_id and not self._prepare(run, known, remake=remake):
            self._ledger.complete(run_id, covered, covered)
            return True
        remote_run_id, created = self.runs.find_or_create(run, new=new)
        if remote_run_id != EXCLUDED:
            # After an interruption, more than the later rows of the journal may be missing.
            self._ledger.mark_incomplete(run_id)
            self._ledger.clear_refusals(run_id)
            self._copy_content(run, self._get(remote_run_id), self.sender(run_id, remote_run_id), empty=created)
        self._ledger.complete(run_id, covered, self._store.journal.last())
        return remote_run_id != EXCLUDED

    def _prepare(self, run: Run, known: MappedRun, *, remake: bool) -> bool:
        """Make sure that a run that was copied can be written to, or is created again; return False if there is nothing to do.

        A run that was deleted there because it was deleted here is restored if there are changes to send. A run that was
        deleted there directly stays deleted.
        """
        run_id = run.info.run_id
        assert known.remote_run_id
        deleted = run.info.lifecycle_stage is LifecycleStage.DELETED
        settled = deleted and known.complete and not self._store.journal.has_more(run_id, known.covered)
        try:
            there = self._remote.get_run(known.remote_run_id)
        except ResourceNotFound as error:
            if deleted and (known.deleted or not remake):
                return False
            if not (remake or known.deleted):
                raise RunRefused(f"The run {known.remote_run_id} no longer exists there.") from error
            self._ledger.forget(run_id)
            return True
        if there.info.lifecycle_stage is LifecycleStage.ACTIVE:
            return True
        if settled or (deleted and not known.deleted):
            return False
        if not known.deleted:
            raise RunRefused(f"The run {known.remote_run_id} is deleted there.")
        self._remote.restore_run(known.remote_run_id)
        return True

    def delete(self, sender: RunSender) -> None:
        """Delete a run there because it is deleted here."""
        self._ledger.mark_deleted(sender.run_id, True)
        sender.attempt("deletion", lambda: self._remote.delete_run(sender.remote_run_id))

    def restore(self, sender: RunSender) -> None:
        """Restore a run there because it is restored here."""
        sender.attempt("restoring", lambda: self._restore(sender))

    def _restore(self, sender: RunSender) -> None:
        self._remote.restore_run(sender.remote_run_id)
        self._ledger.mark_deleted(sender.run_id, False)

    def _get(self, remote_run_id: str) -> Run:
        try:
            return self._remote.get_run(remote_run_id)
        except ResourceNotFound as error:
            raise RunRefused(f"The run {remote_run_id} no longer exists there.") from error

    def _copy_content(self, run: Run, there: Run, sender: RunSender, *, empty: bool) -> None:
        if there.info.lifecycle_stage is LifecycleStage.DELETED:
            raise RunRefused(f"The run {sender.remote_run_id} is deleted there.")
        self._copy_pairs(run, there, sender)
        for batch in self._missing_points(run, sender.remote_run_id, empty=empty):
            sender.send(batch)
        self.models.copy_all(run, sender)
        self._copy_inputs(run, there, sender)
        self.files.send_all(self.files.of_run(run, sender), sender)
        self.versions.send_all(run, sender)
        change = _difference(run.info, there.info)
        if change is not None:
            sender.attempt("status", lambda: self._remote.update_run(sender.remote_run_id, *change))
        if run.info.lifecycle_stage is LifecycleStage.DELETED:
            self.delete(sender)
        else:
            self._ledger.mark_deleted(sender.run_id, False)

    def _copy_pairs(self, run: Run, there: Run, sender: RunSender) -> None:
        tags = {tag.key: tag.value for tag in there.data.tags}
        params = {param.key: param.value for param in there.data.params}
        missing = Batch(
            params=[param for param in run.data.params if params.get(param.key) != param.value],
            tags=[tag for tag in self.runs.tags_of(run) if tags.get(tag.key) != tag.value],
        )
        if missing:
            sender.send(missing)

    def _missing_points(self, run: Run, remote_run_id: str, *, empty: bool) -> Iterator[Batch]:
        """Yield the points that the remote lacks, in batches."""
        metrics: list[Metric] = []
        for latest in run.data.metrics:
            here = history(self._store, run.info.run_id, latest.key)
            for metric in here if empty else missing(self._remote, remote_run_id, latest.key, here):
                metrics.append(metric)
                if len(metrics) == _CHUNK:
                    yield Batch(metrics)
                    metrics = []
        if metrics:
            yield Batch(metrics)

    def _copy_inputs(self, run: Run, there: Run, sender: RunSender) -> None:
        used = {(use.dataset.name, use.dataset.digest) for use in there.inputs.dataset_inputs}
        datasets = [use for use in run.inputs.dataset_inputs if (use.dataset.name, use.dataset.digest) not in used]
        taken = self.models.translated(run.inputs.model_inputs, sender)
        models = [model for model in taken if model not in there.inputs.model_inputs]
        remote_run_id = sender.remote_run_id
        if datasets or models:
            sender.attempt("inputs", lambda: self._remote.log_inputs(remote_run_id, datasets, models))
        outputs = self.models.translated(run.outputs.model_outputs, sender)
        created = [model for model in outputs if model not in there.outputs.model_outputs]
        if created:
            sender.attempt("outputs", lambda: self._remote.log_outputs(remote_run_id, created))


def _difference(local: RunInfo, there: RunInfo) -> tuple[RunStatus | None, int | None, str | None] | None:
    """Return the changes of a run's status, end time and name, or None if there are none."""
    change = (
        local.status if local.status is not there.status else None,
        local.end_time if local.end_time != there.end_time else None,
        local.run_name if local.run_name != there.run_name else None,
    )
    return None if change == (None, None, None) else change
