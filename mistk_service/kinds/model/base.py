"""The base class of models."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from mistk_service.kinds.component import Component
from mistk_service.kinds.model.values import MistkDataset

__all__ = ["AbstractModel"]


class AbstractModel(Component):
    """A machine-learning model in the vocabulary of MISTK. Subclass it and write the hooks for what your model does.

    The container calls the hooks, one at a time, on the main thread of a process that belongs to this model alone::

        do_initialize → do_load_data → do_build_model → do_train / do_predict / do_generate / do_stream_predict ...
                                                      → do_save_model / do_save_predictions / do_save_generations

    A hook returns when its work is done and raises when it fails; states, HTTP and processes are the container's business.
    What is not written is refused when somebody asks for it, except ``do_initialize``, ``do_build_model``,
    ``do_update_stream_properties``, ``do_reset`` and ``do_terminate``, which do nothing unless written.

    A hook that raises :class:`~mistk_service.RequestError` refuses the request: the state goes back to where it was. Any other
    exception makes the instance fail, with two exceptions. ``do_stream_predict`` fails its request alone. After
    NotImplementedError from one of the three ``do_save_*``, and after any error of ``do_save_model`` while an activity is
    paused, the state goes back to where it was.
    """

    _mistk_kind = "mistk_service.kinds.model:MODEL"

    #: The most records that one call of ``do_stream_predict`` is given when the container merges concurrent requests. With 1
    #: every request is a call of its own. A single request with more records is never divided.
    max_batch_size: ClassVar[int] = 1

    #: ``"base64"`` to have the container refuse stream predictions with records that are not in base64 (the standard alphabet
    #: with padding). Unless declared, records reach the hook as they are.
    record_encoding: ClassVar[Literal["base64"] | None] = None

    # --- hooks: what the model does -------------------------------------------------------------------------------

    def do_initialize(self, objectives: list[str], props: dict[str, Any], hparams: dict[str, Any]) -> None:
        """Take the settings of this instance.

        Args:
            objectives: of ``training``, ``prediction``, ``streaming_prediction``, ``generation``, ``transfer_learning``.
            props: the model properties of the request; settings that are no hyperparameters.
            hparams: the hyperparameters of the request.
        """

    def do_load_data(self, dataset_map: dict[str, MistkDataset]) -> None:
        """Load the datasets; the keys are those of the request, such as ``train``, ``test`` and ``generate``."""
        raise NotImplementedError

    def do_build_model(self, path: str | None = None) -> None:
        """Make the model, or load it from the folder ``path`` that ``do_save_model`` once wrote."""

    def do_train(self) -> None:
        """Train on the dataset ``train``."""
        raise NotImplementedError

    def do_save_model(self, path: str) -> None:
        """Write the model to the folder ``path``. While training is paused it is called at the pause point."""
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
            data_map: identifier → record, as the request has it; by convention in base64, see ``record_encoding``.
            details: whether to add an explanation in Markdown. A hook that does not take this argument is called without.

        Returns:
            identifier → prediction, of anything that JSON can express; numpy scalars and arrays are converted. With
            ``details`` there may be further keys for the request as a whole, ``details`` by convention.
        """
        raise NotImplementedError

    def do_update_stream_properties(self, props: dict[str, Any]) -> None:
        """Take settings for the stream predictions that follow; those that come meanwhile wait until this returns."""

    def do_generate(self) -> None:
        """Generate and keep the result for ``do_save_generations``."""
        raise NotImplementedError

    def do_save_generations(self, dataPath: str) -> None:  # noqa: N803 - MISTK's name
        """Write the last generations to the folder ``dataPath``."""
        raise NotImplementedError

    def do_pause(self) -> None:
        """Begin to pause. Called on another thread while the activity runs.

        As it stands, the activity pauses at its next ``pause_point``. A model that pauses in its own way overrides this
        hook and the two ``do_resume_*``; the activity then counts as paused when this hook returns.
        """
        self._mistk().request_pause()

    def do_resume_training(self) -> None:
        """Go on with a paused training. Called on another thread."""
        self._mistk().release_pause()

    def do_resume_predict(self) -> None:
        """Go on with a paused prediction. Called on another thread."""
        self._mistk().release_pause()

    def do_reset(self) -> None:
        """Let go of what should not outlive this instance; the process ends right after."""

    def do_terminate(self) -> None:
        """Let go of what should not outlive this instance; the process ends right after.

        Called when the activity has ended. One without pause points need not end by itself: after half of the time that the
        worker is given, this hook, as ``do_reset``, is called beside it on another thread, and may set the flag that ends it.
        """
