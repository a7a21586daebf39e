"""Facts about a container for the web page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.types import Scope

from mistk_service.app.settings import Settings
from mistk_service.doors.mistk.handlers import role_in
from mistk_service.doors.prediction_api import Door
from mistk_service.doors.served_model import ServedModel
from mistk_service.web.access import principal_of


def about_container(
    scope: Scope, model: ServedModel, settings: Settings, doors: Sequence[Door], *, tracked: bool
) -> dict[str, Any]:
    """Return the facts for the visitor who sends a request, with paths relative to the page's.

    The parameters and the states of the operations are in the contract.
    """
    kind = model.controller.kind
    api = kind.base_path.lstrip("/")
    links = {
        "Swagger UI": f"{api}/ui/",
        "Contract": f"{api}/swagger.json",
        "Status": f"{api}/status",
        "Health": "healthz",
        "Readiness": "readyz",
        "Prometheus metrics": "metrics",
    }
    visitor = principal_of(scope)
    return {
        "name": model.controller.view.name,
        "reference": settings.model,
        "api": api,
        "tracking": "api/2.0/mlflow" if tracked else None,
        "links": list(links.items()),
        "initial": kind.initial,
        "ready": kind.ready,
        "states": list(kind.states),
        "running": sorted({state for row in kind.operations.values() for state in row.running_states}),
        "operations": {
            name: {
                "role": row.role.value,
                "streams": row.streams,
                "permitted": visitor is None or visitor.role >= role_in(kind, name, "", "POST"),
            }
            for name, row in kind.operations.items()
        },
        "prediction": _prediction(model, doors),
    }


def _prediction(model: ServedModel, doors: Sequence[Door]) -> dict[str, Any] | None:
    """Return the inputs of the model, once it is loaded; None for a kind that has no predictions."""
    operation, signature = model.controller.kind.prediction, model.controller.signature
    if operation is None:
        return None
    names = {door.name for door in doors}
    return {
        "operation": operation.name,
        "model": model.name,
        "records": model.controller.view.supports(operation),
        "tensors": "inference" in names and model.takes_tensors,
        "rows": "kserve" in names and model.takes_tensors,
        "generates": "inference" in names and model.generates,
        "encoding": signature.record_encoding,
        "inputs": [
            {"name": each.name, "dtype": each.dtype, "shape": each.hook_shape, "codec": each.codec}
            for each in signature.inputs
        ],
    }
