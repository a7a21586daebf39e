"""The way to open a remote."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mistk_service.tracking.replication.remote import Remote

if TYPE_CHECKING:
    from mistk_service.tracking.rest import RestConfig

__all__ = ["open_remote"]


def open_remote(remote: str | RestConfig) -> Remote:
    """Open a remote. Nothing is sent yet.

    Args:
        remote: a URI, which is reached as the environment says, or how to reach one.

    Raises:
        UnsupportedStore: the URI is no tracking server's.
        InvalidParameter: the configuration cannot be used.
    """
    # The HTTP library is loaded by those who have a remote.
    from mistk_service.tracking.rest import open_rest_store

    return open_rest_store(remote)
