"""Runs on a remote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future

from mistk_service.tracking import wire
from mistk_service.tracking.errors import AnswerLost, InvalidParameter
from mistk_service.tracking.filters import RUNS
from mistk_service.tracking.rest import searching
from mistk_service.tracking.rest.session import Remote, explained
from mistk_service.tracking.rest.substitutes import restored
from mistk_service.tracking.rest.transport import About, Transport
from mistk_service.tracking.store._runs import RunStore
from mistk_service.tracking.values import Run, RunInfo, RunStatus, Tag, ViewType
from mistk_service.tracking.values.limits import check_max_results, check_run_tags
from mistk_service.tracking.values.page import Page, pages

__all__ = ["RestRuns", "about_run", "all_runs"]

_MAX_RESULTS = 50_000
#: Characters that a tag's value may have everywhere.
_SHORT = 5000
#: Runs that are asked for at once where all of them are needed.
_PAGE = 1000


class RestRuns(Remote, RunStore):
    """The part of the REST store that is about runs as a whole; what is logged to them stands apart."""

    def create_run(
        self,
        experiment_id: str,
        user_id: str = "",
        run_name: str = "",
        start_time: int = 0,
        tags: Sequence[Tag] = (),
        *,
        run_id: str | None = None,
    ) -> Run:
        del run_id  # the server makes it up
        check_run_tags(tags, cut=False)
        if any(len(tag.value) > _SHORT for tag in tags):
            tags = self._cut(tags)
        fields = {
            "experiment_id": experiment_id,
            "user_id": user_id or None,
            "run_name": run_name or None,
            "start_time": start_time,
            "tags": list(tags),
        }
        answer = self._http.post("runs/create", fields, About("experiment", experiment_id))
        return wire.from_answer(wire.read_run, answer, "run")

    def submit_run(
        self, experiment_id: str, user_id: str = "", run_name: str = "", start_time: int = 0, tags: Sequence[Tag] = ()
    ) -> Future[Run]:
        check_run_tags(tags, cut=False)
        return self._submit(self.create_run, experiment_id, user_id, run_name, start_time, tags)

    def get_run(self, run_id: str) -> Run:
        answer = self._http.get("runs/get", {"run_id": run_id}, about_run(run_id))
        return restored(wire.from_answer(wire.read_run, answer, "run"))

    def update_run(
        self,
        run_id: str,
        status: RunStatus | None = None,
        end_time: int | None = None,
        run_name: str | None = None,
    ) -> RunInfo:
        if run_name and not self.capabilities.rename_run:
            self._degrade("runs keep the names that they were created with; the server cannot rename them.")
            run_name = None
        fields = {
            "run_id": run_id,
            "status": None if status is None else status.name,
            "end_time": end_time,
            "run_name": run_name or None,
        }
        answer = self._http.post("runs/update", fields, about_run(run_id))
        return wire.from_answer(wire.read_run_info, answer, "run_info")

    def delete_run(self, run_id: str) -> None:
        self._http.post("runs/delete", {"run_id": run_id}, about_run(run_id))

    def restore_run(self, run_id: str) -> None:
        self._http.post("runs/restore", {"run_id": run_id}, about_run(run_id))

    def search_runs(
        self,
        experiment_ids: Sequence[str],
        filter: str = "",
        view_type: ViewType = ViewType.ACTIVE_ONLY,
        max_results: int = 1000,
        order_by: Sequence[str] = (),
        page_token: str | None = None,
    ) -> Page[Run]:
        check_max_results(max_results, _MAX_RESULTS)
        if not self.capabilities.search_filters:
            self._degrade(
                "searches for runs fetch all runs of the experiments and filter and order them on the client; the server "
                "ignores filters and orders."
            )
            found = (run for each in dict.fromkeys(experiment_ids) for run in all_runs(self._http, each))
            return searching.search_runs(found, filter, view_type, max_results, order_by, page_token)
        fields = {
            "experiment_ids": list(experiment_ids),
            "filter": filter or None,
            "run_view_type": view_type.name,
            "max_results": max_results,
            "order_by": list(order_by) or None,
            "page_token": page_token,
        }
        try:
            answer = self._http.post("runs/search", fields)
        except (InvalidParameter, AnswerLost) as error:
            raise explained(error, RUNS, filter, order_by) from error
        return wire.page_from_answer(wire.read_run, answer, "runs")


def all_runs(http: Transport, experiment_id: str) -> Iterator[Run]:
    """Yield the active runs of an experiment, page by page."""

    def search(token: str | None) -> Page[Run]:
        fields = {"experiment_ids": [experiment_id], "max_results": _PAGE, "page_token": token}
        answer = http.post("runs/search", fields, About("experiment", experiment_id))
        return wire.page_from_answer(wire.read_run, answer, "runs")

    for page in pages(search):
        yield from map(restored, page)


def about_run(run_id: str) -> About:
    """Return what a request about a run is about."""
    return About("run", run_id)
