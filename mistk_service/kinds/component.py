"""The root of the base classes of all kinds: the context of the container, and the methods that a hook can call."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar, overload

T = TypeVar("T")


class StopActivity(BaseException):
    """Raised by :meth:`Component.pause_point` when the activity must end now.

    It is not an Exception, so ``except Exception`` lets it pass. Catch it only to clean up, and raise it again.
    """


@dataclass(frozen=True)
class RunReference:
    """The run that tracks a component.

    Attributes:
        id: the run's id.
        tracking_uri: the URL of the container's own tracking server, for MLflow's clients.
    """

    id: str
    tracking_uri: str


class _FromContext(Generic[T]):
    """Returns an attribute of the context, or None, unless the component sets an attribute with the same name."""

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self._name = name

    @overload
    def __get__(self, component: None, owner: type[Any]) -> _FromContext[T]: ...
    @overload
    def __get__(self, component: Component, owner: type[Any]) -> T | None: ...
    def __get__(self, component: Component | None, owner: type[Any]) -> _FromContext[T] | T | None:
        return self if component is None else getattr(component._mistk(), self._name, None)


class Context(Protocol):
    """The interface of the container for a component. The worker provides a context; a test can provide another one.

    The attribute ``run``, if there is one, is the run that tracks the component, and ``state`` the state of the instance.
    """

    #: Whether a client wants more of what the activity publishes. Set it to False to drop what follows.
    streaming: bool

    def publish(self, value: Any) -> None:
        """Send a value to the client of the activity; drop it if no client wants it."""

    def fail(self, reason: str) -> None:
        """Let the activity fail when its hook returns."""

    def pause_point(self) -> None:
        """Block while a pause is wanted; raise StopActivity when the activity has to end."""

    def request_pause(self) -> None:
        """Make the next pause point block."""

    def release_pause(self) -> None:
        """Let a blocked pause point continue."""

    def update_status(self, payload: Any) -> None:
        """Publish ``payload`` as part of the status."""

    def progress(self, done: int, total: int | None, unit: str, started: float, initial: int) -> None:
        """Publish the progress of an activity that began at ``started`` (``time.monotonic``) with ``initial`` steps done."""

    def report_metrics(self, values: Mapping[str, Any], step: int | None, timestamp: int | None) -> None:
        """Report metric values; ``timestamp`` is in milliseconds since the epoch."""

    def report_params(self, values: Mapping[str, Any]) -> None:
        """Report parameter values."""

    def set_tags(self, values: Mapping[str, Any]) -> None:
        """Set tags."""

    def log_artifact(self, path: str | Path, artifact_path: str | None) -> None:
        """Store a file or folder."""

    def log_text(self, text: str, artifact_file: str) -> None:
        """Store a text as a file."""

    def log_figure(self, figure: Any, artifact_file: str, save_kwargs: Mapping[str, Any]) -> None:
        """Store a figure as a file; ``save_kwargs`` are passed to the library's function that writes it."""


class DetachedContext:
    """The context of a model outside a container, for tests. It never pauses, and records every call.

    Attributes:
        status: the last payload given to ``update_status``.
        metrics: every ``(key, value, step)`` reported, in order.
        params: the parameters reported.
        tags: the tags set.
        artifacts: every ``(path, artifact_path)`` logged.
        texts: the texts logged, by artifact file.
        figures: the figures logged, by artifact file.
        published: the values published, in order.
        failed: the reasons of the failures that the component reported.
        streaming: whether a client wants more, as the component sees it; True until a test changes it.
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
        self.published: list[Any] = []
        self.failed: list[str] = []
        self.streaming = True
        self.done: tuple[int, int | None, str] | None = None

    def publish(self, value: Any) -> None:
        """Record the value."""
        self.published.append(value)

    def fail(self, reason: str) -> None:
        """Record the reason."""
        self.failed.append(reason)

    def pause_point(self) -> None:
        """Return at once."""

    request_pause = release_pause = pause_point

    def update_status(self, payload: Any) -> None:
        """Record ``payload``."""
        self.status = payload

    def progress(self, done: int, total: int | None, unit: str, started: float, initial: int) -> None:  # noqa: ARG002
        """Record the progress."""
        self.done = (done, total, unit)

    def report_metrics(self, values: Mapping[str, Any], step: int | None, timestamp: int | None) -> None:  # noqa: ARG002
        """Record the values."""
        self.metrics.extend((key, value, step) for key, value in values.items())

    def report_params(self, values: Mapping[str, Any]) -> None:
        """Record the values."""
        self.params.update(values)

    def set_tags(self, values: Mapping[str, Any]) -> None:
        """Record the tags."""
        self.tags.update(values)

    def log_artifact(self, path: str | Path, artifact_path: str | None) -> None:
        """Record the path."""
        self.artifacts.append((Path(path), artifact_path))

    def log_text(self, text: str, artifact_file: str) -> None:
        """Record the text."""
        self.texts[artifact_file] = text

    def log_figure(self, figure: Any, artifact_file: str, save_kwargs: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Record the figure."""
        self.figures[artifact_file] = figure


class Component:
    """The root of the base classes that authors subclass, one for each kind of container.

    Subclasses need not call ``__init__``. Names that begin with ``_mistk`` are the container's.
    """

    #: The kind that a base class belongs to: ``package.module:NAME``.
    _mistk_kind: ClassVar[str]

    #: The run of this component, a :class:`RunReference` with ``id`` and ``tracking_uri``. It is None if nothing is tracked,
    #: and before the first operation that opens a run.
    run = _FromContext[RunReference]()

    #: The state of the instance, such as ``training``. It is None outside a container.
    state = _FromContext[str]()

    #: An attribute that models of MISTK may read. It is always empty here.
    endpoint_service: Any = None

    _mistk_context: Context | None = None

    def attach(self, context: Context) -> None:
        """Set the context that the component uses. The worker calls this, and a test may."""
        self._mistk_context = context

    # --- hooks of every kind --------------------------------------------------------------------------------------

    def do_reset(self) -> None:
        """Release resources before a reset. The process ends right afterwards."""

    def do_terminate(self) -> None:
        """Release resources before a shutdown. The process ends right afterwards."""

    # --- services: what a hook can call ---------------------------------------------------------------------------

    def steps(
        self, iterable: Iterable[T], unit: str = "steps", *, total: int | None = None, initial: int = 0
    ) -> Iterator[T]:
        """Iterate with a pause point before every step, and show the progress in the status.

        Args:
            iterable: the items.
            unit: the name of a step in the plural, as the status shows it (``epochs``).
            total: the number of steps, including ``initial``; by default ``initial`` plus the length of ``iterable``, if any.
            initial: the number of steps done earlier, in a training that is resumed.

        Raises:
            StopActivity: the activity must end now.
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
        # Without this pause point, the loop would end before a pause that was requested in the last iteration takes effect.
        context.pause_point()

    def pause_point(self) -> None:
        """Block while the activity is paused. Call it at a point where the work can safely wait.

        Raises:
            StopActivity: the activity must end now.
        """
        self._mistk().pause_point()

    def update_status(self, payload: Any) -> None:
        """Show ``payload``, any JSON value, in the status. Each call replaces the last one."""
        self._mistk().update_status(payload)

    def report_metrics(self, values: Mapping[str, Any], step: int | None = None, timestamp: int | None = None) -> None:
        """Report metric values.

        Args:
            values: name → number; NaN and infinities are kept.
            step: the position on the x axis, such as the epoch.
            timestamp: milliseconds since 1970; by default now.
        """
        self._mistk().report_metrics(values, step, timestamp)

    def report_params(self, values: Mapping[str, Any]) -> None:
        """Report parameters. A parameter is set once."""
        self._mistk().report_params(values)

    def set_tags(self, values: Mapping[str, Any]) -> None:
        """Set tags. A tag replaces an earlier one of the same name."""
        self._mistk().set_tags(values)

    def log_artifact(self, path: str | Path, artifact_path: str | None = None) -> None:
        """Store a file, or a folder with its contents, with the run.

        The file is copied before this returns, so you may change or delete it afterwards. A file that cannot be read causes an
        error in the log, not an exception.

        Args:
            path: the file or folder. Links to folders within it are not followed.
            artifact_path: the folder of the run to store it in; by default the top folder.
        """
        self._mistk().log_artifact(path, artifact_path)

    def log_text(self, text: str, artifact_file: str) -> None:
        """Store a text with the run, as the file ``artifact_file`` (``notes/epoch-3.md``)."""
        self._mistk().log_text(text, artifact_file)

    def log_figure(self, figure: Any, artifact_file: str, *, save_kwargs: Mapping[str, Any] | None = None) -> None:
        """Store a figure of matplotlib or plotly with the run.

        Args:
            figure: the figure.
            artifact_file: the file of the run. Its suffix selects the format (``plots/loss.png``).
            save_kwargs: further arguments for ``savefig``, ``write_html`` or ``write_image``.
        """
        self._mistk().log_figure(figure, artifact_file, save_kwargs or {})

    # --- names of MISTK ---------------------------------------------------------------------------------------------

    def fail(self, reason: str) -> None:
        """Make the activity fail when its hook returns. For MISTK's models; raising an exception does the same at once."""
        self._mistk().fail(str(reason))

    def report_failure(self, reason: str) -> None:
        """The same as ``fail``."""
        self.fail(reason)

    def ready(self) -> None:
        """Do nothing. MISTK's models call it at the end of a hook; here, returning from the hook is enough."""

    def initialized(self) -> None:
        """Do nothing, as ``ready``."""

    def paused(self) -> None:
        """Do nothing, as ``ready``."""

    def _mistk(self) -> Context:
        """Return the context. Without one, create a detached one, since subclasses need not call ``__init__``."""
        if self._mistk_context is None:
            self._mistk_context = DetachedContext()
        return self._mistk_context
