"""Any estimator of scikit-learn: the showcase of a model that declares its hyperparameters and tensors."""

from .model import SklearnEstimator

__all__ = ["SklearnEstimator"]
