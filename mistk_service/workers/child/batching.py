"""Stream predictions: merges several requests into one call of the model, and splits its answer among them.

An identifier that occurs in two requests gets a suffix for the merged call. Tensors are joined record by record. If a merged
call raises an exception or does not answer every identifier or record, each of its requests is called alone, so that only the
faulty one fails. A request that was not merged gets whatever the model answers, in parts if the hook is a generator.
:mod:`mistk_service.workers.child.task_queue` decides which requests are merged.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import msgspec

from mistk_service.errors import RequestError
from mistk_service.kinds.component import Component
from mistk_service.kinds.predictions import Prompt, Records, Signature, Tensors, pack
from mistk_service.workers.child.failures import failure_from, message_of
from mistk_service.workers.child.plain_values import json_ready
from mistk_service.workers.messages import Predict, Predicted, PredictionFailed, PredictionRefused

logger = logging.getLogger(__name__)


class Parts(NamedTuple):
    """An answer that the model gives in parts.

    Attributes:
        id: the id of the request.
        parts: the model's generator.
    """

    id: int
    parts: Generator[Any, Any, Any]


_Answer = Predicted | PredictionFailed | PredictionRefused | Parts


def unanswered(number: int, error: BaseException) -> PredictionFailed | PredictionRefused:
    """Return the message for a request whose prediction raised an exception."""
    if isinstance(error, RequestError):
        return PredictionRefused(number, message_of(error), error.field)
    return PredictionFailed(number, failure_from(error), unsupported=isinstance(error, NotImplementedError))


class Predictor:
    """Calls the prediction hook of one model.

    Args:
        model: the model.
        hook: the name of its hook, which takes a dict of identifier to record and returns one of identifier to prediction.
        tensor_hook: the name of the hook that takes and returns a dict of name to array, if the kind has one.
        prompt_hook: the name of the hook that takes a text and its parameters, and yields text, if the kind has one.
        signature: what the model declares.
    """

    def __init__(
        self,
        model: Component,
        hook: str,
        tensor_hook: str | None = None,
        prompt_hook: str | None = None,
        signature: Signature = Signature(),  # noqa: B008 - it is frozen
    ) -> None:
        function = getattr(model, hook)
        self._hook = _with_details(function)
        merged = 1 if inspect.isgeneratorfunction(function) else int(getattr(model, "max_batch_size", 1))
        self.max_batch_size = min(max(1, merged), sys.maxsize)
        #: Whether requests with tensors may be joined along the first dimension.
        self.joins_tensors = signature.has_records
        self._signature = signature
        self._tensor_hook = getattr(model, tensor_hook) if tensor_hook else None
        self._prompt_hook = getattr(model, prompt_hook) if prompt_hook else None

    def predict(self, batch: Sequence[Predict]) -> list[_Answer]:
        """Answer every request of the batch, in order."""
        if len(batch) > 1:
            try:
                return self._predict_merged(batch)
            except BaseException as error:  # noqa: BLE001 - any exception; the requests are retried alone
                logger.info(
                    "A merged stream prediction failed (%r); retrying its %d requests one by one.", error, len(batch)
                )
        return [self._predict_alone(request) for request in batch]

    def _predict_merged(self, batch: Sequence[Predict]) -> list[_Answer]:
        tensors = [request.inputs for request in batch if isinstance(request.inputs, Tensors)]
        if tensors:
            # Those that share a layout have records in their first dimension.
            answers = self._infer(Tensors.joined(tensors), [each.tensors[0].shape[0] for each in tensors])
            return [Predicted(request.id, answer) for request, answer in zip(batch, answers, strict=True)]
        merged: dict[str, bytes | str] = {}
        names: list[dict[str, str]] = []
        for request in batch:
            own: dict[str, str] = {}
            assert isinstance(request.inputs, Records), "the queue merges inputs of one kind"
            for key, value in zip(request.inputs.ids, request.inputs.values, strict=True):
                own[key] = name = _unused(key, request.id, merged)
                merged[name] = value
            names.append(own)
        result = self._hook(merged, False) if merged else {}
        if not isinstance(result, dict):
            raise TypeError(f"expected a dict of identifier to prediction, got {type(result).__name__}")
        return [
            self._answer(request, {key: result[name] for key, name in own.items()})
            for request, own in zip(batch, names, strict=True)
        ]

    def _predict_alone(self, request: Predict) -> _Answer:
        try:
            if isinstance(request.inputs, Tensors):
                return Predicted(request.id, *self._infer(request.inputs))
            if isinstance(request.inputs, Prompt):
                assert self._prompt_hook is not None, "the controller has checked that the class has it"
                return Parts(request.id, _pieces(self._prompt_hook(request.inputs.text, request.inputs.parameters)))
            return self._answer(request, self._call(request.inputs, request.details))
        except BaseException as error:  # noqa: BLE001 - the caller receives the failure
            return unanswered(request.id, error)

    def _call(self, records: Records, details: bool) -> Any:
        """Return the model's answer to the records of one request.

        If requests may be merged, additional keys of the answer are removed, except for requests with ``details``, which are
        never merged. Otherwise the result of a request would depend on the other requests at the time.
        """
        ids = records.ids
        if not ids:
            return {}
        result = self._hook(dict(zip(ids, records.values, strict=True)), details)
        if details or self.max_batch_size == 1 or not isinstance(result, dict) or not result.keys() >= set(ids):
            return result
        return {key: result[key] for key in ids}

    def _infer(self, inputs: Tensors, counts: Sequence[int] | None = None) -> list[msgspec.Raw]:
        """Return the model's answer to tensors; one answer for each of several requests, with the given numbers of records."""
        # Imported here: it needs numpy, which a model of records may do without.
        from mistk_service.workers.child.codecs import decode, encode
        from mistk_service.workers.child.tensors import arrays_of, tensors_of

        assert self._tensor_hook is not None, "the controller has checked that the class has it"
        result = self._tensor_hook(decode(arrays_of(inputs), self._signature.inputs))
        declared = self._signature.outputs
        answers = tensors_of(encode(result, declared), counts, declared)
        return [msgspec.Raw(msgspec.msgpack.encode(answer)) for answer in answers]

    def _answer(self, request: Predict, result: Any) -> Predicted | Parts:
        if isinstance(result, Generator):
            return Parts(request.id, result)
        return Predicted(request.id, pack(result, json_ready))


def _pieces(result: Any) -> Generator[str, None, None]:
    """Yield the pieces of a generated text, or the whole text; close the model's generator at the end.

    Raises:
        TypeError: the result or a piece is no text.
    """
    with closing(result if isinstance(result, Generator) else (each for each in [result])) as pieces:
        for piece in pieces:
            if not isinstance(piece, str):
                raise TypeError(f"expected text, got {type(piece).__name__}")
            yield piece


def _unused(key: str, request: int, taken: dict[str, bytes | str]) -> str:
    """Return ``key``. If it is taken, append the number of its request until it is unique."""
    while key in taken:
        key = f"{key}#{request}"
    return key


def _with_details(hook: Callable[..., Any]) -> Callable[[dict[str, bytes | str], bool], Any]:
    """Return the hook as one that takes ``details``, which MISTK's earlier models do not have."""
    try:
        parameters = inspect.signature(hook).parameters.values()
    except (TypeError, ValueError):  # it is not written in Python and has no signature
        return hook
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) > 1 or any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return hook
    if any(p.kind is p.VAR_KEYWORD or p.name == "details" for p in parameters):
        return lambda data, details: hook(data, details=details)
    return lambda data, _: hook(data)
