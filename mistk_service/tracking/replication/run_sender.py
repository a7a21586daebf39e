"""Sending to one run of a remote, and recording what it refuses."""

from __future__ import annotations

from collections.abc import Callable

from mistk_service.tracking.errors import ResourceNotFound, StoreError
from mistk_service.tracking.remotes import Remote
from mistk_service.tracking.replication.metric_points import missing_points, without_repeats
from mistk_service.tracking.replication.packing import Batch
from mistk_service.tracking.replication.remote import accepts_writes, is_refusal, may_be_due_to_item
from mistk_service.tracking.replication.run_mapping import RunRefused
from mistk_service.tracking.store.outbox import Ledger
from mistk_service.tracking.values import LifecycleStage, Metric, Param, Tag

#: The name of the refusal of a whole run.
WHOLE_RUN = "the whole run"

#: How often a single item has to fail, while the remote accepts something else, before it counts as refused.
_ATTEMPTS = 3


class RunSender:
    """Sends to one run.

    An item that the remote refuses permanently is found by bisection and recorded with the reason. The rest is sent.

    Args:
        remote: the remote.
        ledger: records refusals.
        run_id: the run's id in the local store.
        remote_run_id: the run's id at the remote.
        suspicious: whether an apparently temporary failure counts as a refusal if the remote accepts another write to the run
            at the same time. For a run that has failed many times in a row.
    """

    def __init__(
        self, remote: Remote, ledger: Ledger, run_id: str, remote_run_id: str, *, suspicious: bool = False
    ) -> None:
        self.run_id = run_id
        self.remote_run_id = remote_run_id
        self._remote = remote
        self._ledger = ledger
        self._suspicious = suspicious

    def send(self, batch: Batch, *, doubtful: bool = False) -> None:
        """Send a batch of any size.

        Args:
            batch: what to send.
            doubtful: whether the remote may already have a part of it.

        Raises:
            RunRefused: the run does not exist any more, or cannot be written to.
            StoreUnavailable: it may have arrived or not; send it again, as doubtful.
        """
        if batch.metrics and self._keeps_repeats():
            batch = Batch(without_repeats(batch.metrics), batch.params, batch.tags)
            batch = self._without_known(batch) if doubtful else batch
        for piece in batch.pieces():
            self._send_piece(piece)

    def attempt(self, what: str, call: Callable[[], object]) -> None:
        """Make a call about the run, and record a refusal; see :meth:`send` for what it raises.

        Args:
            what: the subject of the call, in words.
            call: the call.
        """
        error = self._refusal(call, _ATTEMPTS)
        if error is not None:
            self._check_run(error)
            self._ledger.refuse(self.run_id, what, str(error))

    def _send_piece(self, piece: Batch, *, checked: bool = False) -> None:
        error = self._refusal(
            lambda: self._remote.log_batch(self.remote_run_id, piece.metrics, piece.params, piece.tags),
            _ATTEMPTS if len(piece) == 1 else 1,
        )
        if error is None:
            return
        if not checked:
            self._check_run(error)
        if len(piece) == 1:
            self._ledger.refuse(self.run_id, _what(piece), str(error))
            return
        # Such a remote may have stored a part of what it refused.
        rest = self._without_known(piece) if piece.metrics and self._keeps_repeats() else piece
        for half in rest.halves():
            if half:
                self._send_piece(half, checked=True)

    def _refusal(self, call: Callable[[], object], attempts: int) -> StoreError | None:
        """Make a call, and return the error with which it is refused, or None.

        Args:
            call: the call.
            attempts: how often it is made before an apparently temporary error counts as a refusal.
        """
        while True:
            try:
                call()
            except StoreError as error:
                if is_refusal(error):
                    return error
                if not (self._suspicious and may_be_due_to_item(error)):
                    raise
                if not accepts_writes(self._remote, self.remote_run_id, self.run_id):
                    raise
                attempts -= 1
                if attempts == 0:
                    return error
            else:
                return None

    def _keeps_repeats(self) -> bool:
        return not self._remote.capabilities.stores_repeats_once

    def _check_run(self, refusal: StoreError) -> None:
        """Raise RunRefused if the refusal is due to the state of the run, and not to the call."""
        try:
            run = self._remote.get_run(self.remote_run_id)
        except ResourceNotFound:
            raise RunRefused(f"The run {self.remote_run_id} no longer exists there.") from refusal
        if run.info.lifecycle_stage is not LifecycleStage.ACTIVE:
            raise RunRefused(f"The run {self.remote_run_id} is deleted there.") from refusal

    def _without_known(self, batch: Batch) -> Batch:
        """Return a batch without the points that the remote has."""
        return Batch(missing_points(self._remote, self.remote_run_id, batch.metrics), batch.params, batch.tags)


def _what(piece: Batch) -> str:
    items: list[Metric | Param | Tag] = [*piece.metrics, *piece.params, *piece.tags]
    return f"{type(items[0]).__name__.lower()} {items[0].key}"
