"""What a remote can do. Servers that speak MLflow's API differ, and none of them says so; they are tried, harmlessly."""

from __future__ import annotations

from dataclasses import dataclass

from mistk_service.tracking.errors import InvalidParameter, NotSupported, ResourceNotFound
from mistk_service.tracking.rest.transport import Transport

__all__ = ["Capabilities", "probe"]

#: No server that reads filters takes this for one.
_NO_FILTER = "this is no filter"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a remote can do. The defaults are MLflow's own server; what GitLab lacks is said at each.

    Attributes:
        search_filters: searches heed filters, orders of several keys and view types, and look into several experiments. GitLab
            ignores or refuses all that.
        log_inputs: datasets and models that a run uses can be recorded as such. Not in GitLab.
        log_outputs: models that a run made, likewise.
        delete_tag: a tag of a run can be removed. Not in GitLab.
        rename_experiment: not in GitLab.
        rename_run: not in GitLab.
        restore: what is deleted can be restored. In GitLab it is gone.
        batch_tags: tags can be sent in a batch. Some versions of GitLab drop them there.
        overwrites_tags: a tag can be set again. In GitLab the first value stays, and setting it again is refused.
        repeats_params: a param can be logged again with the same value on its own, not only in a batch. Not in GitLab.
        stores_repeats_once: a point that is sent twice is there once. In GitLab it is there twice.
        non_finite: NaN and infinities can be logged. GitLab refuses a batch with them.
        metric_history: the points of a metric can be read back. Only newer versions of GitLab can.
        artifact_folders: artifacts of a run can lie in folders. Not in GitLab.
        default_experiment: there is an experiment "0". Not in GitLab.
        longest_param: characters of a param's value that are kept; 250 in GitLab.
        longest_tag: characters of a tag's value that are kept; 5000 in GitLab.
    """

    search_filters: bool = True
    log_inputs: bool = True
    log_outputs: bool = True
    delete_tag: bool = True
    rename_experiment: bool = True
    rename_run: bool = True
    restore: bool = True
    batch_tags: bool = True
    overwrites_tags: bool = True
    repeats_params: bool = True
    stores_repeats_once: bool = True
    non_finite: bool = True
    metric_history: bool = True
    artifact_folders: bool = True
    default_experiment: bool = True
    longest_param: int = 6000
    longest_tag: int = 8000


def probe(transport: Transport) -> Capabilities:
    """Find out what a server can do, by requests that cannot change anything: they lack what the operation needs.

    What only a write would show (whether a tag can be set twice ...) is inferred: a server that heeds filters and removes tags
    has the whole of MLflow's API; one that does neither is GitLab, or like it.

    Raises:
        StoreUnavailable: the server does not answer, or is no tracking server.
        Unauthenticated: it does not believe who is asking.
        PermissionDenied: who is asking may not write.
    """
    filters = _heeds_filters(transport)
    delete_tag = transport.has("POST", "runs/delete-tag")
    whole = filters and delete_tag
    rename = transport.has("POST", "experiments/update")
    return Capabilities(
        search_filters=filters,
        log_inputs=transport.has("POST", "runs/log-inputs"),
        log_outputs=transport.has("POST", "runs/outputs"),
        delete_tag=delete_tag,
        rename_experiment=rename,
        rename_run=rename,
        restore=transport.has("POST", "experiments/restore"),
        batch_tags=whole,
        overwrites_tags=delete_tag,
        repeats_params=whole,
        stores_repeats_once=whole,
        non_finite=whole,
        metric_history=transport.has("GET", "metrics/get-history"),
        artifact_folders=whole,
        default_experiment=_has_default_experiment(transport),
        longest_param=6000 if whole else 250,
        longest_tag=8000 if whole else 5000,
    )


def _heeds_filters(transport: Transport) -> bool:
    try:
        transport.post("experiments/search", {"max_results": 1, "filter": _NO_FILTER})
    except InvalidParameter:
        return True
    except NotSupported:
        return False
    return False


def _has_default_experiment(transport: Transport) -> bool:
    try:
        transport.get("experiments/get", {"experiment_id": "0"})
    except (ResourceNotFound, InvalidParameter):
        return False
    return True
