"""Orphaned runs: runs of a container that was killed, which it cannot end any more."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from itertools import chain

from mistk_service.recording.retry import StoreRetry
from mistk_service.tracking.errors import InvalidParameter, ResourceNotFound
from mistk_service.tracking.store._store import Store
from mistk_service.tracking.values import Run, RunStatus, Tag, ViewType
from mistk_service.tracking.values.page import pages

logger = logging.getLogger(__name__)

#: The tag with the id of the container that writes, or has written, to a run.
CONTAINER_TAG = "mistk.containerId"

#: The tag that says why a run has failed.
FAILURE_TAG = "mistk.failure"

#: Runs that are requested at once.
_PAGE = 1000


def end_runs_of(container_id: str, store: Store, retry: StoreRetry, last_seen: int, now: int) -> None:
    """Mark the running runs of a container that was killed as failed.

    Their end is the time of their last known data, since the time of the kill is unknown: at least ``last_seen``, at most
    ``now``, in milliseconds since 1970.
    """
    reason = Tag(
        FAILURE_TAG,
        f"ContainerKilled: The container {container_id} has not finished this run. It was killed, its machine "
        "went down, or it could not reach the store. What had been reported until then is here.",
    )
    for run in retry.call(lambda: list(_running(container_id, store))):
        try:
            retry.call(partial(store.set_tag, run.info.run_id, reason))
            end = _end_time(run, last_seen, now)
            retry.call(partial(store.update_run, run.info.run_id, RunStatus.FAILED, end))
        except (InvalidParameter, ResourceNotFound):  # it was deleted in the meantime
            continue
        logger.warning(
            "The run %s of the container %s, which was killed, is marked as failed.", run.info.run_id, container_id
        )


def _end_time(run: Run, last_seen: int, now: int) -> int:
    """Return the time of the last known data of a run, not before its start.

    Times in the future come from wrong clocks.
    """
    times = [last_seen, *(metric.timestamp for metric in run.data.metrics)]
    return max([run.info.start_time, *(time for time in times if time <= now)])


def _running(container_id: str, store: Store) -> Iterator[Run]:
    condition = f"attributes.status = 'RUNNING' and tags.`{CONTAINER_TAG}` = '{container_id}'"
    for experiment_ids in _experiments(store):
        search = partial(store.search_runs, experiment_ids, condition, ViewType.ACTIVE_ONLY, _PAGE, ())
        yield from chain.from_iterable(pages(search))


def _experiments(store: Store) -> Iterator[list[str]]:
    for page in pages(lambda token: store.search_experiments(page_token=token)):
        yield [experiment.experiment_id for experiment in page]
