"""Copying a local store to a remote on demand: what the remote lacks is found by comparison.

For machines that were offline, for runs from before a remote was configured, and for what a remote refused. It may be
repeated, interrupted, and used while another process delivers to the same remote. Nothing is stored twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from mistk_service.tracking.artifacts import ArtifactRepository
from mistk_service.tracking.errors import StoreError
from mistk_service.tracking.lookup import every_experiment, find_experiment
from mistk_service.tracking.remotes import Remote
from mistk_service.tracking.replication.remote import is_refusal, remote_name
from mistk_service.tracking.replication.run_mapping import RunRefused
from mistk_service.tracking.replication.run_sender import WHOLE_RUN
from mistk_service.tracking.replication.run_transfer import RunTransfer
from mistk_service.tracking.store.outbox import Ledger, OutboxStore, Refusal
from mistk_service.tracking.values import Experiment, Run, ViewType
from mistk_service.tracking.values.page import pages

#: Seconds between two attempts to get the lease from another process.
_LEASE_INTERVAL = 0.05
#: Runs that are read at once.
_PAGE = 100


@dataclass(frozen=True)
class SyncReport:
    """The result of a :func:`sync`.

    Attributes:
        runs: the number of runs that are complete at the remote.
        left_out: the number of runs that came from the remote.
        in_part: the number of runs of which something was refused.
        refused: the number of runs that were refused as a whole.
        refusals: what the remote refused, and why.
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
    wait: Callable[[float], None] = time.sleep,
) -> SyncReport:
    """Copy to a remote what it lacks of the runs of a local store.

    Args:
        store: the local store.
        remote: the remote.
        name: its URI, under which the store records it, without a password.
        artifacts: the local artifacts; None leaves them out.
        experiments: names or ids; none means all.
        since: ms since 1970; runs that ended earlier are left out.
        wait: waits for a number of seconds.

    Raises:
        ResourceNotFound: the local store does not have the experiment.
        StoreError: the remote or the local store is unavailable. What was copied stays, and the next call continues with the
            rest.
    """
    chosen = [find_experiment(store, item) for item in experiments] or list(every_experiment(store, ViewType.ALL))
    ledger = store.journal.ledger(remote_name(name))
    transfer = RunTransfer(store, artifacts, remote, ledger)
    copied: set[str] = set()
    left_out = 0
    for run in _runs(store, chosen, since):
        if _copy(store, ledger, transfer, run.info.run_id, wait):
            copied.add(run.info.run_id)
        else:
            left_out += 1
    found = [refusal for refusal in ledger.refusals() if refusal.run_id in copied]
    refused = {refusal.run_id for refusal in found if refusal.what == WHOLE_RUN}
    # Earlier refusals of parts of such a run are included in the refusal of the run.
    refusals = tuple(refusal for refusal in found if refusal.what == WHOLE_RUN or refusal.run_id not in refused)
    in_part = {refusal.run_id for refusal in refusals} - refused
    return SyncReport(len(copied - refused - in_part), left_out, len(in_part), len(refused), refusals)


def _copy(
    store: OutboxStore, ledger: Ledger, transfer: RunTransfer, run_id: str, wait: Callable[[float], None]
) -> bool:
    """Copy one run while holding the lease; return False if the run came from the remote."""
    while True:
        with store.journal.lease(ledger.number) as lease:
            if lease:
                try:
                    return transfer.copy(run_id, remake=True)
                except (RunRefused, StoreError) as error:
                    if isinstance(error, StoreError) and not is_refusal(error):
                        raise
                    ledger.refuse(run_id, WHOLE_RUN, str(error))
                    return True
        wait(_LEASE_INTERVAL)


def _runs(store: OutboxStore, experiments: Iterable[Experiment], since: int | None) -> Iterator[Run]:
    """Yield the runs of experiments, the oldest first, so that parents come before their children."""
    ids = [experiment.experiment_id for experiment in experiments]
    order = ["attributes.start_time ASC"]
    for page in pages(lambda token: store.search_runs(ids, "", ViewType.ALL, _PAGE, order, token)):
        for run in page:
            if since is None or run.info.end_time is None or run.info.end_time >= since:
                yield run
