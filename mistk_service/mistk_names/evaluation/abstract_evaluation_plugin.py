"""``mistk.evaluation.abstract_evaluation_plugin``."""

from mistk_service.kinds.evaluation.base import AbstractEvaluationPlugin

__all__ = ["AbstractEvaluationPlugin"]
