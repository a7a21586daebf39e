"""Copying runs to a remote from the command line: once, or repeatedly."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from datetime import datetime

from mistk_service.tracking.errors import StoreUnavailable
from mistk_service.tracking.lookup import artifacts_next_to
from mistk_service.tracking.remotes import Remote
from mistk_service.tracking.replication import Backoff, open_remote, remote_name
from mistk_service.tracking.replication.run_sender import WHOLE_RUN
from mistk_service.tracking.replication.sync import SyncReport, sync
from mistk_service.tracking.sql import SqlStore
from mistk_service.tracking.store.outbox import Refusal

#: Seconds between two rounds.
_INTERVAL = 10.0
#: Seconds by which a round starts before the previous one, for clocks that differ.
_OVERLAP = 60

_AGO = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class SyncCommand:
    """Copies runs of a store to a remote, and prints the result.

    Args:
        store: the local store.
        remote: the remote's URI; the environment has the credentials.
        artifacts: the root of the local artifacts; None for the folder ``artifacts`` next to the store's file.
        experiments: names or ids; none means all.
        since: ms since 1970; runs that ended before are left out.
        print_line: prints a line.
        open_remote: opens the remote.
        wait: waits for a number of seconds.
        now: seconds since 1970.
    """

    def __init__(
        self,
        store: SqlStore,
        remote: str,
        artifacts: str | None,
        experiments: Sequence[str],
        since: int | None,
        print_line: Callable[[str], None],
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
        self._print_line = print_line
        self._wait = wait
        self._now = now
        self._artifacts = artifacts_next_to(store.file, artifacts)
        if self._artifacts is None:
            print_line(
                "Artifacts are left out, because there is no folder of them next to the store; name it with --artifacts."
            )

    def once(self) -> bool:
        """Copy everything that the remote lacks, and return whether it has accepted all of it.

        Raises:
            StoreError: the remote or the local store is unavailable, or refuses everything. What was copied stays.
        """
        try:
            return self._round()
        finally:
            self._remote.close()

    def watch(self) -> None:
        """Copy repeatedly, also after outages, until the process is interrupted."""
        backoff = Backoff()
        try:
            while True:
                started = self._now()
                try:
                    self._round()
                except StoreUnavailable as error:
                    seconds = backoff.next(error.retry_after)
                    self._print_line(f"{error} Trying again in {seconds:.0f} s.")
                else:
                    backoff.reset()
                    # The remote has everything that had ended by then.
                    self._since = max(self._since or 0, int((started - _OVERLAP) * 1000))
                    seconds = _INTERVAL
                self._wait(seconds)
        except KeyboardInterrupt:
            self._print_line("Stopped.")
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
        self._print_line(_summary(report, self._name, with_artifacts=self._artifacts is not None))
        for refusal in report.refusals:
            self._print_line(_refusal(refusal))
        return not report.refusals


def parse_time(text: str) -> int:
    """Return a time in ms since 1970 from a date, a date and time, or a duration ago such as ``12h``.

    Raises:
        ValueError: the text is something else.
    """
    ago = _AGO.fullmatch(text)
    if ago:
        return max(0, int(time.time() * 1000) - int(ago[1]) * _UNITS[ago[2]] * 1000)
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        raise ValueError(
            f"{text!r} is not a time; expected a date (2026-11-21), a date and time (2026-11-21T09:30), or a time ago "
            "(90m, 12h, 7d)."
        ) from None


def _summary(report: SyncReport, name: str, *, with_artifacts: bool) -> str:
    """Return the summary of a round."""

    def line(count: int, one: str, several: str) -> str:
        return f"{_runs(count)} {one if count <= 1 else several}"

    others = [
        (report.left_out, line(report.left_out, "came from there and was", "came from there and were") + " not copied"),
        (report.in_part, line(report.in_part, "is", "are") + " incomplete there"),
        (report.refused, line(report.refused, "was", "were") + " refused"),
    ]
    parts = [sentence for count, sentence in others if count]
    if report.runs or parts:
        parts.insert(0, line(report.runs, "is", "are") + f" up to date at {name}")
    else:
        parts = [f"There are no runs to copy to {name}"]
    if not with_artifacts:
        parts.append("Artifacts were left out")
    return " ".join(f"{part}." for part in parts)


def _runs(count: int) -> str:
    return {0: "No run", 1: "1 run"}.get(count, f"{count} runs")


def _refusal(refusal: Refusal) -> str:
    if refusal.what == WHOLE_RUN:
        return f"  refused, run {refusal.run_id}: {refusal.reason}"
    items = f" ({refusal.items} items)" if refusal.items > 1 else ""
    return f"  refused, {refusal.what}{items} of run {refusal.run_id}: {refusal.reason}"
