"""The operations whose bodies are not JSON objects: files, the contract, plain text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from mistk_service.errors import ServiceBusy
from mistk_service.tracking.artifacts import ArtifactRepository, Upload
from mistk_service.tracking.artifacts.locations import Locations
from mistk_service.tracking.errors import InvalidParameter, ResourceNotFound, StoreUnavailable
from mistk_service.tracking.server.archives import zip_pieces
from mistk_service.tracking.server.downloads import file_response, filename
from mistk_service.tracking.server.operations._base import run_id_of
from mistk_service.tracking.server.reading import query_of
from mistk_service.tracking.server.replies import Refused
from mistk_service.tracking.store._store import Store

#: The version of MLflow whose protocol is implemented; clients read it to decide which features to use.
API_VERSION = "3.17.2"

#: Bytes that are buffered before they are written.
_PIECE = 1 << 20

#: The largest file that MLflow's pages may upload, in bytes.
_SMALL_UPLOAD = 10 << 20

T = TypeVar("T")


class Transfers:
    """Transfers files between clients and the artifact repository, in pieces."""

    def __init__(
        self, store: Store, locations: Locations, executor: Executor, contract: Mapping[str, Any], max_uploads: int
    ) -> None:
        self._contract = contract
        self._max_uploads = max_uploads
        self._uploads = 0
        self._store = store
        self._locations = locations
        self._executor = executor

    @property
    def _artifacts(self) -> ArtifactRepository:
        return self._locations.artifacts

    async def get_health(self, request: Request) -> Response:  # noqa: ARG002 - all transfers have the request
        return PlainTextResponse("OK")

    async def get_version(self, request: Request) -> Response:  # noqa: ARG002
        return PlainTextResponse(API_VERSION)

    async def get_contract(self, request: Request) -> Response:  # noqa: ARG002
        return JSONResponse(self._contract)

    async def download_artifact(self, request: Request, artifact_path: str) -> Response:
        return await self._download(request, lambda: artifact_path)

    async def get_run_artifact(self, request: Request) -> Response:
        fields = query_of(request.scope)
        run_id, path = run_id_of(fields), fields.required_text("path")
        return await self._download(
            request, lambda: self._locations.place(self._store.get_run(run_id).info.artifact_uri, path)
        )

    async def get_run_archive(self, request: Request) -> Response:
        fields = query_of(request.scope)
        run_id, folder = run_id_of(fields), fields.text("path") or ""
        files = await self._in_thread(lambda: list(self._files(self._store.get_run(run_id).info.artifact_uri, folder)))
        if folder and not files:
            raise ResourceNotFound(f"The run {run_id} has no artifacts in the folder {folder[:200]!r}.")
        name = f"{run_id}{'-' if folder else ''}{folder.replace('/', '-')}.zip"
        return StreamingResponse(
            self._iterated(zip_pieces(self._artifacts, files)),
            headers={"content-disposition": f"attachment; {filename(name)}", "x-content-type-options": "nosniff"},
            media_type="application/zip",
        )

    def _files(self, root: str, folder: str) -> Iterator[tuple[str, str]]:
        """Yield for each file in a folder its path relative to ``root`` and its place below the artifact root."""
        if folder:
            self._locations.place(root, folder)  # raises if it is not valid
        for info in self._locations.files(root, folder):
            # A model may have written files with names that are not valid in a request.
            with suppress(InvalidParameter):
                yield info.path, self._locations.place(root, info.path)

    async def get_model_version_artifact(self, request: Request) -> Response:
        fields = query_of(request.scope)
        name, version, path = (fields.required_text(key) for key in ("name", "version", "path"))
        return await self._download(
            request, lambda: self._locations.place(self._store.get_download_uri(name, version), path)
        )

    async def get_logged_model_artifact(self, request: Request, model_id: str) -> Response:
        path = query_of(request.scope).required_text("artifact_file_path")
        return await self._download(
            request, lambda: self._locations.place(self._store.get_logged_model(model_id).artifact_uri, path)
        )

    async def upload_artifact(self, request: Request, artifact_path: str) -> Response:
        await self._receive(request, lambda: artifact_path)
        return JSONResponse({})

    async def upload_run_artifact(self, request: Request) -> Response:
        """Receive a small file of a run."""
        fields = query_of(request.scope)
        run_id, path = fields.text("run_uuid"), fields.text("path")
        if not run_id or not path:
            missing = "path" if run_id else "run_uuid"
            raise InvalidParameter(f"Request must specify {missing}.", field=missing)
        await self._receive(
            request,
            lambda: self._locations.place(self._store.get_run(run_id).info.artifact_uri, path),
            limit=_SMALL_UPLOAD,
            empty=False,
        )
        return JSONResponse({})

    async def delete_artifact(self, request: Request, artifact_path: str) -> Response:  # noqa: ARG002
        await self._in_thread(self._artifacts.delete, artifact_path)
        return JSONResponse({})

    async def _iterated(self, pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the pieces, each made on a thread."""
        while (piece := await self._in_thread(next, pieces, None)) is not None:
            yield piece

    async def _download(self, request: Request, place: Callable[[], str]) -> Response:
        stored = await self._in_thread(lambda: self._artifacts.open(place()))
        return file_response(stored, request.method, request.headers, self._executor)

    async def _receive(
        self, request: Request, place: Callable[[], str], limit: int | None = None, *, empty: bool = True
    ) -> None:
        """Write the body of a request to a file, which becomes visible when it is complete.

        Args:
            request: the request.
            place: returns the file's path below the artifact root.
            limit: the largest size in bytes.
            empty: whether the body may be empty.

        Raises:
            InvalidParameter: it is empty although that is not allowed.
            Refused: it is longer than ``limit`` bytes.
            ClientDisconnect: the client disconnected before the end; the file is discarded.
            StoreUnavailable: the server shuts down; the file is discarded.
            ServiceBusy: there are too many concurrent uploads.
        """
        if self._uploads >= self._max_uploads:
            raise ServiceBusy(f"There are {self._uploads} uploads already (--max-uploads).", retry_after=5)
        self._uploads += 1
        try:
            await self._store_upload(request, place, limit, empty=empty)
        finally:
            self._uploads -= 1

    async def _store_upload(
        self, request: Request, place: Callable[[], str], limit: int | None, *, empty: bool
    ) -> None:
        path = await self._in_thread(place)
        upload = await self._in_thread(self._artifacts.create, path)
        try:
            size = await self._copy(request, upload, limit)
            if not size and not empty:
                raise InvalidParameter("Request must specify data.")
            await self._in_thread(upload.commit)
        except Exception:  # after any error, an incomplete file must not stay
            await self._in_thread(upload.abort)
            raise
        except asyncio.CancelledError as error:
            # The server shuts down, and no longer waits for threads.
            upload.abort()
            raise StoreUnavailable("The server ended before the file was complete. Send it again.") from error
        await self._in_thread(self._note, path)

    def _note(self, path: str) -> None:
        """Report a received file to the store, if it belongs to a run."""
        owner = self._locations.owner(path)
        if owner is not None:
            self._store.artifact_logged(*owner)

    async def _copy(self, request: Request, upload: Upload, limit: int | None) -> int:
        """Write a body to a file, and return its length."""
        gathered = bytearray()
        size = 0
        async for data in request.stream():
            size += len(data)
            if limit is not None and size > limit:
                raise Refused(
                    413,
                    f"Artifact size is too large. Max size is {limit >> 20}MB. Send it with PUT to the artifact proxy.",
                )
            gathered += data
            if len(gathered) >= _PIECE:
                await self._in_thread(upload.write, bytes(gathered))
                gathered.clear()
        expected = request.headers.get("content-length", "")
        if expected.isdecimal() and int(expected) != size:
            raise ClientDisconnect
        if gathered:
            await self._in_thread(upload.write, bytes(gathered))
        return size

    async def _in_thread(self, call: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, call, *arguments)
