"""Registered models, their versions, and logged models on a remote."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from mistk_service.tracking import wire
from mistk_service.tracking.filters import LOGGED_MODELS, MODEL_VERSIONS, REGISTERED_MODELS
from mistk_service.tracking.rest.responses import About, Json
from mistk_service.tracking.rest.session import Session
from mistk_service.tracking.store._models import LoggedModelStore, RegistryStore
from mistk_service.tracking.values import (
    Dataset,
    LoggedModel,
    LoggedModelOrder,
    LoggedModelStatus,
    ModelVersion,
    Param,
    RegisteredModel,
    Tag,
)
from mistk_service.tracking.values.limits import (
    MAX_MODELS_PAGE,
    MAX_REGISTRY_TAG_VALUE,
    MAX_VERSIONS_PAGE,
    check_alias,
    check_max_results,
    check_model_name,
    check_tag,
    check_tags,
)
from mistk_service.tracking.values.page import Page


class RestRegistry(Session, RegistryStore):
    """The REST store's methods for registered models."""

    def create_registered_model(
        self,
        name: str,
        tags: Sequence[Tag] = (),
        description: str | None = None,
        deployment_job_id: str | None = None,
    ) -> RegisteredModel:
        check_model_name(name)
        fields = {
            "name": name,
            "tags": check_tags(tags, MAX_REGISTRY_TAG_VALUE),
            "description": description,
            "deployment_job_id": deployment_job_id,
        }
        return _model(self._http.post("registered-models/create", fields, _about(name)))

    def get_registered_model(self, name: str) -> RegisteredModel:
        return _model(self._http.get("registered-models/get", {"name": name}, _about(name)))

    def rename_registered_model(self, name: str, new_name: str) -> RegisteredModel:
        check_model_name(new_name, "new_name")
        fields = {"name": name, "new_name": new_name}
        return _model(self._http.post("registered-models/rename", fields, _about(name)))

    def update_registered_model(
        self, name: str, description: str | None, deployment_job_id: str | None = None
    ) -> RegisteredModel:
        fields = {"name": name, "description": description, "deployment_job_id": deployment_job_id}
        return _model(self._http.send("PATCH", "registered-models/update", fields, _about(name)))

    def delete_registered_model(self, name: str) -> None:
        self._http.send("DELETE", "registered-models/delete", {"name": name}, _about(name))

    def search_registered_models(
        self,
        filter: str = "",
        max_results: int = 100,
        order_by: Sequence[str] = (),
        page_token: str | None = None,
    ) -> Page[RegisteredModel]:
        check_max_results(max_results, MAX_MODELS_PAGE)
        fields = _fields(filter, max_results, order_by, page_token)
        read = wire.read_registered_model
        return self._search(
            "registered-models/search", fields, REGISTERED_MODELS, read, "registered_models", by_query=True
        )

    def get_latest_versions(self, name: str, stages: Sequence[str] = ()) -> list[ModelVersion]:
        fields = {"name": name, "stages": list(stages)}
        answer = self._http.post("registered-models/get-latest-versions", fields, _about(name))
        return list(wire.page_from_answer(wire.read_model_version, answer, "model_versions"))

    def set_registered_model_tag(self, name: str, tag: Tag) -> None:
        check_tag(tag, MAX_REGISTRY_TAG_VALUE)
        fields = {"name": name, "key": tag.key, "value": tag.value}
        self._http.post("registered-models/set-tag", fields, _about(name))

    def delete_registered_model_tag(self, name: str, key: str) -> None:
        self._http.send("DELETE", "registered-models/delete-tag", {"name": name, "key": key}, _about(name))

    def set_alias(self, name: str, alias: str, version: str) -> None:
        check_alias(alias)
        fields = {"name": name, "alias": alias, "version": version}
        self._http.post("registered-models/alias", fields, _about(name, version))

    def delete_alias(self, name: str, alias: str) -> None:
        self._http.send("DELETE", "registered-models/alias", {"name": name, "alias": alias}, _about(name))

    def get_model_version_by_alias(self, name: str, alias: str) -> ModelVersion:
        return _version(self._http.get("registered-models/alias", {"name": name, "alias": alias}, _about(name)))

    def create_model_version(
        self,
        name: str,
        source: str,
        run_id: str = "",
        tags: Sequence[Tag] = (),
        run_link: str = "",
        description: str = "",
        model_id: str | None = None,
    ) -> ModelVersion:
        fields = {
            "name": name,
            "source": source,
            "run_id": run_id or None,
            "tags": check_tags(tags, MAX_REGISTRY_TAG_VALUE),
            "run_link": run_link or None,
            "description": description or None,
            "model_id": model_id,
        }
        return _version(self._http.post("model-versions/create", fields, _about(name)))

    def get_model_version(self, name: str, version: str) -> ModelVersion:
        return _version(self._http.get("model-versions/get", {"name": name, "version": version}, _about(name, version)))

    def get_download_uri(self, name: str, version: str) -> str:
        fields = {"name": name, "version": version}
        answer = self._http.get("model-versions/get-download-uri", fields, _about(name, version))
        return wire.from_answer(lambda fields: fields.required_text("artifact_uri"), answer)

    def update_model_version(self, name: str, version: str, description: str | None) -> ModelVersion:
        fields = {"name": name, "version": version, "description": description}
        return _version(self._http.send("PATCH", "model-versions/update", fields, _about(name, version)))

    def transition_stage(self, name: str, version: str, stage: str, archive_existing: bool = False) -> ModelVersion:
        fields = {"name": name, "version": version, "stage": stage, "archive_existing_versions": archive_existing}
        return _version(self._http.post("model-versions/transition-stage", fields, _about(name, version)))

    def delete_model_version(self, name: str, version: str) -> None:
        fields = {"name": name, "version": version}
        self._http.send("DELETE", "model-versions/delete", fields, _about(name, version))

    def search_model_versions(
        self,
        filter: str = "",
        max_results: int = 200_000,
        order_by: Sequence[str] = (),
        page_token: str | None = None,
    ) -> Page[ModelVersion]:
        check_max_results(max_results, MAX_VERSIONS_PAGE)
        fields = _fields(filter, max_results, order_by, page_token)
        read = wire.read_model_version
        return self._search("model-versions/search", fields, MODEL_VERSIONS, read, "model_versions", by_query=True)

    def set_model_version_tag(self, name: str, version: str, tag: Tag) -> None:
        check_tag(tag, MAX_REGISTRY_TAG_VALUE)
        fields = {"name": name, "version": version, "key": tag.key, "value": tag.value}
        self._http.post("model-versions/set-tag", fields, _about(name, version))

    def delete_model_version_tag(self, name: str, version: str, key: str) -> None:
        fields = {"name": name, "version": version, "key": key}
        self._http.send("DELETE", "model-versions/delete-tag", fields, _about(name, version))


class RestLoggedModels(Session, LoggedModelStore):
    """The REST store's methods for logged models."""

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
        return _logged(self._http.post("logged-models", fields, About("experiment", experiment_id)))

    def get_logged_model(self, model_id: str) -> LoggedModel:
        return _logged(self._http.get(_path(model_id), {}, _about_logged(model_id)))

    def finalize_logged_model(self, model_id: str, status: LoggedModelStatus) -> LoggedModel:
        fields = {"model_id": model_id, "status": status.name}
        return _logged(self._http.send("PATCH", _path(model_id), fields, _about_logged(model_id)))

    def delete_logged_model(self, model_id: str) -> None:
        self._http.send("DELETE", _path(model_id), {"model_id": model_id}, _about_logged(model_id))

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
        return self._search("logged-models/search", fields, LOGGED_MODELS, wire.read_logged_model, "models")

    def set_logged_model_tags(self, model_id: str, tags: Sequence[Tag]) -> LoggedModel:
        fields = {"model_id": model_id, "tags": list(tags)}
        answer = self._http.send("PATCH", f"{_path(model_id)}/tags", fields, _about_logged(model_id))
        return _logged(answer) if "model" in answer else self.get_logged_model(model_id)

    def delete_logged_model_tag(self, model_id: str, key: str) -> None:
        fields = {"model_id": model_id, "tag_key": key}
        path = f"{_path(model_id)}/tags/{quote(key, safe='')}"
        self._http.send("DELETE", path, fields, About("logged model tag", key))

    def log_logged_model_params(self, model_id: str, params: Sequence[Param]) -> LoggedModel:
        fields = {"model_id": model_id, "params": list(params)}
        self._http.post(f"{_path(model_id)}/params", fields, _about_logged(model_id))
        return self.get_logged_model(model_id)


def _fields(filter: str, max_results: int, order_by: Sequence[str], page_token: str | None) -> Json:
    return {
        "filter": filter or None,
        "max_results": max_results,
        "order_by": list(order_by),
        "page_token": page_token,
    }


def _about(name: str, version: str | None = None) -> About:
    return About("registered model", name) if version is None else About("model version", f"{name}/{version}")


def _model(answer: Json) -> RegisteredModel:
    return wire.from_answer(wire.read_registered_model, answer, "registered_model")


def _version(answer: Json) -> ModelVersion:
    return wire.from_answer(wire.read_model_version, answer, "model_version")


def _path(model_id: str) -> str:
    return f"logged-models/{quote(model_id, safe='')}"


def _about_logged(model_id: str) -> About:
    return About("logged model", model_id)


def _logged(answer: Json) -> LoggedModel:
    return wire.from_answer(wire.read_logged_model, answer, "model")
