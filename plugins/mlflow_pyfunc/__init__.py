"""Any model of MLflow, built from a model that another tool has saved."""

from .model import MlflowPyfunc

__all__ = ["MlflowPyfunc"]
