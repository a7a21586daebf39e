"""Clients of containers: typed calls, and a status stream that survives broken connections.

::

    with launch("my_model.py:MyModel") as model:  # or: ModelClient("http://localhost:8080")
        model.initialize(["training"], hyperparameters={"epochs": 20})
        model.wait_for("initialized")
        ...
        model.wait_for("ready", since=model.train())

The clients whose names begin with ``Async`` have the same methods for asyncio.
"""

from mistk_service.client.agent import AgentClient, AsyncAgentClient
from mistk_service.client.container import AsyncContainerClient, ContainerClient
from mistk_service.client.evaluation import AsyncEvaluationClient, EvaluationClient
from mistk_service.client.launch import CLIENTS, Launch, launch
from mistk_service.client.model import AsyncModelClient, ModelClient
from mistk_service.client.orchestrator import AsyncOrchestratorClient, OrchestratorClient
from mistk_service.client.status import LastActivity, ModelStatus, Progress, WatchEvent
from mistk_service.client.transform import AsyncTransformClient, TransformClient

__all__ = [
    "CLIENTS",
    "AgentClient",
    "AsyncAgentClient",
    "AsyncContainerClient",
    "AsyncEvaluationClient",
    "AsyncModelClient",
    "AsyncOrchestratorClient",
    "AsyncTransformClient",
    "ContainerClient",
    "EvaluationClient",
    "LastActivity",
    "Launch",
    "ModelClient",
    "ModelStatus",
    "OrchestratorClient",
    "Progress",
    "TransformClient",
    "WatchEvent",
    "launch",
]
