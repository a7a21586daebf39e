"""The operations of OpenAI's API, for classes that generate text.

https://platform.openai.com/docs/api-reference
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from mistk_service.doors.generation import Generation, event_stream, generate
from mistk_service.doors.prediction_api import Door, PredictionHandlers, json_response, prediction_app
from mistk_service.doors.request_content import json_content
from mistk_service.doors.served_model import ServedModel
from mistk_service.errors import InvalidRequest
from mistk_service.resources import load_contract
from mistk_service.web.disconnect import unless_disconnected

#: Parameters that this service does not support, with the values that switch them off.
_UNSUPPORTED = ("tools", "functions", "logprobs", "echo", "suffix", "audio", "modalities", "prediction")

#: The types of errors by status; any other is the caller's.
_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class _Text(msgspec.Struct, tag_field="type", tag="text"):
    text: str


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Text]

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class _StreamOptions(msgspec.Struct):
    include_usage: bool = False


class _Request(msgspec.Struct, kw_only=True):
    model: str
    n: Literal[1] | None = None
    best_of: Literal[1] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    stop: str | list[str] | None = None

    @property
    def stops(self) -> list[str]:
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    @property
    def limit(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens


class _Chat(_Request, kw_only=True):
    messages: Annotated[list[_Message], msgspec.Meta(min_length=1)]


class _Completion(_Request, kw_only=True):
    prompt: str | Annotated[list[str], msgspec.Meta(min_length=1, max_length=1)]


_AnyRequest = TypeVar("_AnyRequest", _Chat, _Completion)


def openai_door(model: ServedModel, max_body: int, *, with_models: bool) -> Door:
    """Return the API. ``max_body`` limits a request in bytes.

    ``with_models`` says whether it serves the paths of the models. They are KServe's too, whose answers hold what OpenAI's
    clients read.
    """
    app = prediction_app(load_contract("openai-api.yaml"), _Handlers(model, max_body), error_body)
    paths = ["/v1/chat", "/v1/completions", *["/v1/models"] * with_models]
    return Door("openai", paths, ["completions", "models"], error_body, app)


class _Handlers(PredictionHandlers):
    async def models(self, request: Request) -> Response:  # noqa: ARG002 - every handler gets it
        return json_response({"object": "list", "data": [self._model.card()] if self._model.generates else []})

    async def model(self, request: Request, model_name: str) -> Response:  # noqa: ARG002
        self._model.require(model_name)
        return json_response(self._model.card())

    async def chat_completion(self, request: Request) -> Response:
        body, parameters = await self._read(request, _Chat)
        prompt = "\n".join(message.text for message in body.messages)
        return await self._answer(request, body, prompt, parameters, chat=True)

    async def completion(self, request: Request) -> Response:
        body, parameters = await self._read(request, _Completion)
        prompt = body.prompt if isinstance(body.prompt, str) else body.prompt[0]
        return await self._answer(request, body, prompt, parameters, chat=False)

    async def _read(self, request: Request, kind: type[_AnyRequest]) -> tuple[_AnyRequest, dict[str, Any]]:
        """Return a request, and the parameters for the hook: those of the request that this API does not handle itself."""
        given = await json_content(request, self._max_body, dict[str, Any])
        if wrong := [name for name in _UNSUPPORTED if given.get(name)]:
            raise InvalidRequest(f"{wrong[0]} is not supported; leave it out.", field=wrong[0])
        try:
            body = msgspec.convert(given, kind)
        except msgspec.ValidationError as error:
            raise InvalidRequest(f"The body is not a valid request: {error}.") from error
        self._model.require(body.model)
        decided = ("model", "prompt", "n", "best_of", "stream", "stream_options")
        parameters = {name: value for name, value in given.items() if name not in decided and value is not None}
        return body, parameters | ({"max_tokens": body.limit} if body.limit else {})

    async def _answer(
        self, request: Request, body: _Request, prompt: str, parameters: dict[str, Any], *, chat: bool
    ) -> Response:
        generation = await generate(self._model, request, prompt, parameters, limit=body.limit, stop=body.stops)
        head = {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}",
            "object": "chat.completion" if chat else "text_completion",
            "created": int(time.time()),
            "model": body.model,
        }
        if body.stream:
            usage = body.stream_options is not None and body.stream_options.include_usage
            return event_stream(generation, _chunks(generation, head, chat=chat, usage=usage), error_body)
        text = await unless_disconnected(request.scope, asyncio.ensure_future(generation.text()))
        content = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        choice = {"index": 0, **content, "finish_reason": generation.finish_reason, "logprobs": None}
        return json_response({**head, "choices": [choice], "usage": _usage(generation)})


async def _chunks(generation: Generation, head: dict[str, Any], *, chat: bool, usage: bool) -> AsyncIterator[Any]:
    """Yield the events of a stream."""
    if chat:
        head = {**head, "object": "chat.completion.chunk"}

    def chunk(content: dict[str, str], finish: str | None = None) -> dict[str, Any]:
        choice = {"delta": content} if chat else {"text": content.get("content", "")}
        return {**head, "choices": [{"index": 0, **choice, "finish_reason": finish, "logprobs": None}]}

    if chat:
        yield chunk({"role": "assistant", "content": ""})
    async for piece in generation:
        yield chunk({"content": piece})
    yield chunk({}, generation.finish_reason)
    if usage:
        yield {**head, "choices": [], "usage": _usage(generation)}
    yield "[DONE]"


def _usage(generation: Generation) -> dict[str, int]:
    """Return the usage. How many tokens the prompt has is not known."""
    return {"prompt_tokens": 0, "completion_tokens": generation.tokens, "total_tokens": generation.tokens}


def error_body(status: int, message: str) -> bytes:
    """Return the body of an error in OpenAI's form."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": None, "code": None}})
