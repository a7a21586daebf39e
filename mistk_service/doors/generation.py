"""Streams generated text: the pieces that a model yields, up to a limit or a stop sequence."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from mistk_service.core.answer_parts import AnswerParts
from mistk_service.doors.mistk.watch import ClosingStream
from mistk_service.doors.problem import problem_of
from mistk_service.doors.served_model import ServedModel
from mistk_service.errors import InvalidRequest, MistkError
from mistk_service.kinds.predictions import Prompt
from mistk_service.web.disconnect import unless_disconnected
from mistk_service.web.error_responses import ErrorBody

#: The maximum length of a text that is not streamed, in characters.
_LONGEST = 16 * 1024 * 1024


async def generate(
    model: ServedModel,
    request: Request,
    prompt: str,
    parameters: Mapping[str, Any],
    *,
    limit: int | None,
    stop: Sequence[str],
) -> Generation:
    """Begin to generate text, and return it with its first piece.

    Args:
        model: the model.
        request: the request, whose body has been read; it is withdrawn if the client disconnects before the first piece.
        prompt: the text to continue.
        parameters: the parameters for the hook.
        limit: the maximum number of pieces, or None.
        stop: texts before which the answer ends.

    Raises:
        MistkError: see :meth:`Controller.predict`.
    """
    answer = await unless_disconnected(request.scope, model.controller.predict(Prompt(prompt, dict(parameters))))
    assert isinstance(answer, AnswerParts), "the worker sends a text in pieces"
    return Generation(answer, limit, [each for each in stop if each])


class Generation:
    """The pieces of a text, for one reader.

    Iteration raises the errors of :class:`AnswerParts`.

    Attributes:
        tokens: the number of pieces that the model has yielded.
        finish_reason: why the text ended: at the limit, or because the model stopped.
    """

    def __init__(self, answer: AnswerParts, limit: int | None, stop: Sequence[str]) -> None:
        self._answer = answer
        self._limit = limit
        self._stop = stop
        self.tokens = 0
        self.finish_reason: Literal["stop", "length"] = "stop"

    async def __aiter__(self) -> AsyncIterator[str]:
        """Yield the pieces. Text that may begin a stop sequence is held back."""
        held = ""
        async for part in self._answer:
            piece: str = part.value()
            self.tokens += 1
            held += piece
            if (end := min((at for stop in self._stop if (at := held.find(stop)) >= 0), default=-1)) >= 0:
                held = held[:end]
                break
            kept = self._open(held)
            if len(held) > kept:
                yield held[: len(held) - kept]
                held = held[len(held) - kept :]
            if self.tokens == self._limit:
                self.finish_reason = "length"
                break
        self.close()
        if held:
            yield held

    async def text(self) -> str:
        """Return the whole text.

        Raises:
            InvalidRequest: it is too long to be held in memory.
        """
        pieces, size = [], 0
        try:
            async for piece in self:
                pieces.append(piece)
                size += len(piece)
                if size > _LONGEST:
                    raise InvalidRequest(f"The text has more than {_LONGEST} characters; expected a stream or a limit.")
        finally:
            self.close()
        return "".join(pieces)

    def close(self) -> None:
        """Stop the model's work on it, unless it has ended."""
        self._answer.close()

    def _open(self, text: str) -> int:
        """Return the length of the longest suffix of a text that is a prefix of a stop sequence."""
        lengths = (n for stop in self._stop for n in range(1, len(stop)) if text.endswith(stop[:n]))
        return max(lengths, default=0)


def event_stream(generation: Generation, values: AsyncIterator[Any], error_body: ErrorBody) -> Response:
    """Return values as Server-Sent Events, and a later error as an event. Closes the generation at the end.

    Args:
        generation: the source of the values.
        values: the values for JSON; text is sent as it is.
        error_body: makes the JSON of an error.
    """
    return ClosingStream(_events(values, error_body), "text/event-stream; charset=utf-8", generation.close)


async def _events(values: AsyncIterator[Any], error_body: ErrorBody) -> AsyncIterator[bytes]:
    try:
        async for value in values:
            yield b"data: %s\n\n" % (value.encode() if isinstance(value, str) else msgspec.json.encode(value))
    except MistkError as error:
        problem = problem_of(error)
        yield b"data: %s\n\n" % error_body(problem.status, problem.message)
