"""The base class of evaluation plugins."""

from __future__ import annotations

from typing import Any

from mistk_service.kinds.component import Component
from mistk_service.kinds.evaluation.values import Metric


class AbstractEvaluationPlugin(Component):
    """Measures predictions against the truth, in the vocabulary of MISTK. Subclass it and write ``do_evaluate``.

    The container calls the hooks one at a time, on the main thread of the plugin's own process. List the metrics that the
    plugin knows in a file ``metrics.json`` next to its module; clients read them there.

    A hook that raises :class:`~mistk_service.RequestError` refuses the request, and the previous state is restored. Any other
    exception makes the state ``failed``.
    """

    _mistk_kind = "mistk_service.kinds.evaluation:EVALUATION"

    def do_evaluate(
        self,
        assessment_type: str,
        metrics: list[Metric],
        input_data_path: str,
        evaluation_input_format: str,
        ground_truth_path: str,
        evaluation_path: str | None,
        properties: dict[str, Any],
    ) -> None:
        """Compute the metrics, report them, and write them to a file.

        Args:
            assessment_type: such as ``BinaryClassification``, ``MulticlassClassification``, ``MultilabelClassification`` or
                ``Regression``.
            metrics: what to compute.
            input_data_path: the file or folder with the predictions or generations.
            evaluation_input_format: ``predictions`` or ``generations``.
            ground_truth_path: the file or folder with the truth.
            evaluation_path: the folder for the results; None if they are not wanted as a file.
            properties: the settings of the request.
        """
        raise NotImplementedError
