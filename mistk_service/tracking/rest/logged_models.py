"""Logged models on a remote."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from mistk_service.tracking import wire
from mistk_service.tracking.errors import AnswerLost, InvalidParameter
from mistk_service.tracking.filters import LOGGED_MODELS
from mistk_service.tracking.rest.session import Remote, explained
from mistk_service.tracking.rest.transport import About, Json
from mistk_service.tracking.store._models import LoggedModelStore
from mistk_service.tracking.values import Dataset, LoggedModel, LoggedModelOrder, LoggedModelStatus, Param, Tag
from mistk_service.tracking.values.page import Page

__all__ = ["RestLoggedModels"]


class RestLoggedModels(Remote, LoggedModelStore):
    """The part of the REST store that is about logged models."""

    def create_logged_model(
        self,
        experiment_id: str,
        name: str = "",
        model_type: str | None = None,
        source_run_id: str | None = None,
        params: Sequence[Param] = (),
        tags: Sequence[Tag] = (),
    ) -> LoggedModel:
        fields = {
            "experiment_id": experiment_id,
            "name": name or None,
            "model_type": model_type,
            "source_run_id": source_run_id,
            "params": list(params),
            "tags": list(tags),
        }
        return _model(self._http.post("logged-models", fields, About("experiment", experiment_id)))

    def get_logged_model(self, model_id: str) -> LoggedModel:
        return _model(self._http.get(_path(model_id), {}, _about(model_id)))

    def finalize_logged_model(self, model_id: str, status: LoggedModelStatus) -> LoggedModel:
        fields = {"model_id": model_id, "status": status.name}
        return _model(self._http.send("PATCH", _path(model_id), fields, _about(model_id)))

    def delete_logged_model(self, model_id: str) -> None:
        self._http.send("DELETE", _path(model_id), {"model_id": model_id}, _about(model_id))

    def search_logged_models(
        self,
        experiment_ids: Sequence[str],
        filter: str = "",
        datasets: Sequence[Dataset] = (),
        max_results: int = 50,
        order_by: Sequence[LoggedModelOrder] = (),
        page_token: str | None = None,
    ) -> Page[LoggedModel]:
        chosen = [{"dataset_name": dataset.name, "dataset_digest": dataset.digest or None} for dataset in datasets]
        fields = {
            "experiment_ids": list(experiment_ids),
            "filter": filter or None,
            "datasets": [{key: value for key, value in each.items() if value is not None} for each in chosen] or None,
            "max_results": max_results,
            "order_by": wire.logged_model_order(order_by) or None,
            "page_token": page_token,
        }
        try:
            answer = self._http.post("logged-models/search", fields)
        except (InvalidParameter, AnswerLost) as error:
            raise explained(error, LOGGED_MODELS, filter, ()) from error
        return wire.page_from_answer(wire.read_logged_model, answer, "models")

    def set_logged_model_tags(self, model_id: str, tags: Sequence[Tag]) -> LoggedModel:
        fields = {"model_id": model_id, "tags": list(tags)}
        answer = self._http.send("PATCH", f"{_path(model_id)}/tags", fields, _about(model_id))
        return _model(answer) if "model" in answer else self.get_logged_model(model_id)

    def delete_logged_model_tag(self, model_id: str, key: str) -> None:
        fields = {"model_id": model_id, "tag_key": key}
        path = f"{_path(model_id)}/tags/{quote(key, safe='')}"
        self._http.send("DELETE", path, fields, About("logged model tag", key))

    def log_logged_model_params(self, model_id: str, params: Sequence[Param]) -> LoggedModel:
        fields = {"model_id": model_id, "params": list(params)}
        self._http.post(f"{_path(model_id)}/params", fields, _about(model_id))
        return self.get_logged_model(model_id)


def _path(model_id: str) -> str:
    return f"logged-models/{quote(model_id, safe='')}"


def _about(model_id: str) -> About:
    return About("logged model", model_id)


def _model(answer: Json) -> LoggedModel:
    return wire.from_answer(wire.read_logged_model, answer, "model")
