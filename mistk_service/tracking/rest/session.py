"""What the parts of a REST store share: the connection to the server, its capabilities, and what was logged about them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from mistk_service.tracking.errors import InvalidParameter, StoreError, StoreUnavailable
from mistk_service.tracking.filters import Grammar, parse_filter, parse_order
from mistk_service.tracking.rest.capabilities import Capabilities, probe
from mistk_service.tracking.rest.transport import Transport
from mistk_service.tracking.values import Tag

__all__ = ["Remote", "explained"]

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger(__name__)


class Remote:
    """The server behind a REST store.

    Args:
        transport: sends requests to it.
    """

    def __init__(self, transport: Transport) -> None:
        self._http = transport
        self._lock = threading.Lock()
        # Of its own, since it is held as long as the server takes to answer.
        self._probing = threading.Lock()
        self._capabilities: Capabilities | None = None
        self._said: set[str] = set()
        self._sender: ThreadPoolExecutor | None = None
        self._closed = False

    @property
    def capabilities(self) -> Capabilities:
        """What the server can do; it is asked when that is first of interest.

        Raises:
            StoreUnavailable: the server does not answer; it is asked again the next time.
            Unauthenticated: it does not accept the credentials.
            PermissionDenied: the user may not write.
        """
        if self._capabilities is None:
            with self._probing:
                if self._capabilities is None:
                    self._capabilities = probe(self._http)
        return self._capabilities

    def _submit(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Let a thread do what need not be waited for; one thing after the other, in the order that they came."""
        with self._lock:
            if self._closed:
                raise StoreUnavailable(f"The connection to {self._http.server} has been closed.")
            if self._sender is None:
                self._sender = ThreadPoolExecutor(1, thread_name_prefix="rest-store")
            return self._sender.submit(call, *args, **kwargs)

    def _finish(self) -> None:
        """Wait for what was submitted, and take no more."""
        with self._lock:
            self._closed, sender = True, self._sender
        if sender is not None:
            sender.shutdown(wait=True)

    def _degrade(self, what: str) -> None:
        """Log, once, how something that the server cannot do is done instead."""
        with self._lock:
            if what in self._said:
                return
            self._said.add(what)
        _log.warning("%s: %s", self._http.server, what)

    def _cut(self, tags: Sequence[Tag]) -> Sequence[Tag]:
        """Return tags of a run with the values that the server can keep; MLflow's own takes any when a run is created."""
        longest = self.capabilities.longest_tag
        if self.capabilities.overwrites_tags or all(len(tag.value) <= longest for tag in tags):
            return tags
        self._degrade(f"values of tags are cut to {longest} characters, the limit of the server.")
        return [Tag(tag.key, tag.value[:longest]) for tag in tags]


def explained(error: StoreError, grammar: Grammar, filter: str, order_by: Sequence[str]) -> StoreError:
    """Return a better error for a search that the server refused, or stumbled over, where our own parser sees why."""
    try:
        parse_filter(filter, grammar)
        parse_order(order_by, grammar)
    except InvalidParameter as found:
        return found
    return error
