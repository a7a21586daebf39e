"""Shared by the parts of a REST store: the connection to the server, and its capabilities."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from mistk_service.tracking import wire
from mistk_service.tracking.errors import AnswerLost, InvalidParameter, NotSupported, StoreUnavailable
from mistk_service.tracking.filters import Grammar, parse_filter, parse_order
from mistk_service.tracking.remotes import Capabilities
from mistk_service.tracking.rest.responses import Json
from mistk_service.tracking.rest.transport import Transport
from mistk_service.tracking.values import Tag
from mistk_service.tracking.values.page import Page

P = ParamSpec("P")
T = TypeVar("T")

_log = logging.getLogger(__name__)

#: A server that supports filters refuses this one.
_NO_FILTER = "this is no filter"


class Session:
    """The server behind a REST store."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport
        self._lock = threading.Lock()
        # A separate lock, since it is held until the server answers.
        self._probing = threading.Lock()
        self._capabilities: Capabilities | None = None
        self._logged_substitutes: set[str] = set()
        self._sender: ThreadPoolExecutor | None = None
        self._closed = False

    @property
    def capabilities(self) -> Capabilities:
        """What the server supports; it is probed on first use.

        Raises:
            StoreUnavailable: the server does not answer; it is probed again the next time.
            Unauthenticated: it does not accept the credentials.
            PermissionDenied: the user may not write.
        """
        if self._capabilities is None:
            with self._probing:
                if self._capabilities is None:
                    self._capabilities = _probe(self._http)
        return self._capabilities

    def _submit(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Make a call on a thread; calls are made one after the other, in order."""
        with self._lock:
            if self._closed:
                raise StoreUnavailable(f"The connection to {self._http.server} has been closed.")
            if self._sender is None:
                self._sender = ThreadPoolExecutor(1, thread_name_prefix="rest-store")
            return self._sender.submit(call, *args, **kwargs)

    def _log_substitute(self, what: str) -> None:
        """Log once how something that the server does not support is done instead."""
        with self._lock:
            if what in self._logged_substitutes:
                return
            self._logged_substitutes.add(what)
        _log.warning("%s: %s", self._http.server, what)

    def _search(
        self,
        endpoint: str,
        fields: Json,
        grammar: Grammar,
        read: Callable[[wire.Fields], T],
        name: str,
        *,
        by_query: bool = False,
    ) -> Page[T]:
        """Return a page of a search; if the server refuses it or fails, our own parser may find the reason.

        Args:
            endpoint: such as ``runs/search``.
            fields: of the request, ``filter`` and ``order_by`` among them.
            grammar: of the filter and the order.
            read: reads a result.
            name: of the list of results in the answer.
            by_query: whether the fields go into the query instead of the body.
        """
        try:
            answer = self._http.get(endpoint, fields) if by_query else self._http.post(endpoint, fields)
        except (InvalidParameter, AnswerLost) as error:
            try:
                parse_filter(fields.get("filter") or "", grammar)
                # Orders of logged models are objects.
                parse_order([clause for clause in fields.get("order_by") or () if isinstance(clause, str)], grammar)
            except InvalidParameter as found:
                raise found from error
            raise
        return wire.page_from_answer(read, answer, name)

    def _cut(self, tags: Sequence[Tag]) -> Sequence[Tag]:
        """Return tags of a run with values that the server accepts; MLflow's own accepts any when a run is created."""
        longest = self.capabilities.longest_tag
        if self.capabilities.overwrites_tags or all(len(tag.value) <= longest for tag in tags):
            return tags
        self._log_substitute(f"values of tags are cut to {longest} characters, the limit of the server.")
        return [Tag(tag.key, tag.value[:longest]) for tag in tags]


def _probe(transport: Transport) -> Capabilities:
    """Find out what a server supports, by requests without required fields, which cannot change anything.

    What only a write would show, such as whether a tag can be set twice, is inferred: a server that takes filters and deletes
    tags has all of MLflow's API; one that does neither is GitLab, or like it.
    """
    filters = _takes_filters(transport)
    delete_tag = transport.has("runs/delete-tag")
    whole = filters and delete_tag
    return Capabilities(
        search_filters=filters,
        log_inputs=transport.has("runs/log-inputs"),
        log_outputs=transport.has("runs/outputs"),
        delete_tag=delete_tag,
        rename_run=transport.has("experiments/update"),
        batch_tags=whole,
        overwrites_tags=delete_tag,
        stores_repeats_once=whole,
        non_finite=whole,
        longest_param=6000 if whole else 250,
        longest_tag=8000 if whole else 5000,
    )


def _takes_filters(transport: Transport) -> bool:
    try:
        transport.post("experiments/search", {"max_results": 1, "filter": _NO_FILTER})
    except InvalidParameter:
        return True
    except NotSupported:
        pass
    return False
