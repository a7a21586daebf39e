"""A model container service: runs one machine-learning component behind an HTTP lifecycle API.

Authors of models and plugins need only the names below. Importing the package has no side effects and is fast, because the
worker process imports it before the model.
"""

from mistk_service.errors import AgentFailed, MistkError, RequestError
from mistk_service.kinds.agent.base import AbstractAgent
from mistk_service.kinds.component import DetachedContext, StopActivity
from mistk_service.kinds.evaluation.base import AbstractEvaluationPlugin
from mistk_service.kinds.evaluation.values import Metric, MetricDataParameters
from mistk_service.kinds.model.base import AbstractModel
from mistk_service.kinds.orchestrator.base import AbstractOrchestrator, BaseEnv
from mistk_service.kinds.transform.base import AbstractTransformPlugin
from mistk_service.kinds.values import Dataset, InitParams, MistkDataset, ObjectInfo, Objective

__version__ = "0.1.0"

__all__ = [
    "AbstractAgent",
    "AbstractEvaluationPlugin",
    "AbstractModel",
    "AbstractOrchestrator",
    "AbstractTransformPlugin",
    "AgentFailed",
    "BaseEnv",
    "Dataset",
    "DetachedContext",
    "InitParams",
    "Metric",
    "MetricDataParameters",
    "MistkDataset",
    "MistkError",
    "ObjectInfo",
    "Objective",
    "RequestError",
    "StopActivity",
    "__version__",
]
