"""What a remote can do. Servers that speak MLflow's API differ and do not say how, so they are probed without side effects."""

from __future__ import annotations

from dataclasses import dataclass

from mistk_service.tracking.errors import InvalidParameter, NotSupported
from mistk_service.tracking.rest.transport import Transport

__all__ = ["Capabilities", "probe"]

#: A server that reads filters refuses this one.
_NO_FILTER = "this is no filter"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a remote can do. The defaults are those of MLflow's own server; each attribute says what GitLab lacks.

    Attributes:
        search_filters: searches take filters, orders of several keys, view types and several experiments. GitLab ignores or
            refuses these.
        log_inputs: datasets and models that a run uses can be recorded as such. Not in GitLab.
        log_outputs: models that a run made, likewise.
        delete_tag: a tag of a run can be removed. Not in GitLab.
        rename_run: not in GitLab.
        batch_tags: tags can be sent in a batch. Some versions of GitLab drop them there.
        overwrites_tags: a tag can be set again. In GitLab the first value stays, and setting it again is refused.
        stores_repeats_once: a point that is sent twice is there once. In GitLab it is there twice.
        non_finite: NaN and infinities can be logged. GitLab refuses a batch with them.
        longest_param: characters of a param's value that are kept; 250 in GitLab.
        longest_tag: characters of a tag's value that are kept; 5000 in GitLab.
    """

    search_filters: bool = True
    log_inputs: bool = True
    log_outputs: bool = True
    delete_tag: bool = True
    rename_run: bool = True
    batch_tags: bool = True
    overwrites_tags: bool = True
    stores_repeats_once: bool = True
    non_finite: bool = True
    longest_param: int = 6000
    longest_tag: int = 8000


def probe(transport: Transport) -> Capabilities:
    """Find out what a server can do, by requests that cannot change anything because required fields are missing.

    What only a write would show, such as whether a tag can be set twice, is inferred: a server that takes filters and deletes
    tags has all of MLflow's API; one that does neither is GitLab, or like it.

    Raises:
        StoreUnavailable: the server does not answer, or is not a tracking server.
        Unauthenticated: it does not accept the credentials.
        PermissionDenied: the user may not write.
    """
    filters = _takes_filters(transport)
    delete_tag = transport.has("POST", "runs/delete-tag")
    whole = filters and delete_tag
    return Capabilities(
        search_filters=filters,
        log_inputs=transport.has("POST", "runs/log-inputs"),
        log_outputs=transport.has("POST", "runs/outputs"),
        delete_tag=delete_tag,
        rename_run=transport.has("POST", "experiments/update"),
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
        return False
    return False
