"""The one class that a model author subclasses, and the context through which it talks to its container."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeVar, overload

from mistk_service.kinds.model.values import MistkDataset

__all__ = ["AbstractModel", "Context", "DetachedContext", "RunReference", "StopActivity"]

T = TypeVar("T")


class StopActivity(BaseException):
    """Raised by :meth:`AbstractModel.pause_point` when the activity has to end now.

    It does not descend from Exception, so that a model's ``except Exception`` lets it pass. Catch it only to put things in
    order, and raise it again.
    """


@dataclass(frozen=True)
class RunReference:
    """The run that a model is tracked as.

    Attributes:
        id: the run's id.
        tracking_uri: the address of the tracking server that has it, the container's own, as MLflow's clients take it.
    """

    id: str
    tracking_uri: str


class _CurrentRun:
    """Gives the run that a model is tracked as. A model that sets an attribute of that name has its own from then on."""

    @overload
    def __get__(self, model: None, owner: type[Any]) -> _CurrentRun: ...
    @overload
    def __get__(self, model: AbstractModel, owner: type[Any]) -> RunReference | None: ...
    def __get__(self, model: AbstractModel | None, owner: type[Any]) -> _CurrentRun | RunReference | None:
        return self if model is None else getattr(model._mistk(), "run", None)


class Context(Protocol):
    """What a model can ask of the container around it. The worker provides one; so can a test.

    Its attribute ``run``, if it has one, is the run that the model is tracked as.
    """

    def pause_point(self) -> None:
        """Block while a pause is wanted; raise StopActivity when the activity has to end."""

    def request_pause(self) -> None:
        """Make the next pause point block."""

    def release_pause(self) -> None:
        """Let a blocked pause point go on."""

    def update_status(self, payload: Any) -> None:
        """Publish ``payload`` as part of the status."""

    def progress(self, done: int, total: int | None, unit: str, started: float, initial: int) -> None:
        """Publish how far an activity has come since ``started`` (``time.monotonic``), when it stood at ``initial``."""

    def report_metrics(self, values: Mapping[str, Any], step: int | None, timestamp: int | None) -> None:
        """Take metric values; ``timestamp`` is in milliseconds since the epoch."""

    def report_params(self, values: Mapping[str, Any]) -> None:
        """Take parameter values."""

    def set_tags(self, values: Mapping[str, Any]) -> None:
        """Take tags."""

    def log_artifact(self, path: Path, artifact_path: str | None) -> None:
        """Take a file or folder."""

    def log_text(self, text: str, artifact_file: str) -> None:
        """Take a text as a file of its own."""

    def log_figure(self, figure: Any, artifact_file: str, save_kwargs: Mapping[str, Any]) -> None:
        """Take a figure as a file of its own; ``save_kwargs`` are for the library's function that writes it."""


class DetachedContext:
    """The context of a model outside any container: never pauses, and keeps what it is told, for a test to look at.

    Attributes:
        status: the last payload given to ``update_status``.
        metrics: every ``(key, value, step)`` reported, in order.
        params: the parameters reported.
        tags: the tags set.
        artifacts: every ``(path, artifact_path)`` logged.
        texts: the texts logged, by artifact file.
        figures: the figures logged, by artifact file.
        done: the last ``(done, total, unit)`` of ``progress``.
    """

    def __init__(self) -> None:
        self.status: Any = None
        self.metrics: list[tuple[str, Any, int | None]] = []
        self.params: dict[str, Any] = {}
        self.tags: dict[str, Any] = {}
        self.artifacts: list[tuple[Path, str | None]] = []
        self.texts: dict[str, str] = {}
        self.figures: dict[str, Any] = {}
        self.done: tuple[int, int | None, str] | None = None

    def pause_point(self) -> None:
        """Return at once."""

    def request_pause(self) -> None:
        """Do nothing."""

    def release_pause(self) -> None:
        """Do nothing."""

    def update_status(self, payload: Any) -> None:
        """Keep ``payload``."""
        self.status = payload

    def progress(self, done: int, total: int | None, unit: str, started: float, initial: int) -> None:  # noqa: ARG002
        """Keep the figures."""
        self.done = (done, total, unit)

    def report_metrics(self, values: Mapping[str, Any], step: int | None, timestamp: int | None) -> None:  # noqa: ARG002
        """Keep the values."""
        self.metrics.extend((key, value, step) for key, value in values.items())

    def report_params(self, values: Mapping[str, Any]) -> None:
        """Keep the values."""
        self.params.update(values)

    def set_tags(self, values: Mapping[str, Any]) -> None:
        """Keep the tags."""
        self.tags.update(values)

    def log_artifact(self, path: Path, artifact_path: str | None) -> None:
        """Keep the path."""
        self.artifacts.append((path, artifact_path))

    def log_text(self, text: str, artifact_file: str) -> None:
        """Keep the text."""
        self.texts[artifact_file] = text

    def log_figure(self, figure: Any, artifact_file: str, save_kwargs: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Keep the figure."""
        self.figures[artifact_file] = figure


class AbstractModel:
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

    Subclasses need not call ``__init__``. Names that begin with ``_mistk`` are the container's.
    """

    #: The most records that one call of ``do_stream_predict`` is given when the container merges concurrent requests. With 1
    #: every request is a call of its own. A single request with more records is never divided.
    max_batch_size: ClassVar[int] = 1

    #: ``"base64"`` to have the container refuse stream predictions with records that are not in base64 (the standard alphabet
    #: with padding). Unless declared, records reach the hook as they are.
    record_encoding: ClassVar[Literal["base64"] | None] = None

    #: The run that this model is tracked as, a :class:`RunReference` with ``id`` and ``tracking_uri``; None where nothing is
    #: tracked, and before the first train, predict, generate or save, which begins it.
    run = _CurrentRun()

    _mistk_context: Context | None = None

    def attach(self, context: Context) -> None:
        """Give the model what it talks to: the worker does so, and a test may."""
        self._mistk_context = context

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

    # --- services: what a hook can call ---------------------------------------------------------------------------

    def steps(
        self, iterable: Iterable[T], unit: str = "steps", *, total: int | None = None, initial: int = 0
    ) -> Iterator[T]:
        """Iterate, with a pause point before every turn and the progress in the status.

        Args:
            iterable: what to go through.
            unit: what is counted, in the plural, for people (``epochs``).
            total: how many turns there will be, those of ``initial`` included, where ``len(iterable)`` does not tell.
            initial: how many turns were made before, in a training that is taken up again.

        Raises:
            StopActivity: the activity has to end now.
        """
        if total is None and isinstance(iterable, Sized):
            total = initial + len(iterable)
        context = self._mistk()
        started = time.monotonic()
        done = initial
        context.progress(done, total, unit, started, initial)
        for item in iterable:
            context.pause_point()
            yield item
            done += 1
            context.progress(done, total, unit, started, initial)
        # Without this one a pause that was asked for in the last turn would be overtaken by the end of the loop.
        context.pause_point()

    def pause_point(self) -> None:
        """Block while the activity is paused. Call it where the work can safely stand still.

        Raises:
            StopActivity: the activity has to end now.
        """
        self._mistk().pause_point()

    def update_status(self, payload: Any) -> None:
        """Show ``payload`` in the status; each call replaces the last one. Anything that JSON can express will do."""
        self._mistk().update_status(payload)

    def report_metrics(self, values: Mapping[str, Any], step: int | None = None, timestamp: int | None = None) -> None:
        """Report metric values.

        Args:
            values: name → number; NaN and infinities are kept.
            step: the position on the x axis, such as the epoch.
            timestamp: milliseconds since the epoch; now, unless given.
        """
        self._mistk().report_metrics(values, step, timestamp)

    def report_params(self, values: Mapping[str, Any]) -> None:
        """Report parameters: values that are set once."""
        self._mistk().report_params(values)

    def set_tags(self, values: Mapping[str, Any]) -> None:
        """Set tags, replacing those of the same name."""
        self._mistk().set_tags(values)

    def log_artifact(self, path: str | Path, artifact_path: str | None = None) -> None:
        """Hand over a file, or a folder with all that is in it, to be kept with the run as it is now.

        Where the container keeps artifacts it is copied before this returns. What cannot be had is an error in the log.

        Args:
            path: the file or folder. Links to folders within it are not followed.
            artifact_path: the folder of the run to put it in; the uppermost unless given.
        """
        self._mistk().log_artifact(Path(path), artifact_path)

    def log_text(self, text: str, artifact_file: str) -> None:
        """Keep a text with the run, as the file ``artifact_file`` (``notes/epoch-3.md``)."""
        self._mistk().log_text(text, artifact_file)

    def log_figure(self, figure: Any, artifact_file: str, *, save_kwargs: Mapping[str, Any] | None = None) -> None:
        """Keep a figure of matplotlib or plotly with the run.

        Args:
            figure: the figure.
            artifact_file: the file of the run; its suffix tells the format (``plots/loss.png``).
            save_kwargs: further arguments for ``savefig``, ``write_html`` or ``write_image``, which writes it.
        """
        self._mistk().log_figure(figure, artifact_file, save_kwargs or {})

    def _mistk(self) -> Context:
        """Return the context, a detached one where no container has set any; subclasses need not call ``__init__``."""
        if self._mistk_context is None:
            self._mistk_context = DetachedContext()
        return self._mistk_context
