"""Tracking servers that are a function of the test."""

import httpx

from mistk_service.tracking.rest import RestConfig, open_rest_store

__all__ = ["RUN", "answering", "failing_with"]

RUN = {"run": {"info": {"run_id": "r", "experiment_id": "1", "artifact_uri": "mlflow-artifacts:/1/r/artifacts"}}}


def answering(handler, uri="https://host", **settings):
    """A store whose server is a function."""
    return open_rest_store(RestConfig(uri, **settings), transport=httpx.MockTransport(handler))


def failing_with(status, **reply):
    return answering(lambda request: httpx.Response(status, **reply))
