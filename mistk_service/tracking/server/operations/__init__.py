"""The operations of the contract whose bodies are JSON, one short method for each operationId.

Each unpacks the fields, calls one method of the store, and wraps the result; ``api/mlflow-api.yaml`` describes it. A
method that blocks is a plain one, for a thread; one that only waits for the store's writer is a coroutine function.
"""

from mistk_service.tracking.server.operations._base import is_brief
from mistk_service.tracking.server.operations.artifacts import ArtifactOperations
from mistk_service.tracking.server.operations.experiments import ExperimentOperations
from mistk_service.tracking.server.operations.models import LoggedModelOperations, RegistryOperations
from mistk_service.tracking.server.operations.runs import RunOperations

__all__ = ["OPERATIONS", "is_brief"]

#: The classes whose methods are the operations.
OPERATIONS = (RunOperations, ExperimentOperations, ArtifactOperations, RegistryOperations, LoggedModelOperations)
