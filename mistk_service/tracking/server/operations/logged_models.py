"""Logged models."""

from __future__ import annotations

from mistk_service.tracking import wire
from mistk_service.tracking.server.operations._base import Json, OperationsBase, page
from mistk_service.tracking.values import LoggedModel, LoggedModelStatus
from mistk_service.tracking.wire import Fields

__all__ = ["LoggedModelOperations"]


class LoggedModelOperations(OperationsBase):
    """The operations under ``logged-models``."""

    def create_logged_model(self, fields: Fields) -> Json:
        """Create a logged model."""
        return _model(
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
        """Get a logged model."""
        return _model(self._store.get_logged_model(model_id))

    def finalize_logged_model(self, fields: Fields, model_id: str) -> Json:
        """Say how the upload ended."""
        status = fields.enum("status", LoggedModelStatus)
        if status is None:
            raise fields.missing("status")
        return _model(self._store.finalize_logged_model(model_id, status))

    def delete_logged_model(self, fields: Fields, model_id: str) -> Json:  # noqa: ARG002
        """Delete a logged model."""
        self._store.delete_logged_model(model_id)
        return {}

    def search_logged_models(self, fields: Fields) -> Json:
        """Search logged models."""
        found = self._store.search_logged_models(
            fields.texts("experiment_ids"),
            filter=fields.text("filter") or "",
            datasets=wire.read_datasets(fields),
            max_results=fields.int64("max_results") or 50,
            order_by=wire.read_logged_model_order(fields),
            page_token=fields.text("page_token") or None,
        )
        return page("models", found, wire.logged_model)

    def set_logged_model_tags(self, fields: Fields, model_id: str) -> Json:
        """Set tags."""
        return _model(self._store.set_logged_model_tags(model_id, wire.read_tags(fields)))

    def delete_logged_model_tag(self, fields: Fields, model_id: str, tag_key: str) -> Json:  # noqa: ARG002
        """Delete a tag."""
        self._store.delete_logged_model_tag(model_id, tag_key)
        return {}

    def log_logged_model_params(self, fields: Fields, model_id: str) -> Json:
        """Log params."""
        self._store.log_logged_model_params(model_id, wire.read_params(fields))
        return {}


def _model(model: LoggedModel) -> Json:
    return {"model": wire.logged_model(model)}
