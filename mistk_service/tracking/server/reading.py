"""Reads the fields of a request leniently, as MLflow does."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.types import Scope

from mistk_service.tracking.errors import InvalidParameter
from mistk_service.tracking.server.replies import Refused
from mistk_service.tracking.wire import Fields
from mistk_service.web.contract import Operation, Reader
from mistk_service.web.json_limits import JsonLimits

_JSON = "application/json"

#: The default limits: more than the longest tag of the registry, 100,000 characters written as escapes.
_USUAL = JsonLimits(size=2 << 20)

#: Larger limits, by operationId: for a full batch with escaped text, for a dataset with the longest profile, all of it
#: escaped, and for the parts of the largest upload.
_LIMITS = {
    "log_batch": JsonLimits(size=10 << 20),
    "log_inputs": JsonLimits(size=36 << 20, values=100_000, containers=20_000),
    "complete_multipart_upload": JsonLimits(size=8 << 20, values=100_000, containers=20_000),
}


def limits_of(operation_id: str, max_body: int) -> JsonLimits:
    """Return the limits of an operation's body, at most ``max_body`` bytes."""
    limits = _LIMITS.get(operation_id, _USUAL)
    return replace(limits, size=min(limits.size, max_body))


def fields_reader(operation: Operation, limits: JsonLimits) -> Reader:  # noqa: ARG001 - all are read alike
    """Return the reader of an operation: it returns the ``fields`` of the body, or of the query of a GET, for the handler."""

    def read(scope: Scope, body: bytes | bytearray) -> dict[str, Fields]:
        if scope["method"] in ("GET", "HEAD") and scope["query_string"]:
            return {"fields": query_of(scope)}
        if body:
            _check_type(scope)
        return {"fields": Fields.from_body(body, limits)}

    return read


def query_of(scope: Scope) -> Fields:
    """Return the fields of the query.

    Raises:
        InvalidParameter: it is not UTF-8.
    """
    try:
        pairs = parse_qsl(scope["query_string"].decode("ascii"), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError as error:
        raise InvalidParameter("The query of the request is not valid UTF-8.") from error
    return Fields.from_query(pairs)


def _check_type(scope: Scope) -> None:
    headers = Headers(scope=scope)
    if headers.get("content-encoding", "identity") != "identity":
        raise Refused(415, "The body is compressed; send it uncompressed.")
    given = headers.get("content-type", "")
    if given.partition(";")[0].strip().lower() != _JSON:
        raise InvalidParameter(f"Bad Request. Content-Type must be one of ['{_JSON}'], got {given!r}.")
