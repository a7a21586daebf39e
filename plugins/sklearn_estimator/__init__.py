"""Any estimator of scikit-learn, with declared hyperparameters and tensors."""

from .model import SklearnEstimator

__all__ = ["SklearnEstimator"]
