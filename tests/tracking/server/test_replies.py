"""Errors of the store as responses, with a store that fails on demand."""

import asyncio
import logging
from concurrent.futures import Future
from typing import Any
from unittest.mock import create_autospec

import httpx
import pytest

from mistk_service.tracking import Store
from mistk_service.tracking import errors as tracking_errors
from mistk_service.tracking.artifacts import open_artifacts
from mistk_service.tracking.errors import (
    EndpointNotFound,
    FilterError,
    InvalidParameter,
    InvalidState,
    NotSupported,
    PermissionDenied,
    ResourceExists,
    ResourceNotFound,
    StoreError,
    StoreUnavailable,
    Unauthenticated,
)
from mistk_service.tracking.server import create_tracking_app
from mistk_service.tracking.server.replies import error_response

STATUSES = [
    (InvalidParameter("wrong"), 400),
    (FilterError("wrong", position=0, field="filter"), 400),
    (ResourceExists("taken"), 400),
    (ResourceNotFound("none"), 404),
    (EndpointNotFound("nothing"), 404),
    (PermissionDenied("no"), 403),
    (Unauthenticated("who"), 401),
    (InvalidState("deleted"), 500),
    (StoreError("broken"), 500),
    (NotSupported("never"), 501),
    (StoreUnavailable("full"), 503),
]


@pytest.fixture
def store():
    return create_autospec(Store, instance=True)


@pytest.fixture
def ask(store, tmp_path):
    """Send one request to an application over the store."""
    app = create_tracking_app(store, open_artifacts(tmp_path))

    async def send(method, path, **options):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, **options)

    return lambda *arguments, **options: asyncio.run(send(*arguments, **options))


@pytest.mark.parametrize(("error", "status"), STATUSES, ids=lambda value: type(value).__name__)
def test_an_error_has_the_status_that_mlflow_gives_it(store, ask, error, status):
    store.get_run.side_effect = error
    response = ask("GET", "/api/2.0/mlflow/runs/get?run_id=x")
    assert response.status_code == status
    assert response.json() == {"error_code": error.error_code, "message": str(error)}


def test_every_error_code_has_a_status_of_its_own_choice():
    kinds = [getattr(tracking_errors, name) for name in tracking_errors.__all__]
    codes = {kind.error_code for kind in kinds if issubclass(kind, tracking_errors.StoreError)}
    assert codes == {error.error_code for error, _ in STATUSES}


def test_a_batch_that_fails_later_fails_the_request(store, ask):
    outcome: Future[Any] = Future()
    outcome.set_exception(StoreUnavailable("The disk is full.", retry_after=1.2))
    store.submit_batch.return_value = outcome
    point = {"run_id": "x", "key": "m", "value": 1, "timestamp": 1}
    for path, body in [("log-metric", point), ("log-batch", {"run_id": "x", "metrics": [point]})]:
        response = ask("POST", f"/api/2.0/mlflow/runs/{path}", json=body)
        assert (response.status_code, response.headers["retry-after"]) == (503, "2")
        assert response.json() == {"error_code": "TEMPORARILY_UNAVAILABLE", "message": "The disk is full."}


def test_an_unexpected_failure_is_logged_and_tells_the_client_nothing(store, ask, caplog):
    store.get_run.side_effect = KeyError("the password")
    with caplog.at_level(logging.ERROR):
        response = ask("GET", "/api/2.0/mlflow/runs/get?run_id=x")
    assert (response.status_code, response.json()["error_code"]) == (500, "INTERNAL_ERROR")
    assert "password" not in response.text
    assert "the password" in caplog.text


def test_a_storage_that_cannot_be_written_is_unavailable(ask, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    response = ask("PUT", "/api/2.0/mlflow-artifacts/artifacts/0/f", content=b"data")
    assert (response.status_code, response.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    assert "No space left" in response.json()["message"]
    assert error_response(StoreUnavailable("")).status_code == 503
