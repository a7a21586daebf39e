"""Bringing whole runs over: what the remote lacks, found by comparing."""

from __future__ import annotations

from collections.abc import Iterator

from mistk_service.tracking.artifacts import ArtifactRepository
from mistk_service.tracking.errors import ResourceNotFound
from mistk_service.tracking.replication.files import Files
from mistk_service.tracking.replication.models import LoggedModels
from mistk_service.tracking.replication.packing import Batch
from mistk_service.tracking.replication.points import history, missing
from mistk_service.tracking.replication.remote import Remote
from mistk_service.tracking.replication.run_mapping import EXCLUDED, RemoteRuns, RunRefused
from mistk_service.tracking.replication.sending import Sender
from mistk_service.tracking.replication.versions import Versions
from mistk_service.tracking.store.outbox import Ledger, MappedRun, OutboxStore
from mistk_service.tracking.values import LifecycleStage, Metric, Run, RunInfo, RunStatus

__all__ = ["Transfer"]

#: Points that are held at once on their way.
_CHUNK = 10_000


class Transfer:
    """Brings whole runs of a local store over to a remote.

    It may be called any number of times, also after it was interrupted: what is there already is not sent again.

    Args:
        store: the local store.
        artifacts: where its artifacts are; None where they are not to be brought over.
        remote: the remote.
        ledger: remembers what the remote has.

    Attributes:
        runs: which run is which.
        files: sends artifacts.
        models: sends logged models.
        versions: sends versions of models.
        suspects: the runs at which the remote has failed again and again, so that the items that fail are to be found.
    """

    def __init__(
        self, store: OutboxStore, artifacts: ArtifactRepository | None, remote: Remote, ledger: Ledger
    ) -> None:
        self._store = store
        self._remote = remote
        self._ledger = ledger
        self.runs = RemoteRuns(store, remote, ledger, self.bring)
        self.files = Files(store, artifacts, remote, ledger)
        self.models = LoggedModels(store, remote, self.runs, self.files)
        self.versions = Versions(store, remote, self.models)
        self.suspects: set[str] = set()

    def sender(self, run_id: str, remote_run_id: str) -> Sender:
        """Return what sends to the remote's run for a local one."""
        return Sender(self._remote, self._ledger, run_id, remote_run_id, suspicious=run_id in self.suspects)

    def bring(self, run_id: str, *, new: bool = False, remake: bool = False) -> bool:
        """Bring a run over as it is now; return False where it came from the remote and stays as it is.

        Args:
            run_id: the local run.
            new: whether it is certain that it was never brought over, by whatever means.
            remake: whether to make it again where it was brought over before and is gone from the remote.

        Raises:
            RunRefused: the remote takes nothing of it.
            StoreUnavailable: it has to be called again.
        """
        covered = self._store.journal.last()
        run = self._store.get_run(run_id)
        known = self._ledger.find(run_id)
        if known is not None and known.remote_run_id and not self._look(run, known, remake=remake):
            self._ledger.complete(run_id, covered, covered)
            return True
        remote_run_id, made = self.runs.find_or_make(run, new=new)
        if remote_run_id != EXCLUDED:
            # Should this be interrupted, nobody may take the journal's rows for all that is missing.
            self._ledger.lapse(run_id)
            self._ledger.forgive(run_id)
            self._bring_content(run, self._get(remote_run_id), self.sender(run_id, remote_run_id), empty=made)
        self._ledger.complete(run_id, covered, self._store.journal.last())
        return remote_run_id != EXCLUDED

    def _look(self, run: Run, known: MappedRun, *, remake: bool) -> bool:
        """Make sure that a run that was brought over can be written to, or is made again; return False where nothing is to do.

        What was deleted there because it was deleted here is restored if there is more to say about it. What somebody deleted
        there stays deleted.
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
                raise RunRefused(f"The run {known.remote_run_id} does not exist there any more.") from error
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

    def delete(self, sender: Sender) -> None:
        """Delete a run there because it is deleted here."""
        self._ledger.mark_deleted(sender.run_id, True)
        sender.attempt("deletion", lambda: self._remote.delete_run(sender.remote_run_id))

    def restore(self, sender: Sender) -> None:
        """Restore a run there because it is restored here."""
        sender.attempt("restoring", lambda: self._restore(sender))

    def _restore(self, sender: Sender) -> None:
        self._remote.restore_run(sender.remote_run_id)
        self._ledger.mark_deleted(sender.run_id, False)

    def _get(self, remote_run_id: str) -> Run:
        try:
            return self._remote.get_run(remote_run_id)
        except ResourceNotFound as error:
            raise RunRefused(f"The run {remote_run_id} does not exist there any more.") from error

    def _bring_content(self, run: Run, there: Run, sender: Sender, *, empty: bool) -> None:
        if there.info.lifecycle_stage is LifecycleStage.DELETED:
            raise RunRefused(f"The run {sender.remote_run_id} is deleted there.")
        self._bring_pairs(run, there, sender)
        for batch in self._missing_points(run, sender.remote_run_id, empty=empty):
            sender.send(batch)
        self.models.bring_all(run, sender)
        self._bring_inputs(run, there, sender)
        self.files.send_all(self.files.of_run(run, sender), sender)
        self.versions.send_all(run, sender)
        change = _difference(run.info, there.info)
        if change is not None:
            sender.attempt("status", lambda: self._remote.update_run(sender.remote_run_id, *change))
        if run.info.lifecycle_stage is LifecycleStage.DELETED:
            self.delete(sender)
        else:
            self._ledger.mark_deleted(sender.run_id, False)

    def _bring_pairs(self, run: Run, there: Run, sender: Sender) -> None:
        tags = {tag.key: tag.value for tag in there.data.tags}
        params = {param.key: param.value for param in there.data.params}
        missing = Batch(
            params=[param for param in run.data.params if params.get(param.key) != param.value],
            tags=[tag for tag in self.runs.tags_of(run) if tags.get(tag.key) != tag.value],
        )
        if missing:
            sender.send(missing)

    def _missing_points(self, run: Run, remote_run_id: str, *, empty: bool) -> Iterator[Batch]:
        """Return the points that the remote lacks, some at a time."""
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

    def _bring_inputs(self, run: Run, there: Run, sender: Sender) -> None:
        used = {(use.dataset.name, use.dataset.digest) for use in there.inputs.dataset_inputs}
        datasets = [use for use in run.inputs.dataset_inputs if (use.dataset.name, use.dataset.digest) not in used]
        taken = self.models.translated(run.inputs.model_inputs, sender)
        models = [model for model in taken if model not in there.inputs.model_inputs]
        remote_run_id = sender.remote_run_id
        if datasets or models:
            sender.attempt("inputs", lambda: self._remote.log_inputs(remote_run_id, datasets, models))
        outputs = self.models.translated(run.outputs.model_outputs, sender)
        made = [model for model in outputs if model not in there.outputs.model_outputs]
        if made:
            sender.attempt("outputs", lambda: self._remote.log_outputs(remote_run_id, made))


def _difference(local: RunInfo, there: RunInfo) -> tuple[RunStatus | None, int | None, str | None] | None:
    """Return what has to be changed of a run's status, end time and name, or None where nothing has."""
    change = (
        local.status if local.status is not there.status else None,
        local.end_time if local.end_time != there.end_time else None,
        local.run_name if local.run_name != there.run_name else None,
    )
    return None if change == (None, None, None) else change
