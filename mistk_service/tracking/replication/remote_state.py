"""The state of a remote, as the status, the metrics and the command line show it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["RemoteState"]


@dataclass(frozen=True, slots=True)
class RemoteState:
    """The state of a remote.

    Attributes:
        remote: its URI without secrets.
        depth: the number of changes that it has yet to receive.
        oldest_seconds: how long the oldest of them has been waiting, or None.
        refused: the number of items that it refused permanently.
        connected: whether it has responded, and the last attempt to deliver succeeded.
        last_error: why the last attempt failed, or None.
        last_success: the time of the last delivery, in ms since 1970, or None.
        retry_in: seconds until the next attempt after a failure, or None.
    """

    remote: str
    depth: int = 0
    oldest_seconds: float | None = None
    refused: int = 0
    connected: bool = False
    last_error: str | None = None
    last_success: int | None = None
    retry_in: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object; what is None is left out."""
        return {key: value for key, value in asdict(self).items() if value is not None}
