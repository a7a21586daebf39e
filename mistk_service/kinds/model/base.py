"""The base class of models."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from mistk_service.kinds.component import Component
from mistk_service.kinds.evaluation.base import AbstractEvaluationPlugin
from mistk_service.kinds.evaluation.bundled import bundled_evaluation, metrics_by_labels
from mistk_service.kinds.evaluation.values import Metric
from mistk_service.kinds.values import MistkDataset

if TYPE_CHECKING:
    from numpy.typing import NDArray


class AbstractModel(Component):
    """A machine-learning model in the vocabulary of MISTK. Subclass it and write the hooks for what your model does.

    The container calls the hooks one at a time, on the main thread of the model's own process::

        do_initialize → do_load_data → do_build_model → do_train / do_predict / do_generate / do_stream_predict ...
                                                      → do_save_model / do_save_predictions / do_save_generations

    A hook returns when its work is done, and raises an exception if it fails. It may be a coroutine. States, HTTP and
    processes are the container's job. The container refuses operations whose hook is missing. ``do_initialize``,
    ``do_build_model``, ``do_update_stream_properties``, ``do_reset`` and ``do_terminate`` are optional and do nothing by
    default.

    A hook that raises :class:`~mistk_service.RequestError` refuses the request, and the previous state is restored. Any other
    exception makes the state ``failed``, except for these:

    * ``do_stream_predict``: only its request fails.
    * NotImplementedError from one of the three ``do_save_*``: the previous state is restored.
    * ``do_save_model`` while an activity is paused: the activity stays paused.
    """

    _mistk_kind = "mistk_service.kinds.model:MODEL"

    #: The maximum number of records in one call of ``do_stream_predict`` or ``do_infer`` when the container merges concurrent
    #: requests. With 1, requests are not merged. A request with more records is never divided.
    max_batch_size: ClassVar[int] = 1

    #: Set it to ``"base64"`` to refuse stream predictions with records that are not base64 (standard alphabet, with padding).
    #: By default, records are not checked.
    record_encoding: ClassVar[Literal["base64"] | None] = None

    #: The type of the hyperparameters: a msgspec struct or a dataclass. Fields have defaults, and bounds and descriptions with
    #: ``Annotated[float, msgspec.Meta(gt=0, description="...")]``. Values are checked before anything changes, and
    #: ``do_initialize`` gets an instance.
    hyperparameters: Any = None

    #: The tensors that ``do_infer`` takes: (name, data type of numpy or ``bytes``, shape with -1 for any dimension). Or a
    #: msgspec struct or a dataclass whose fields are columns, one value for each record. A codec may stand in place of the
    #: data type: ``text``, ``json``, ``csv``, or ``image``, whose shape is [-1, height, width, channels] if it is given.
    inputs: ClassVar[Sequence[tuple[Any, ...]] | type[Any]] = ()

    #: The tensors that ``do_infer`` returns, in the same form. Numbers are converted to the declared data types. A prediction
    #: fails if one is missing or has another shape.
    outputs: ClassVar[Sequence[tuple[Any, ...]] | type[Any]] = ()

    #: Whether a prediction may be made twice. If it is True and the container has ``--replicas``, a prediction whose process
    #: has died is made once more by another one. Otherwise the client gets the error.
    idempotent_predictions: ClassVar[bool] = False

    #: Whether predictions continue while the model trains. A separate process then answers them, or all of ``--replicas``,
    #: with the model as it was before the training. After the training they get the new one from ``do_save_model`` and
    #: ``do_build_model(path)``.
    serve_while_training: ClassVar[bool] = False

    #: The class of the plugin that measures predictions for ``evaluate``; by default the ``SklearnEvaluation`` of the package.
    evaluation_plugin: ClassVar[type[AbstractEvaluationPlugin] | None] = None

    # --- hooks: what the model does -------------------------------------------------------------------------------

    def do_initialize(self, objectives: list[str], props: dict[str, Any], hparams: Any) -> None:
        """Receive the settings of this instance.

        Args:
            objectives: some of ``training``, ``prediction``, ``streaming_prediction``, ``generation``, ``transfer_learning``,
                ``miniaturization``.
            props: the model properties of the request: settings other than hyperparameters.
            hparams: the hyperparameters of the request, by name; an instance of ``hyperparameters`` if the class declares it.
        """

    def do_load_data(self, dataset_map: dict[str, MistkDataset]) -> None:
        """Load the datasets. The keys are those of the request, such as ``train``, ``test`` and ``generate``."""
        raise NotImplementedError

    def do_build_model(self, path: str | None = None) -> None:
        """Build the model, or load it from the folder ``path`` that ``do_save_model`` wrote."""

    def do_build_ensemble(self, ensemble_path: str | None = None, model_paths: dict[str, str] | None = None) -> None:
        """Build an ensemble of saved models. ``do_build_model(ensemble_path)`` is called right afterwards.

        Args:
            ensemble_path: the folder of the ensemble, from the request; it need not exist.
            model_paths: the name of each model → a folder that ``do_save_model`` wrote.
        """
        raise NotImplementedError

    def do_train(self) -> None:
        """Train on the dataset ``train``."""
        raise NotImplementedError

    def do_save_model(self, path: str) -> None:
        """Write the model to the folder ``path``. While an activity is paused, it is called at the pause point."""
        raise NotImplementedError

    def do_miniaturize(self, dataPath: str, includeHalfPrecision: bool) -> None:  # noqa: N803 - MISTK's names
        """Write a smaller model to the folder ``dataPath``.

        Args:
            dataPath: the folder.
            includeHalfPrecision: whether to reduce the weights to half precision (float16).
        """
        raise NotImplementedError

    def do_predict(self) -> None:
        """Predict for the dataset ``test`` and keep the result for ``do_save_predictions``."""
        raise NotImplementedError

    def do_save_predictions(self, dataPath: str) -> None:  # noqa: N803 - MISTK's name
        """Write the last predictions to the folder ``dataPath``."""
        raise NotImplementedError

    def do_stream_predict(self, data_map: dict[str, str], details: bool = False) -> dict[str, Any]:
        """Predict for records that came with the request.

        Args:
            data_map: identifier → record, unchanged from the request; by convention base64, see ``record_encoding``.
            details: whether to add an explanation in Markdown. A hook without this argument is called without it.

        Returns:
            identifier → prediction, any JSON value. Scalars and arrays of numpy are converted. With ``details``, further keys
            are for the request as a whole, by convention ``details``.

        A generator answers in parts: the container sends each value that it yields, any JSON value, at once. It is closed at
        its next ``yield`` when the client disconnects.
        """
        raise NotImplementedError

    def do_infer(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Predict for named tensors, such as those of the Open Inference Protocol. It needs numpy.

        Args:
            inputs: name → array, read-only. An array of byte strings, or of records that a codec has decoded, has the data
                type ``object``.

        Returns:
            name → array, or a list of records for an output with a codec.
        """
        raise NotImplementedError

    def do_stream_predict_source(self, source: str, format: str | None, props: dict[str, Any]) -> None:
        """Predict for the records of a source until it ends or the client cancels.

        Pass each prediction to ``update_source_predictions`` as soon as it is made. A ``pause_point`` ends the hook when the
        client cancels or disconnects. So do ``steps``, which show the progress.

        Args:
            source: where the records are, such as a URL or a path; the model defines it.
            format: the format of the records; None for the model's own.
            props: settings for these predictions; empty if the request had none.
        """
        raise NotImplementedError

    def do_generate_stream(self, prompt: str, parameters: dict[str, Any]) -> Iterator[str]:
        """Continue a text, piece by piece, for clients of OpenAI's API and of the Open Inference Protocol.

        Args:
            prompt: the text. For a conversation, the texts of its messages, one per line.
            parameters: other parameters of the request, such as ``max_tokens``, ``temperature``, ``seed`` and ``stop``. A
                conversation is ``messages``, a list of ``{"role": ..., "content": ...}``.

        Yields:
            the pieces of the continuation, which count as its tokens. Each is sent at once. The generator is closed at its
            next ``yield`` when the client has ``max_tokens`` pieces or a text of ``stop``, or disconnects. A hook that is not
            a generator returns the whole text.
        """
        raise NotImplementedError

    def do_update_stream_properties(self, props: dict[str, Any]) -> None:
        """Receive settings for later stream predictions. Requests that arrive in the meantime wait until this returns."""

    def do_generate(self) -> None:
        """Generate and keep the result for ``do_save_generations``."""
        raise NotImplementedError

    def do_save_generations(self, dataPath: str) -> None:  # noqa: N803 - MISTK's name
        """Write the last generations to the folder ``dataPath``."""
        raise NotImplementedError

    def do_evaluate(
        self,
        assessment_type: str,
        metrics: list[Metric],
        ground_truth_path: str,
        evaluation_path: str | None,
        properties: dict[str, Any],
    ) -> None:
        """Measure the last predictions against the truth.

        By default, ``do_save_predictions`` writes them to a temporary folder, which the ``evaluation_plugin`` measures.

        Args:
            assessment_type: such as ``MulticlassClassification``.
            metrics: what to compute; if it is empty, the metrics of the plugin that need labels alone.
            ground_truth_path: the file or folder with the truth.
            evaluation_path: the folder for the results; None if they are not wanted as a file.
            properties: the settings of the request.
        """
        plugin = (self.evaluation_plugin or bundled_evaluation())()
        plugin.attach(self._mistk())
        chosen = metrics or metrics_by_labels(type(plugin), assessment_type)
        with tempfile.TemporaryDirectory(prefix="mistk-predictions-") as folder:
            self.do_save_predictions(folder)
            plugin.do_evaluate(
                assessment_type, chosen, folder, "predictions", ground_truth_path, evaluation_path, properties
            )

    def do_pause(self) -> None:
        """Begin to pause. It is called on another thread while the activity runs.

        By default, the activity pauses at its next ``pause_point``. To pause in another way, override this hook and the two
        ``do_resume_*``. The activity then counts as paused when this hook returns.
        """
        self._mistk().request_pause()

    def do_resume_training(self) -> None:
        """Resume a paused training. It is called on another thread."""
        self._mistk().release_pause()

    def do_resume_predict(self) -> None:
        """Resume a paused prediction. It is called on another thread."""
        self._mistk().release_pause()

    def do_terminate(self) -> None:
        """Release resources before a shutdown. The process ends right afterwards.

        It is called when the activity has ended. If the activity does not end within 40 % of the grace period, this hook
        is called on another thread, where it may set a flag that ends the activity. The same holds for ``do_reset``.
        """

    # --- services: what a hook can call ---------------------------------------------------------------------------

    def update_source_predictions(self, predictions: dict[str, Any]) -> None:
        """Send predictions to the client of ``do_stream_predict_source``: identifier → prediction, any JSON value.

        It blocks while the client is slow. Predictions that no client wants are dropped.
        """
        self._mistk().publish(predictions)

    @property
    def _model_streaming(self) -> bool:
        """Whether the client of ``do_stream_predict_source`` wants more, by MISTK's name."""
        return self._mistk().streaming

    @_model_streaming.setter
    def _model_streaming(self, wanted: bool) -> None:
        self._mistk().streaming = wanted
