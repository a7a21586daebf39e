"""Streams long answers: they take little memory, and stop when the client has disconnected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Executor
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.types import Scope

from mistk_service.errors import ClientGone
from mistk_service.tracking.server.replies import encoded
from mistk_service.tracking.values.page import Page
from mistk_service.web.disconnect import unless_disconnected
from mistk_service.web.json_response import JsonText

T = TypeVar("T")

_JSON = "application/json"

#: The target size of a piece, in bytes of JSON.
_PIECE = 1 << 18

#: Results in the first piece, while their size is unknown, and by what factor the number may grow from piece to piece.
_FIRST, _GROWTH = 50, 10


def in_pieces(
    name: str,
    find: Callable[[int, str | None], Page[T]],
    wire: Callable[[Sequence[T]], Sequence[Any]],
    wanted: int,
    largest: int,
    token: str | None,
) -> Iterator[bytes]:
    """Yield the JSON of an answer with the results of a search, which runs page by page.

    Args:
        name: of the list of results.
        find: returns a page, given the largest number of results and a page token.
        wire: turns results into JSON values.
        wanted: how many results the client wants.
        largest: the maximum number; ``find`` refuses more.
        token: the page token that the client has sent.
    """
    count = _FIRST if _FIRST < wanted <= largest else wanted
    before = b'{"%s":[' % name.encode()
    ended = False
    while not ended:
        page = find(count, token)
        wanted, token = wanted - len(page), page.next_page_token
        ended = token is None or wanted <= 0
        if page.items:
            piece = before + encoded(wire(page.items))[1:-1]
            before = b","
            count = max(1, min(wanted, count * _GROWTH, len(page) * _PIECE // len(piece)))
        else:
            piece = b""
        yield piece + _end(token, empty=before != b",") if ended else piece


def _end(token: str | None, *, empty: bool) -> bytes:
    after = b'"next_page_token":' + encoded(token) if token else b""
    if empty:
        return b"{" + after + b"}"
    return b"]" + (b"," + after if after else b"") + b"}"


def joined(name: str, lists: Iterator[Sequence[Any]]) -> Iterator[bytes]:
    """Yield the JSON of an answer with the members of all ``lists``, one piece for each list."""
    before = b'{"%s":[' % name.encode()
    for members in lists:
        if members:
            yield before + encoded(members)[1:-1]
            before = b","
    yield b"]}" if before == b"," else b"{}"


async def piecewise(pieces: Iterator[bytes], scope: Scope, executor: Executor) -> Response:
    """Return the response that sends ``pieces``; each is made on ``executor`` when the previous one has been sent.

    Raises:
        ClientDisconnect: the client disconnected before the first piece was made.
        Exception: raised by the first piece. An exception of a later piece truncates the answer.
    """
    loop = asyncio.get_running_loop()

    def first_two() -> tuple[bytes, bytes | None]:
        return next(pieces), next(pieces, None)

    try:
        first, second = await unless_disconnected(scope, loop.run_in_executor(executor, first_two))
    except ClientGone as error:
        raise ClientDisconnect from error
    if second is None:
        return JsonText(first)

    async def content() -> AsyncIterator[bytes]:
        yield first
        piece: bytes | None = second
        while piece is not None:
            yield piece
            piece = await loop.run_in_executor(executor, next, pieces, None)

    return StreamingResponse(content(), media_type=_JSON)
