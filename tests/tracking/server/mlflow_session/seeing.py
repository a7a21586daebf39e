"""Writes down results in a comparable form."""

from mlflow.exceptions import MlflowException
from requests import HTTPError

#: When everything began that has a time of its own.
T0 = 1_700_000_000_000


def refused(call, *arguments, **options):
    """Return the error code of a call that has to fail, or the status where the client looks no further."""
    try:
        call(*arguments, **options)
    except MlflowException as error:
        return error.error_code
    except HTTPError as error:
        return error.response.status_code
    return "nothing was refused"


def picked(thing, names):
    return {name: getattr(thing, name) for name in names.split()}


def info_of(run):
    return picked(
        run.info, "run_id run_name experiment_id user_id status start_time end_time artifact_uri lifecycle_stage"
    )


def run_of(run):
    return {
        "info": info_of(run),
        "metrics": run.data.metrics,
        "params": run.data.params,
        "tags": {k: v for k, v in run.data.tags.items() if k not in ("mlflow.source.name", "mlflow.user")},
        "datasets": [
            {"dataset": dict(use.dataset), "tags": {tag.key: tag.value for tag in use.tags}}
            for use in run.inputs.dataset_inputs
        ],
    }


def points_of(history):
    return [(p.key, p.value, p.timestamp, p.step) for p in history]


def tree_of(client, run_id, path=None):
    found = []
    for item in client.list_artifacts(run_id, path):
        found.append((item.path, item.is_dir, item.file_size))
        if item.is_dir:
            found.extend(tree_of(client, run_id, item.path))
    return found
