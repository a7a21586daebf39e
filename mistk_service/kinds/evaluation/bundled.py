"""The evaluation plugin that comes with the package, and the metrics to compute if a request names none."""

from __future__ import annotations

import importlib
import sys

from mistk_service.errors import RequestError
from mistk_service.kinds.evaluation.base import AbstractEvaluationPlugin
from mistk_service.kinds.evaluation.values import Metric, declared_metrics, metrics_of


def bundled_evaluation() -> type[AbstractEvaluationPlugin]:
    """Return the class ``SklearnEvaluation``.

    Raises:
        RequestError: scikit-learn or matplotlib is not installed.
    """
    # Imported here, since few models are evaluated in their own process.
    from mistk_service.resources import plugins_path

    folder = str(plugins_path())
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        plugin: type[AbstractEvaluationPlugin] = importlib.import_module("sklearn_evaluation").SklearnEvaluation
    except ModuleNotFoundError as error:
        raise RequestError(
            f"The evaluation needs {error.name}, which is not installed; install it with: pip install "
            "'mistk-service[plugins]'."
        ) from error
    return plugin


def metrics_by_labels(plugin: type[AbstractEvaluationPlugin], assessment_type: str) -> list[Metric]:
    """Return the metrics that a plugin declares for a type of assessment and that need no scores."""
    metrics = metrics_of(declared_metrics(plugin))
    return [
        metric
        for metric in metrics
        if assessment_type in (metric.assessment_types or ())
        and (metric.data_parameters is None or metric.data_parameters.prediction_scores is None)
    ]
