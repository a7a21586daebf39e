"""Finds the experiment, the run or the artifacts that a user names on the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

from mistk_service.tracking.artifacts import ArtifactRepository, open_artifacts
from mistk_service.tracking.errors import InvalidParameter, ResourceNotFound
from mistk_service.tracking.store._store import Store
from mistk_service.tracking.values import Experiment, Run, ViewType
from mistk_service.tracking.values.page import pages

#: The form of the beginning of a run's id. It has no characters with a meaning in filters.
_PREFIX = re.compile(r"[0-9A-Za-z-]{4,}")
#: The number of candidates to list if several runs match.
_CANDIDATES = 10
#: The number of experiments per request.
_PAGE = 1000


def every_experiment(store: Store, view: ViewType = ViewType.ACTIVE_ONLY, filter: str = "") -> Iterator[Experiment]:
    """Return the experiments of a store that match, page by page."""
    return chain.from_iterable(pages(lambda token: store.search_experiments(view, _PAGE, filter, page_token=token)))


def find_experiment(store: Store, name: str) -> Experiment:
    """Return the experiment with a name, or else with that id.

    Raises:
        ResourceNotFound: there is neither.
    """
    with suppress(ResourceNotFound):
        return store.get_experiment_by_name(name)
    with suppress(ResourceNotFound, InvalidParameter):
        return store.get_experiment(name)
    raise ResourceNotFound(
        f"There is no experiment named or numbered {name!r} in {store.uri}; 'mistk-service tracking experiments' lists them."
    )


def find_run(store: Store, text: str) -> Run:
    """Return the run with an id, or the only one whose id begins with this text; four characters are enough.

    Raises:
        InvalidParameter: the ids of several runs begin with it; the message lists them.
        ResourceNotFound: none does.
    """
    try:
        return store.get_run(text)
    except (ResourceNotFound, InvalidParameter):
        if not _PREFIX.fullmatch(text):
            raise
        ids = [experiment.experiment_id for experiment in every_experiment(store, ViewType.ALL)]
        condition = f"attributes.run_id LIKE '{text}%'"
        found = list(store.search_runs(ids, condition, ViewType.ALL, _CANDIDATES + 1))
        if not found:
            raise
    if len(found) > 1:
        named = "\n".join(f"  {run.info.run_id}  {run.info.run_name}" for run in found[:_CANDIDATES])
        more = "\n  and more" if len(found) > _CANDIDATES else ""
        raise InvalidParameter(
            f"The ids of several runs begin with {text!r}; give more characters of the one you mean:\n{named}{more}",
            field="run_id",
        )
    # The result of a search may not have everything that belongs to a run.
    return store.get_run(found[0].info.run_id)


def artifacts_next_to(file: Path | None, given: str | None) -> ArtifactRepository | None:
    """Return the artifacts of a local store; their folder is not created.

    Args:
        file: the store's file; None if it is not in a file.
        given: the root, if the user named one; by default, the folder ``artifacts`` next to the file, if it exists.

    Raises:
        ResourceNotFound: the named folder does not exist.
        StoreError: the root cannot be opened.
    """
    if given is None:
        folder = None if file is None else file.parent / "artifacts"
        return open_artifacts(folder) if folder is not None and folder.is_dir() else None
    if "://" not in given and not Path(given).is_dir():
        raise ResourceNotFound(f"There is no folder {given}; expected the root of the artifacts, as for 'serve'.")
    return open_artifacts(given)
