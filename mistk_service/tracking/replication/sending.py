"""Sending to one run of a remote, and setting aside what it refuses."""

from __future__ import annotations

from collections.abc import Callable

from mistk_service.tracking.errors import ResourceNotFound, StoreError
from mistk_service.tracking.replication.packing import Batch
from mistk_service.tracking.replication.points import missing_points, without_repeats
from mistk_service.tracking.replication.remote import Remote, is_refusal, may_be_the_item, takes_something
from mistk_service.tracking.replication.run_mapping import RunRefused
from mistk_service.tracking.store.outbox import Ledger
from mistk_service.tracking.values import LifecycleStage, Metric, Param, Tag

__all__ = ["WHOLE_RUN", "Sender"]

#: What a refusal of everything is called.
WHOLE_RUN = "the whole run"

#: How often a single item has to fail, while the remote takes something else, before it is to blame.
_CHANCES = 3


class Sender:
    """Sends to one run.

    What the remote refuses for good is searched for by halves, set aside with the reason, and the rest goes on.

    Args:
        remote: the remote.
        ledger: where refusals are noted.
        run_id: the run, as the local store calls it.
        remote_run_id: the same run, as the remote calls it.
        suspicious: whether what fails in a way that might pass is taken for refused, if the remote takes something else of the
            run in the same moment: for a run at which it has failed again and again.
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
            doubtful: whether a part of it may be there already.

        Raises:
            RunRefused: the run itself is not there any more, or cannot be written to.
            StoreUnavailable: it may be there or not; send it again, as doubtful.
        """
        if batch.metrics and self._keeps_repeats():
            batch = Batch(without_repeats(batch.metrics), batch.params, batch.tags)
            batch = self._without_known(batch) if doubtful else batch
        for piece in batch.pieces():
            self._send_piece(piece)

    def attempt(self, what: str, call: Callable[[], object]) -> None:
        """Make a call about the run, and set it aside where it is refused.

        Args:
            what: what the call is about, in words.
            call: the call.

        Raises:
            RunRefused: see :meth:`send`.
            StoreUnavailable: see :meth:`send`.
        """
        error = self._refusal(call, _CHANCES)
        if error is not None:
            self._check_run(error)
            self._ledger.refuse(self.run_id, what, str(error))

    def _send_piece(self, piece: Batch, *, checked: bool = False) -> None:
        error = self._refusal(
            lambda: self._remote.log_batch(self.remote_run_id, piece.metrics, piece.params, piece.tags),
            _CHANCES if len(piece) == 1 else 1,
        )
        if error is None:
            return
        if not checked:
            self._check_run(error)
        if len(piece) == 1:
            self._ledger.refuse(self.run_id, _what(piece), str(error))
            return
        # Such a remote may have taken a part of what it refused.
        rest = self._without_known(piece) if piece.metrics and self._keeps_repeats() else piece
        for half in rest.halves():
            if half:
                self._send_piece(half, checked=True)

    def _refusal(self, call: Callable[[], object], chances: int) -> StoreError | None:
        """Make a call, and return why it is refused, or None where it is not.

        Args:
            call: the call.
            chances: how often it is made before an error that might pass counts as a refusal.
        """
        while True:
            try:
                call()
            except StoreError as error:
                if is_refusal(error):
                    return error
                if not (self._suspicious and may_be_the_item(error) and self._takes_more()):
                    raise
                chances -= 1
                if chances == 0:
                    return error
            else:
                return None

    def _takes_more(self) -> bool:
        return takes_something(self._remote, self.remote_run_id, self.run_id)

    def _keeps_repeats(self) -> bool:
        return not self._remote.capabilities.stores_repeats_once

    def _check_run(self, refusal: StoreError) -> None:
        """Raise RunRefused if not the call was at fault, but the run is gone."""
        try:
            run = self._remote.get_run(self.remote_run_id)
        except ResourceNotFound:
            raise RunRefused(f"The run {self.remote_run_id} does not exist there any more.") from refusal
        if run.info.lifecycle_stage is not LifecycleStage.ACTIVE:
            raise RunRefused(f"The run {self.remote_run_id} is deleted there.") from refusal

    def _without_known(self, batch: Batch) -> Batch:
        """Return a batch without the points that are there."""
        return Batch(missing_points(self._remote, self.remote_run_id, batch.metrics), batch.params, batch.tags)


def _what(piece: Batch) -> str:
    match [*piece.metrics, *piece.params, *piece.tags]:
        case [Metric() as item]:
            return f"metric {item.key}"
        case [Param() as item]:
            return f"param {item.key}"
        case [Tag() as item]:
            return f"tag {item.key}"
        case _:
            return "batch"
