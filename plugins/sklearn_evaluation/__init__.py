"""An evaluation plugin that measures predictions with the metrics of scikit-learn."""

from .evaluation import SklearnEvaluation

__all__ = ["SklearnEvaluation"]
