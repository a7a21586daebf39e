"""A model container service: one machine-learning model behind a truthful HTTP lifecycle API.

A model author needs only what stands here. Importing the package does nothing else, and it stays light, because the worker
process imports it before the model.
"""

from mistk_service.errors import MistkError, RequestError
from mistk_service.kinds.component import DetachedContext, StopActivity
from mistk_service.kinds.model.base import AbstractModel
from mistk_service.kinds.model.values import Dataset, InitParams, MistkDataset, ObjectInfo, Objective

__version__ = "0.1.0"

__all__ = [
    "AbstractModel",
    "Dataset",
    "DetachedContext",
    "InitParams",
    "MistkDataset",
    "MistkError",
    "ObjectInfo",
    "Objective",
    "RequestError",
    "StopActivity",
    "__version__",
]
