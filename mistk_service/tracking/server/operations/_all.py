"""All operations in one object, since the operationIds of the contract are the names of its methods."""

from __future__ import annotations

from mistk_service.tracking.server.operations.artifacts import ArtifactOperations
from mistk_service.tracking.server.operations.experiments import ExperimentOperations
from mistk_service.tracking.server.operations.logged_models import LoggedModelOperations
from mistk_service.tracking.server.operations.metrics import MetricOperations
from mistk_service.tracking.server.operations.registry import RegistryOperations
from mistk_service.tracking.server.operations.runs import RunOperations

__all__ = ["Operations"]


class Operations(
    RunOperations,
    MetricOperations,
    ExperimentOperations,
    ArtifactOperations,
    RegistryOperations,
    LoggedModelOperations,
):
    """Every operation: unpack the fields, call one method of the store, wrap the result.

    The parts share nothing but the store and the artifacts. What blocks is a plain method, for a thread; what only
    waits for the store's writer is a coroutine.
    """
