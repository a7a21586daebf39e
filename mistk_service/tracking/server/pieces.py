"""Long answers, made and sent a piece at a time: they take little memory, and nothing is made for a client that has gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Executor
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive

from mistk_service.tracking.server.replies import encoded
from mistk_service.tracking.values.page import Page

__all__ = ["in_pieces", "joined", "piecewise"]

T = TypeVar("T")

_JSON = "application/json"

#: Bytes of JSON that a piece should have.
_PIECE = 1 << 18

#: Results in the first piece, when nobody knows yet how large they are; each following has at most so many times as many.
_FIRST, _GROWTH = 50, 10


def in_pieces(
    name: str,
    find: Callable[[int, str | None], Page[T]],
    wire: Callable[[Sequence[T]], Sequence[Any]],
    wanted: int,
    largest: int,
    token: str | None,
) -> Iterator[bytes]:
    """Yield the JSON of an answer with the results of a search, which is asked for a page at a time.

    Args:
        name: of the list of results.
        find: returns a page of at most so many results, from a page token on.
        wire: makes of results what is encoded.
        wanted: how many results the client wants.
        largest: how many it may want; what is more is for ``find`` to refuse.
        token: the page token that the client has sent.

    Raises:
        StoreError: whatever ``find`` raises.
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
    """Yield the JSON of an answer with the members of all ``lists``, a piece for each."""
    before = b'{"%s":[' % name.encode()
    for members in lists:
        if members:
            yield before + encoded(members)[1:-1]
            before = b","
    yield b"]}" if before == b"," else b"{}"


async def piecewise(pieces: Iterator[bytes], receive: Receive, executor: Executor) -> Response:
    """Return the response that sends ``pieces``, each of which is made on ``executor`` when the one before is on its way.

    Raises:
        ClientDisconnect: the client went before the first was made.
        Exception: what making the first one raised; what a later one raises breaks the answer off.
    """
    loop = asyncio.get_running_loop()

    def following() -> bytes | None:
        return next(pieces, None)

    def first_two() -> tuple[bytes, bytes | None]:
        return next(pieces), following()

    first, second = await _unless_gone(receive, loop.run_in_executor(executor, first_two))
    if second is None:
        return Response(first, media_type=_JSON)

    async def content() -> AsyncIterator[bytes]:
        yield first
        piece: bytes | None = second
        while piece is not None:
            yield piece
            piece = await loop.run_in_executor(executor, following)

    return StreamingResponse(content(), media_type=_JSON)


async def _unless_gone(receive: Receive, answer: asyncio.Future[T]) -> T:
    """Return the result of ``answer``; cancel it when the client goes, so that what waits for a thread does not get one."""
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            raise ClientDisconnect
        return answer.result()
    finally:
        gone.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
