"""The messages between the service and the worker: one frozen type per message, one terminal message per command."""

from __future__ import annotations

from typing import Any

import msgspec

from mistk_service.errors import Failure
from mistk_service.kinds.predictions import Inputs, Records, Signature, Tensors

#: The maximum number of parts that a model produces before the client has received them.
PARTS_AHEAD = 16


class _Message(msgspec.Struct, frozen=True, tag=True, array_like=True):
    pass


# --- from the service to the worker ------------------------------------------------------------------------------------


class Run(_Message, frozen=True):
    """Call a hook with positional arguments.

    Ends in Done, Failed, Refused, Unsupported or Stopped with the same id.

    The arguments have no names, because MISTK's models name them freely. ``run`` is the id of the run that tracks the activity
    and the URL of its store; None if there is no run.
    """

    id: int
    hook: str
    arguments: tuple[Any, ...] = ()
    run: tuple[str, str] | None = None


class Predict(_Message, frozen=True):
    """Predict for records or tensors. Ends in Predicted, PredictionFailed, PredictionRefused or PredictionForgotten.

    A model that answers in parts sends any number of PartPredicted first, and PredictionEnded instead of Predicted.

    ``details`` asks for an explanation of each prediction.
    """

    id: int
    inputs: Inputs
    details: bool = False

    @property
    def merged_with(self) -> Any:
        """The property that requests must share to be merged into one call; None if this one cannot be merged."""
        if isinstance(self.inputs, Tensors):
            return self.inputs.layout
        return Records if isinstance(self.inputs, Records) and not self.details else None


class Withdraw(_Message, frozen=True):
    """Forget the stream prediction ``id``, whose client has disconnected.

    A prediction that has begun ends as usual; one that is answered in parts ends at its next part.
    """

    id: int


class AllowParts(_Message, frozen=True):
    """The client of the prediction ``id`` has received a number of parts, so the model may produce as many more."""

    id: int
    parts: int


class Pause(_Message, frozen=True):
    """Pause the activity ``id`` with the given hook. Ends in Paused, PauseOvertaken, PauseUnsupported or PauseFailed."""

    id: int
    hook: str


class Resume(_Message, frozen=True):
    """Resume the activity ``id`` with the given hook. The worker only answers if that fails."""

    id: int
    hook: str


class Exit(_Message, frozen=True):
    """End the running activity at its next pause point, finish the queue, call the given hook, and end the worker."""

    hook: str


class CallLastHook(_Message, frozen=True):
    """Follows Exit: call the last hook now, even if the activity is still running. The hook may end the activity."""


class HoldReports(_Message, frozen=True):
    """Hold metrics back from now on, or send them again. A model that reports very many of them is blocked in the meantime."""

    held: bool


ToWorker = Run | Predict | Withdraw | AllowParts | Pause | Resume | Exit | CallLastHook | HoldReports


# --- from the worker to the service ------------------------------------------------------------------------------------


class Loaded(_Message, frozen=True):
    """The model is loaded and the worker accepts work."""

    model: str
    hooks: tuple[str, ...]
    signature: Signature = Signature()
    documents: dict[str, Any] = {}


class LoadFailed(_Message, frozen=True):
    """The model cannot be loaded, and the worker ends after this. ``error`` is the name of a ModelLoadError subclass."""

    error: str
    failure: Failure


class Done(_Message, frozen=True):
    """The hook returned. ``state`` is the state that follows, if the hook's call chose one."""

    id: int
    state: str | None = None


class Failed(_Message, frozen=True):
    """The hook raised."""

    id: int
    failure: Failure


class Refused(_Message, frozen=True):
    """The hook raised RequestError: ``field`` of the request is wrong, or the request as a whole."""

    id: int
    message: str
    field: str | None = None


class Unsupported(_Message, frozen=True):
    """The hook of an operation that saves raised NotImplementedError."""

    id: int
    message: str


class Stopped(_Message, frozen=True):
    """The activity was asked to end, and its hook ended at a pause point."""

    id: int


class Predicted(_Message, frozen=True):
    """The model's answer to one request, in MessagePack."""

    id: int
    answer: msgspec.Raw


class PartPredicted(_Message, frozen=True):
    """A part of the model's answer to one request, in MessagePack."""

    id: int
    part: msgspec.Raw


class PredictionEnded(_Message, frozen=True):
    """All parts of an answer have been sent."""

    id: int


class PredictionFailed(_Message, frozen=True):
    """One request failed. Others are not affected."""

    id: int
    failure: Failure
    unsupported: bool = False


class PredictionRefused(_Message, frozen=True):
    """The model rejects one request as invalid. Others are not affected."""

    id: int
    message: str
    field: str | None = None


class PredictionForgotten(_Message, frozen=True):
    """The request was forgotten before it reached the model, or between two parts of its answer."""

    id: int


class Paused(_Message, frozen=True):
    """The activity ``id`` is paused."""

    id: int


class PauseOvertaken(_Message, frozen=True):
    """The activity ended before it could pause."""

    id: int


class PauseUnsupported(_Message, frozen=True):
    """The model cannot pause; the activity continues."""

    id: int
    message: str


class PauseFailed(_Message, frozen=True):
    """The model's own ``do_pause`` raised."""

    id: int
    failure: Failure


class ResumeUnsupported(_Message, frozen=True):
    """The model cannot resume; the activity stays paused."""

    id: int
    message: str


class ResumeFailed(_Message, frozen=True):
    """The model's own resume hook raised."""

    id: int
    failure: Failure


class StatusUpdated(_Message, frozen=True):
    """The latest payload that the model passed to ``update_status``."""

    payload: Any


class Progressed(_Message, frozen=True):
    """The progress of the activity. ``rate`` is in units per second, ``left`` in seconds."""

    done: int
    total: int | None
    unit: str
    rate: float | None
    left: float | None


class Reported(_Message, frozen=True):
    """What the model has reported since the last such message, in order.

    A metric is ``(key, value, step, timestamp in milliseconds)``. An artifact is ``(path, artifact_path, kept)``: the path
    that the model named, the folder of the run to store it in, and the copy in the spool, which the service owns from then on.
    """

    metrics: tuple[tuple[str, float, int | None, int], ...] = ()
    params: dict[str, Any] = {}
    tags: dict[str, Any] = {}
    artifacts: tuple[tuple[str, str | None, str | None], ...] = ()


#: The messages that end an activity, those that end a prediction, and those with what the model reports.
ActivityEnd = Done | Failed | Refused | Unsupported | Stopped
PredictionEnd = Predicted | PredictionEnded | PredictionFailed | PredictionRefused | PredictionForgotten
Report = StatusUpdated | Progressed | Reported

#: The messages about a pause.
_OfPause = Paused | PauseOvertaken | PauseUnsupported | PauseFailed | ResumeUnsupported | ResumeFailed

FromWorker = Loaded | LoadFailed | ActivityEnd | PredictionEnd | PartPredicted | _OfPause | Report
