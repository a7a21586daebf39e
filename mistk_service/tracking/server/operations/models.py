"""Registered models, their versions, and logged models."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from mistk_service.tracking import wire
from mistk_service.tracking.server.operations._base import Json, OperationsBase, page, readable, readable_experiments
from mistk_service.tracking.server.pieces import in_pieces
from mistk_service.tracking.values import LoggedModel, LoggedModelStatus, ModelVersion, RegisteredModel, Tag
from mistk_service.tracking.values.limits import MAX_VERSIONS_PAGE
from mistk_service.tracking.wire import Fields


class RegistryOperations(OperationsBase):
    """The operations under ``registered-models/`` and ``model-versions/``."""

    def create_registered_model(self, fields: Fields) -> Json:
        return _model(
            self._store.create_registered_model(
                fields.required_text("name"),
                wire.read_tags(fields),
                fields.text("description"),
                fields.text("deployment_job_id") or None,
            )
        )

    def get_registered_model(self, fields: Fields) -> Json:
        return _model(self._store.get_registered_model(fields.required_text("name")))

    def rename_registered_model(self, fields: Fields) -> Json:
        return _model(
            self._store.rename_registered_model(fields.required_text("name"), fields.required_text("new_name"))
        )

    def update_registered_model(self, fields: Fields) -> Json:
        return _model(
            self._store.update_registered_model(
                fields.required_text("name"), fields.text("description"), fields.text("deployment_job_id") or None
            )
        )

    def delete_registered_model(self, fields: Fields) -> Json:
        self._store.delete_registered_model(fields.required_text("name"))
        return {}

    def search_registered_models(self, fields: Fields) -> Json:
        max_results = fields.int64("max_results")
        found = self._store.search_registered_models(
            filter=fields.text("filter") or "",
            max_results=100 if max_results is None else max_results or 1,
            order_by=fields.texts("order_by"),
            page_token=fields.text("page_token") or None,
        )
        if max_results == 0:
            # The search is valid, but requests no results.
            return {}
        return page("registered_models", readable(fields, found, lambda model: model.name), wire.registered_model)

    list_registered_models = search_registered_models

    def get_latest_versions(self, fields: Fields) -> Json:
        """Get the highest version of each stage."""
        found = self._store.get_latest_versions(fields.required_text("name"), fields.texts("stages"))
        return {"model_versions": [wire.model_version(version) for version in found]} if found else {}

    get_latest_versions_by_query = get_latest_versions

    def set_registered_model_tag(self, fields: Fields) -> Json:
        self._store.set_registered_model_tag(fields.required_text("name"), _tag(fields))
        return {}

    def delete_registered_model_tag(self, fields: Fields) -> Json:
        self._store.delete_registered_model_tag(fields.required_text("name"), fields.required_text("key"))
        return {}

    def set_registered_model_alias(self, fields: Fields) -> Json:
        self._store.set_alias(
            fields.required_text("name"), fields.required_text("alias"), fields.required_text("version")
        )
        return {}

    def get_model_version_by_alias(self, fields: Fields) -> Json:
        return _version(
            self._store.get_model_version_by_alias(fields.required_text("name"), fields.required_text("alias"))
        )

    def delete_registered_model_alias(self, fields: Fields) -> Json:
        self._store.delete_alias(fields.required_text("name"), fields.required_text("alias"))
        return {}

    def create_model_version(self, fields: Fields) -> Json:
        return _version(
            self._store.create_model_version(
                fields.required_text("name"),
                fields.required_text("source"),
                run_id=fields.text("run_id") or "",
                tags=wire.read_tags(fields),
                run_link=fields.text("run_link") or "",
                description=fields.text("description") or "",
                model_id=fields.text("model_id") or None,
            )
        )

    def get_model_version(self, fields: Fields) -> Json:
        return _version(self._store.get_model_version(*_name_and_version(fields)))

    def get_model_version_download_uri(self, fields: Fields) -> Json:
        return {"artifact_uri": self._store.get_download_uri(*_name_and_version(fields))}

    def update_model_version(self, fields: Fields) -> Json:
        return _version(self._store.update_model_version(*_name_and_version(fields), fields.text("description")))

    def transition_model_version_stage(self, fields: Fields) -> Json:
        return _version(
            self._store.transition_stage(
                *_name_and_version(fields),
                fields.required_text("stage"),
                archive_existing=fields.boolean("archive_existing_versions") or False,
            )
        )

    def delete_model_version(self, fields: Fields) -> Json:
        self._store.delete_model_version(*_name_and_version(fields))
        return {}

    def search_model_versions(self, fields: Fields) -> Iterator[bytes]:
        max_results = fields.int64("max_results")
        search = partial(
            self._store.search_model_versions, fields.text("filter") or "", order_by=fields.texts("order_by")
        )
        yield from in_pieces(
            "model_versions",
            lambda count, token: readable(
                fields, search(max_results=count, page_token=token), lambda version: version.name
            ),
            lambda found: [wire.listed_version(version) for version in found],
            MAX_VERSIONS_PAGE if max_results is None else max_results,
            MAX_VERSIONS_PAGE,
            fields.text("page_token") or None,
        )

    def set_model_version_tag(self, fields: Fields) -> Json:
        self._store.set_model_version_tag(*_name_and_version(fields), _tag(fields))
        return {}

    def delete_model_version_tag(self, fields: Fields) -> Json:
        self._store.delete_model_version_tag(*_name_and_version(fields), fields.required_text("key"))
        return {}


class LoggedModelOperations(OperationsBase):
    """The operations under ``logged-models``."""

    def create_logged_model(self, fields: Fields) -> Json:
        return _logged(
            self._store.create_logged_model(
                fields.required_text("experiment_id"),
                name=fields.text("name") or "",
                model_type=fields.text("model_type") or None,
                source_run_id=fields.text("source_run_id") or None,
                params=wire.read_params(fields),
                tags=wire.read_tags(fields),
            )
        )

    def get_logged_model(self, fields: Fields, model_id: str) -> Json:  # noqa: ARG002 - all operations have the fields
        return _logged(self._store.get_logged_model(model_id))

    def finalize_logged_model(self, fields: Fields, model_id: str) -> Json:
        status = fields.required("status", fields.enum("status", LoggedModelStatus))
        return _logged(self._store.finalize_logged_model(model_id, status))

    def delete_logged_model(self, fields: Fields, model_id: str) -> Json:  # noqa: ARG002
        self._store.delete_logged_model(model_id)
        return {}

    def search_logged_models(self, fields: Fields) -> Json:
        found = self._store.search_logged_models(
            readable_experiments(fields),
            filter=fields.text("filter") or "",
            datasets=wire.read_datasets(fields),
            max_results=fields.int64("max_results") or 50,
            order_by=wire.read_logged_model_order(fields),
            page_token=fields.text("page_token") or None,
        )
        return page("models", found, wire.logged_model)

    def set_logged_model_tags(self, fields: Fields, model_id: str) -> Json:
        return _logged(self._store.set_logged_model_tags(model_id, wire.read_tags(fields)))

    def delete_logged_model_tag(self, fields: Fields, model_id: str, tag_key: str) -> Json:  # noqa: ARG002
        self._store.delete_logged_model_tag(model_id, tag_key)
        return {}

    def log_logged_model_params(self, fields: Fields, model_id: str) -> Json:
        self._store.log_logged_model_params(model_id, wire.read_params(fields))
        return {}


def _name_and_version(fields: Fields) -> tuple[str, str]:
    return fields.required_text("name"), fields.required_text("version")


def _tag(fields: Fields) -> Tag:
    return Tag(fields.required_text("key"), fields.text("value") or "")


def _model(model: RegisteredModel) -> Json:
    return {"registered_model": wire.registered_model(model)}


def _version(version: ModelVersion) -> Json:
    return {"model_version": wire.model_version(version)}


def _logged(model: LoggedModel) -> Json:
    return {"model": wire.logged_model(model)}
