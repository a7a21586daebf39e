"""Opening and naming remotes, and the meaning of their errors for replication."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mistk_service.tracking.errors import PermissionDenied, StoreError, StoreUnavailable
from mistk_service.tracking.remotes import Remote
from mistk_service.tracking.values import Tag

if TYPE_CHECKING:
    from mistk_service.tracking.rest import RestConfig

#: The tag by which a remote's run is known to be the same as a local one; its value is the local run's id.
SOURCE_RUN = "mistk.sourceRunId"


def open_remote(remote: str | RestConfig) -> Remote:
    """Open a remote; see :func:`mistk_service.tracking.rest.open_rest_store`."""
    # The HTTP library is loaded only where there is a remote.
    from mistk_service.tracking.rest import open_rest_store

    return open_rest_store(remote)


def is_refusal(error: StoreError) -> bool:
    """Return whether the same call would fail again. An outage ends, and a token may be renewed, so neither is a refusal."""
    return not isinstance(error, StoreUnavailable | PermissionDenied) and error.error_code != "UNAUTHENTICATED"


def may_be_due_to_item(error: Exception) -> bool:
    """Return whether an apparently temporary error may be caused by the item that was sent, so that retries do not help.

    It is not if the remote names a time for the next attempt.
    """
    return getattr(error, "retry_after", None) is None


def remote_name(uri: str) -> str:
    """Return a remote's URI as it is shown and stored: without user, password, query and trailing slashes."""
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2].lower()
    # Not with urlunsplit, which leaves out slashes of sqlite:////FILE in some versions of Python.
    return f"{parts.scheme.lower()}://{host}{parts.path.rstrip('/')}"


def accepts_writes(remote: Remote, remote_run_id: str, run_id: str) -> bool:
    """Return whether a remote accepts a write to a run now: a tag that it already has.

    A read would not be enough, since the remote's disk may be full.
    """
    try:
        remote.log_batch(remote_run_id, (), (), [Tag(SOURCE_RUN, run_id)])
    except StoreError as error:
        return is_refusal(error)
    return True
