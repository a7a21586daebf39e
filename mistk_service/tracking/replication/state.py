"""How a remote stands, for the status, the metrics and people."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["RemoteState"]


@dataclass(frozen=True, slots=True)
class RemoteState:
    """How a remote stands.

    Attributes:
        remote: its URI without secrets.
        depth: how many changes it has yet to get.
        oldest_seconds: how long the oldest of them has been waiting, or None.
        refused: how many items it refused for good.
        connected: whether it has answered, and the last try to deliver to it succeeded.
        last_error: why that failed, or None.
        last_success: when it took something last, in ms since 1970, or None.
        retry_in: seconds until the next try after a failure, or None.
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
