"""The evaluation plugin: reads, measures, and then writes and reports everything at once."""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

from mistk_service import AbstractEvaluationPlugin, Metric, RequestError

from .arrays import ASSESSMENTS
from .figures import drawn
from .measures import checked, measured, numbers
from .records import read_aligned

__all__ = ["SklearnEvaluation"]

logger = logging.getLogger(__name__)


class SklearnEvaluation(AbstractEvaluationPlugin):
    """Measures predictions of labels or numbers with the metrics of scikit-learn that ``metrics.json`` lists.

    Other functions of ``sklearn.metrics`` can be asked for too, as metrics with ``package``, ``method`` and
    ``dataParameters``. The README describes the files.
    """

    def do_evaluate(
        self,
        assessment_type: str,
        metrics: list[Metric],
        input_data_path: str,
        evaluation_input_format: str,
        ground_truth_path: str,
        evaluation_path: str | None,
        properties: dict[str, Any],  # noqa: ARG002 - there are none
    ) -> None:
        """Compute the metrics, report each of their numbers, log figures, and write ``eval_results_<seconds>.json``.

        Raises:
            RequestError: an argument or a file cannot be used. Nothing is reported or written then.
        """
        if assessment_type not in ASSESSMENTS:
            known = ", ".join(ASSESSMENTS)
            raise RequestError(
                f"assessment_type: {assessment_type!r:.80} is not known; expected one of {known}.",
                field="assessment_type",
            )
        chosen = checked(metrics, _declared(), assessment_type)
        predicted, truth, left = read_aligned(input_data_path, evaluation_input_format, ground_truth_path)
        data = ASSESSMENTS[assessment_type](predicted, truth)
        results: dict[str, Any] = {}
        for index, metric in enumerate(self.steps(chosen, "metrics")):
            results[str(metric.object_info.name)], notes = measured(metric, data, f"metrics[{index}]")
            for note in notes:
                logger.warning("%s", note)
        text = json.dumps(results, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        if evaluation_path is None:
            self.log_text(text, "evaluation/eval_results.json")
        else:
            _write(Path(evaluation_path), text)
        for name, value in results.items():
            self.report_metrics(numbers(name, value, data.classes))
        self.report_params({"records": len(predicted), "records_without_prediction": left, "labels": len(data.classes)})
        for file, figure in drawn(data):
            self.log_figure(figure, f"figures/{file}")


def _declared() -> dict[str, Metric]:
    listed = json.loads(Path(__file__).with_name("metrics.json").read_text(encoding="utf-8"))
    metrics = (Metric.from_wire(each, "metrics.json") for each in listed)
    return {str(metric.object_info.name): metric for metric in metrics}


def _write(folder: Path, text: str) -> None:
    """Write the results under the name of this second, or of the next that has none."""
    second = int(time.time())
    draft = folder / f".eval_results_{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        while (target := folder / f"eval_results_{second}.json").exists():
            second += 1
        draft.replace(target)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise RequestError(
            f"evaluation_path: {folder} cannot be written ({error.strerror}); expected a folder that can be written.",
            field="evaluation_path",
        ) from error
