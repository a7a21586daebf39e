"""Any model of MLflow: the showcase of a model that is built from what another tool has saved."""

from .model import MlflowPyfunc

__all__ = ["MlflowPyfunc"]
