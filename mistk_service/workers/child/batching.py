"""Stream predictions: one call of the model for several requests, answers that belong to their requests.

Identifiers that occur in two requests are told apart by a suffix for that call. When a merged call raises, or does not answer
every identifier, each of its requests is called alone, so that only the guilty one fails. A request that is alone gets what
the model answers, whatever that is. Which requests go together is decided in :mod:`mistk_service.workers.child.task_queue`.
"""

from __future__ import annotations

import inspect
import logging
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from mistk_service.errors import Failure, RequestError
from mistk_service.kinds.model.base import AbstractModel, StopActivity
from mistk_service.workers.child.plain_values import json_ready
from mistk_service.workers.messages import StreamDone, StreamFailed, StreamPredict, StreamRefused

__all__ = ["StreamPredictor", "failure_from", "message_of"]

logger = logging.getLogger(__name__)

_Answer = StreamDone | StreamFailed | StreamRefused


def failure_from(error: BaseException) -> Failure:
    """Return the exception in the form that crosses processes, whatever it is."""
    trace = "".join(traceback.format_exception(error))
    return Failure(type(error).__name__, _encodable(message_of(error)), _encodable(trace))


def message_of(error: BaseException) -> str:
    """Return the text of an exception, which is its author's code and may raise itself."""
    try:
        return _encodable(str(error))
    except Exception as another:  # noqa: BLE001 - whatever it is, the first exception is what matters
        return f"(its text cannot be had: __str__ raised {type(another).__name__})"


def _encodable(text: str) -> str:
    """Return the text with what is no Unicode, such as a lone surrogate, written as an escape."""
    return text.encode("utf-8", "backslashreplace").decode()


class StreamPredictor:
    """Calls ``do_stream_predict`` of one model."""

    def __init__(self, model: AbstractModel) -> None:
        self._model = model
        self._hook = _with_details(model)
        self._encoder = msgspec.json.Encoder(enc_hook=json_ready)
        self.max_batch_size = min(max(1, int(model.max_batch_size)), sys.maxsize)

    def predict(self, batch: Sequence[StreamPredict]) -> list[_Answer]:
        """Answer every request of the batch, in order."""
        if len(batch) > 1:
            try:
                return self._predict_merged(batch)
            except (Exception, StopActivity) as error:  # noqa: BLE001 - whatever the model raised, alone they tell who is guilty
                logger.info("A merged stream prediction failed (%r); its %d requests go alone.", error, len(batch))
        return [self._predict_alone(request) for request in batch]

    def _predict_merged(self, batch: Sequence[StreamPredict]) -> list[_Answer]:
        merged: dict[str, str] = {}
        names: list[dict[str, str]] = []
        for request in batch:
            own: dict[str, str] = {}
            for key, value in request.data.items():
                own[key] = name = _unused(key, request.id, merged)
                merged[name] = value
            names.append(own)
        result = self._hook(merged, False) if merged else {}
        if not isinstance(result, dict):
            raise TypeError(f"expected a dict of identifier to prediction, got {type(result).__name__}")
        return [
            StreamDone(request.id, self._encoder.encode({key: result[name] for key, name in own.items()}))
            for request, own in zip(batch, names, strict=True)
        ]

    def _predict_alone(self, request: StreamPredict) -> _Answer:
        try:
            return StreamDone(request.id, self._encoder.encode(self._call(request)))
        except RequestError as error:
            return StreamRefused(request.id, message_of(error), error.field)
        except NotImplementedError as error:
            return StreamFailed(request.id, failure_from(error), unsupported=True)
        except (Exception, StopActivity) as error:  # noqa: BLE001 - the failure is the caller's answer
            return StreamFailed(request.id, failure_from(error))

    def _call(self, request: StreamPredict) -> Any:
        """Return what the model answers to one request.

        Where requests may be merged, what is answered beyond the identifiers asked for is kept to requests with ``details``,
        which never are: what a request gets must not depend on what else is under way.
        """
        if not request.data:
            return {}
        asked = tuple(request.data)
        result = self._hook(request.data, request.details)
        if (
            request.details
            or self.max_batch_size == 1
            or not isinstance(result, dict)
            or not result.keys() >= set(asked)
        ):
            return result
        return {key: result[key] for key in asked}


def _unused(key: str, request: int, taken: dict[str, str]) -> str:
    """Return ``key``, or where it is taken a variation of it, by the number of its request, that is not."""
    while key in taken:
        key = f"{key}#{request}"
    return key


def _with_details(model: AbstractModel) -> Callable[[dict[str, str], bool], Any]:
    """Return the hook as one that takes ``details``, which MISTK's earlier models do not."""
    hook: Callable[..., Any] = model.do_stream_predict
    try:
        parameters = inspect.signature(hook).parameters.values()
    except (TypeError, ValueError):  # it is not written in Python, and does not tell
        return hook
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) > 1 or any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return hook
    if any(p.kind is p.VAR_KEYWORD or p.name == "details" for p in parameters):
        return lambda data, details: hook(data, details=details)
    return lambda data, _: hook(data)
