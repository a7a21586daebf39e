"""Predicts for rows or columns: with the hook for tensors if the class has it, otherwise with the one for records."""

from __future__ import annotations

import base64
import logging
from typing import Any

import msgspec
from starlette.requests import Request

from mistk_service.core.answer_parts import AnswerParts
from mistk_service.doors.instances.rows import Columns, Rows, predictions_of, rows_of, tensors_of
from mistk_service.doors.mistk.record_codec import records_of
from mistk_service.doors.request_content import INLINE_LIMIT, on_thread_if
from mistk_service.doors.served_model import ServedModel
from mistk_service.errors import Failure, HookFailed, InvalidRequest
from mistk_service.kinds.predictions import Answer, Inputs, Tensors
from mistk_service.web.disconnect import unless_disconnected

logger = logging.getLogger(__name__)

#: The maximum number of rows or columns to convert on the event loop.
_MANY = 100


async def predict(model: ServedModel, request: Request, data: Rows | Columns, *, text: bool = False) -> Any:
    """Return the predictions for rows or columns, one for each record.

    A record of a class without ``do_infer`` is a text, or the JSON of another value; in base64 if the class declares that.

    Args:
        model: the model.
        request: the request, whose body has been read; it is withdrawn if the client disconnects.
        data: the rows or columns.
        text: whether numbers are given as text.

    Raises:
        MistkError: see :meth:`Controller.predict`; InvalidRequest if the data does not fit the model, and HookFailed if the
            model returned another number of predictions.
    """
    if not model.takes_tensors:
        return await _predict_records(model, request, data)
    signature = model.controller.signature
    tensors = await on_thread_if(len(data) > _MANY)(lambda: tensors_of(data, signature.inputs, text=text))
    answer = await _answer_to(model, request, tensors)
    return await on_thread_if(answer.size > INLINE_LIMIT)(_rows_of, model, answer, tensors)


async def predict_tensors(model: ServedModel, request: Request, tensors: Tensors) -> Any:
    """Return the predictions for whole tensors, whose first dimension may be anything.

    Raises:
        MistkError: see :meth:`Controller.predict`.
    """
    answer = await _answer_to(model, request, tensors)
    declared = model.controller.signature.outputs
    return await on_thread_if(answer.size > INLINE_LIMIT)(lambda: predictions_of(answer.tensors(), declared))


def _rows_of(model: ServedModel, answer: Answer, inputs: Tensors) -> Any:
    signature, outputs = model.controller.signature, answer.tensors()
    rows = {tensor.shape[:1] for tensor in inputs.tensors} if signature.has_records else set()
    if len(rows) == 1 and rows != {()}:  # otherwise, the inputs have no rows
        for each in outputs:
            if each.shape[:1] not in rows:
                raise _wrong_number(model, inputs, f"{(each.shape or (1,))[0]} values of {each.name}")
    return predictions_of(outputs, signature.outputs)


async def _answer_to(model: ServedModel, request: Request, inputs: Inputs) -> Answer:
    """Return the model's answer to a request.

    Raises:
        MistkError: see :meth:`Controller.predict`; InvalidRequest if the model answers in parts.
    """
    answer = await unless_disconnected(request.scope, model.controller.predict(inputs))
    if isinstance(answer, AnswerParts):
        answer.close()
        raise InvalidRequest("The model answers in parts, which this API cannot express.")
    return answer


async def _predict_records(model: ServedModel, request: Request, data: Rows | Columns) -> Any:
    encoding = model.controller.signature.record_encoding
    rows = [dict(zip(data, row, strict=True)) for row in rows_of(data)] if isinstance(data, dict) else data
    texts = {str(number): _text(row, encoding) for number, row in enumerate(rows)}
    try:
        records = await records_of(texts, encoding)
    except InvalidRequest as error:
        raise InvalidRequest(str(error).removeprefix("dataMap: ")) from error
    answer = await _answer_to(model, request, records)
    value = await on_thread_if(answer.size > INLINE_LIMIT)(answer.value)
    found = [value[name] for name in texts if name in value] if isinstance(value, dict) else value
    count = len(found) if isinstance(found, list) else 0
    if count != len(texts):
        raise _wrong_number(model, records, f"{count} predictions")
    return found


def _wrong_number(model: ServedModel, inputs: Inputs, returned: str) -> HookFailed:
    """Return the error for an answer that does not have a prediction for each row, and log it."""
    row = model.controller.kind.prediction
    assert row is not None
    row = row.taking(type(inputs))
    failure = Failure("ModelFailure", f"{row.hook} returned {returned}; expected {len(inputs)}, one for each record")
    logger.error("%s", failure.log_text(row.name))
    return HookFailed(row.name, failure)


def _text(row: Any, encoding: str | None) -> str:
    if isinstance(row, str):
        return row
    if isinstance(row, dict) and row.keys() == {"b64"} and isinstance(row["b64"], str):
        return row["b64"]
    text = msgspec.json.encode(row)
    return base64.b64encode(text).decode() if encoding == "base64" else text.decode()
