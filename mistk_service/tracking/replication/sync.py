"""Bringing a local store over to a remote by hand: what the remote lacks, found by comparing.

For machines that were off line, for runs from before a remote was configured, and for what a remote refused. It may be
repeated, interrupted, and used while a forwarder delivers to the same remote; nothing gets there twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from mistk_service.tracking.artifacts import ArtifactRepository
from mistk_service.tracking.errors import StoreError
from mistk_service.tracking.lookup import every_experiment, find_experiment
from mistk_service.tracking.replication.remote import Remote, is_refusal, remote_name
from mistk_service.tracking.replication.run_mapping import RunRefused
from mistk_service.tracking.replication.sending import WHOLE_RUN
from mistk_service.tracking.replication.transfer import Transfer
from mistk_service.tracking.store.outbox import Ledger, OutboxStore, Refusal
from mistk_service.tracking.values import Experiment, Run, ViewType

__all__ = ["SyncReport", "sync"]

#: Seconds between two tries to get the turn from a forwarder of another process.
_PATIENCE = 0.05
#: Runs that are looked at together.
_PAGE = 100


@dataclass(frozen=True)
class SyncReport:
    """What became of the runs.

    Attributes:
        runs: how many are there as they are here.
        left_out: how many came from the remote in the first place.
        in_part: how many are there without something that was refused.
        refused: how many were refused as a whole.
        refusals: what the remote refused of them, and why.
    """

    runs: int
    left_out: int
    in_part: int
    refused: int
    refusals: tuple[Refusal, ...]


def sync(
    store: OutboxStore,
    remote: Remote,
    name: str,
    *,
    artifacts: ArtifactRepository | None = None,
    experiments: Sequence[str] = (),
    since: int | None = None,
    on_run: Callable[[Run], None] | None = None,
    wait: Callable[[float], None] = time.sleep,
) -> SyncReport:
    """Bring runs of a local store over to a remote, with everything that the remote lacks of them.

    Args:
        store: the local store.
        remote: the remote.
        name: its URI, by which the store remembers it; a password in it is not remembered.
        artifacts: where the local artifacts are; None leaves them out.
        experiments: names or ids; none means all.
        since: ms since 1970; runs that had ended before are left out. What has not ended has not ended before.
        on_run: called with each run before it is brought over.
        wait: waits for so many seconds.

    Raises:
        ResourceNotFound: there is no such experiment in the local store.
        StoreError: the remote or the local store cannot be used now, and why; what was brought over stays, and the next call
            goes on with the rest.
    """
    chosen = [find_experiment(store, item) for item in experiments] or list(every_experiment(store, ViewType.ALL))
    ledger = store.journal.ledger(remote_name(name))
    transfer = Transfer(store, artifacts, remote, ledger)
    looked_at: set[str] = set()
    left_out = 0
    for run in _runs(store, chosen, since):
        if on_run is not None:
            on_run(run)
        if _bring(store, ledger, transfer, run.info.run_id, wait):
            looked_at.add(run.info.run_id)
        else:
            left_out += 1
    found = [refusal for refusal in ledger.refusals() if refusal.run_id in looked_at]
    refused = {refusal.run_id for refusal in found if refusal.what == WHOLE_RUN}
    # What had been refused of such a run before is part of it.
    refusals = tuple(refusal for refusal in found if refusal.what == WHOLE_RUN or refusal.run_id not in refused)
    in_part = {refusal.run_id for refusal in refusals} - refused
    return SyncReport(len(looked_at - refused - in_part), left_out, len(in_part), len(refused), refusals)


def _bring(store: OutboxStore, ledger: Ledger, transfer: Transfer, run_id: str, wait: Callable[[float], None]) -> bool:
    """Bring one run over when it is this process's turn; return False where it came from the remote."""
    while True:
        with store.journal.lease(ledger.number) as free:
            if free:
                try:
                    return transfer.bring(run_id, remake=True)
                except (RunRefused, StoreError) as error:
                    if isinstance(error, StoreError) and not is_refusal(error):
                        raise
                    ledger.refuse(run_id, WHOLE_RUN, str(error))
                    return True
        wait(_PATIENCE)


def _runs(store: OutboxStore, experiments: Iterable[Experiment], since: int | None) -> Iterator[Run]:
    """Return the runs of experiments, the oldest first, so that parents come before their children."""
    ids = [experiment.experiment_id for experiment in experiments]
    token: str | None = None
    while True:
        page = store.search_runs(
            ids, view_type=ViewType.ALL, max_results=_PAGE, order_by=["attributes.start_time ASC"], page_token=token
        )
        for run in page:
            if since is None or run.info.end_time is None or run.info.end_time >= since:
                yield run
        token = page.next_page_token
        if token is None:
            return
