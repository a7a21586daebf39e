"""Bringing runs over from a terminal: once, or again and again."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from mistk_service.tracking.errors import StoreUnavailable
from mistk_service.tracking.lookup import artifacts_beside
from mistk_service.tracking.replication import Backoff, Remote, open_remote, remote_name
from mistk_service.tracking.replication.run_sender import WHOLE_RUN
from mistk_service.tracking.replication.sync import SyncReport, sync
from mistk_service.tracking.sql import SqlStore
from mistk_service.tracking.store.outbox import Refusal

__all__ = ["SyncCommand", "moment"]

#: Seconds between two rounds.
_INTERVAL = 10.0
#: Seconds by which a round looks further back than to the start of the last one, for clocks that differ.
_OVERLAP = 60

_AGO = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class SyncCommand:
    """Brings runs of a store over to a remote, and tells of it.

    Args:
        store: the local store.
        remote: the remote's URI; how to log in is in the environment.
        artifacts: where the local artifacts are; None for the folder ``artifacts`` beside the store's file.
        experiments: names or ids; none means all.
        since: ms since 1970; runs that ended before are left out.
        tell: called with a line for people.
        open_remote: opens the remote.
        wait: waits for so many seconds.
        now: seconds since 1970.
    """

    def __init__(
        self,
        store: SqlStore,
        remote: str,
        artifacts: str | None,
        experiments: Sequence[str],
        since: int | None,
        tell: Callable[[str], None],
        *,
        open_remote: Callable[[str], Remote] = open_remote,
        wait: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._name = remote_name(remote)
        self._remote = open_remote(remote)
        self._experiments = experiments
        self._since = since
        self._tell = tell
        self._wait = wait
        self._now = now
        self._artifacts = artifacts_beside(store.file, artifacts)
        if self._artifacts is None:
            tell("Artifacts are left out, since there is no folder of them beside the store; name it with --artifacts.")

    def once(self) -> bool:
        """Bring everything over that the remote lacks, and return whether it has taken all of it.

        Raises:
            StoreError: it cannot be done, or not now; what was brought over stays.
        """
        try:
            return self._round()
        finally:
            self._remote.close()

    def watch(self) -> None:
        """Do the same again and again, also over outages, until the process is interrupted."""
        backoff = Backoff()
        try:
            while True:
                started = self._now()
                try:
                    self._round()
                except StoreUnavailable as error:
                    seconds = backoff.next(error.retry_after)
                    self._tell(f"{error} Trying again in {seconds:.0f} s.")
                else:
                    backoff.reset()
                    # What had ended by then is over there.
                    self._since = max(self._since or 0, int((started - _OVERLAP) * 1000))
                    seconds = _INTERVAL
                self._wait(seconds)
        except KeyboardInterrupt:
            self._tell("Stopped.")
        finally:
            self._remote.close()

    def _round(self) -> bool:
        report = sync(
            self._store,
            self._remote,
            self._name,
            artifacts=self._artifacts,
            experiments=self._experiments,
            since=self._since,
            wait=self._wait,
        )
        self._tell(_summary(report, self._name, with_artifacts=self._artifacts is not None))
        for refusal in report.refusals:
            self._tell(_refusal(refusal))
        return not report.refusals


def moment(text: str) -> int:
    """Return a moment in ms since 1970, from a date, a date and time, or a time ago such as ``12h``.

    Raises:
        ValueError: it is none of these.
    """
    ago = _AGO.fullmatch(text)
    if ago:
        return int((time.time() - int(ago[1]) * _UNITS[ago[2]]) * 1000)
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        raise ValueError(
            f"{text!r} is no moment; expected a date (2026-11-21), a date and time (2026-11-21T09:30), or a time ago "
            "(90m, 12h, 7d)."
        ) from None


def _summary(report: SyncReport, name: str, *, with_artifacts: bool) -> str:
    """Return the sentences that close a round."""
    there = f"{_runs(report.runs)} as {'it is' if report.runs <= 1 else 'they are'} here"
    kept = f"{_runs(report.left_out)} came from there and {'stays as it is' if report.left_out == 1 else 'stay as they are'}"
    in_part = f"{_runs(report.in_part)} {'is' if report.in_part == 1 else 'are'} there without what was refused"
    refused = f"{_runs(report.refused)} {'was' if report.refused == 1 else 'were'} refused"
    others = [(report.left_out, kept), (report.in_part, in_part), (report.refused, refused)]
    parts = [sentence for count, sentence in others if count]
    if report.runs or parts:
        parts.insert(0, f"{name} has {there}")
    else:
        parts = [f"There is no run here for {name}"]
    if not with_artifacts:
        parts.append("Artifacts were left out")
    return " ".join(f"{part}." for part in parts)


def _runs(count: int) -> str:
    return {0: "no run", 1: "1 run"}.get(count, f"{count} runs")


def _refusal(refusal: Refusal) -> str:
    if refusal.what == WHOLE_RUN:
        return f"  refused, run {refusal.run_id}: {refusal.reason}"
    items = f" ({refusal.items} items)" if refusal.items > 1 else ""
    return f"  refused, {refusal.what}{items} of run {refusal.run_id}: {refusal.reason}"
