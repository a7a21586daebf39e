"""The state of the remotes, for the status and for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from mistk_service.tracking.replication import RemoteState

#: Tolerance in milliseconds for the time since when items have been waiting, which is recalculated each time.
_JITTER = 1500


class OutboxView:
    """The remotes for the status. Durations become points in time, so that the value only changes when the state does."""

    def __init__(self) -> None:
        self._since: dict[str, int] = {}

    def show(self, states: Iterable[RemoteState], now: int) -> list[dict[str, Any]]:
        """Return the JSON of the remotes.

        Args:
            states: the states of the remotes.
            now: milliseconds since 1970.
        """
        return [self._entry(state, now) for state in states]

    def _entry(self, state: RemoteState, now: int) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "remote": state.remote,
            "connected": state.connected,
            "depth": state.depth,
            "refused": state.refused,
        }
        if state.last_error is not None:
            entry["lastError"] = state.last_error
        if state.last_success is not None:
            entry["lastSuccess"] = _iso(state.last_success)
        if state.oldest_seconds is not None:
            since = now - int(state.oldest_seconds * 1000)
            if abs(since - self._since.get(state.remote, 0)) > _JITTER:
                self._since[state.remote] = since
            entry["waitingSince"] = _iso(self._since[state.remote])
        return entry


class OutboxCollector(Collector):
    """The metrics of the recorder and of the remotes at the moment of the request.

    Args:
        states: returns the states of the remotes.
        waiting: returns the number of reports that wait to be written to the container's own store.
    """

    def __init__(self, states: Callable[[], Sequence[RemoteState]], waiting: Callable[[], int]) -> None:
        self._states = states
        self._waiting = waiting

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        yield GaugeMetricFamily(
            "mistk_reporter_waiting", "Reports that wait to be written to the container's store.", value=self._waiting()
        )
        states = self._states()
        for name, text, value in _FIGURES:
            family = GaugeMetricFamily(f"mistk_outbox_{name}", text, labels=["remote"])
            for state in states:
                family.add_metric([state.remote], value(state))
            yield family


_FIGURES: tuple[tuple[str, str, Callable[[Any], float]], ...] = (
    ("items", "Changes that wait to be sent to the remote.", lambda state: state.depth),
    ("oldest_seconds", "Seconds that the oldest of them has been waiting.", lambda state: state.oldest_seconds or 0.0),
    ("refused", "Items that the remote refused permanently.", lambda state: state.refused),
    (
        "connected",
        "1 if the last delivery to the remote succeeded, else 0.",
        lambda state: float(state.connected),
    ),
)


def _iso(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
