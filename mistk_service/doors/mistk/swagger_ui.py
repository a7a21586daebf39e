"""Serves Swagger UI from the files of its Python package, with a page that needs no inline script."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from mistk_service.doors.mistk.problems import service_error

#: The page loads its own files and connects to its own origin. Swagger UI's style sheet contains images as data.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

# URLs are relative, so that the page works below any prefix of a reverse proxy.
_PAGE = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>Swagger UI</title>
  <link rel="icon" type="image/png" href="favicon-32x32.png" sizes="32x32">
  <link rel="stylesheet" href="index.css">
  <link rel="stylesheet" href="swagger-ui.css">
</head>
<body>
  <div id="swagger-ui"></div>
  <script src="swagger-ui-bundle.js"></script>
  <script src="start.js"></script>
</body>
</html>
"""
_START = 'SwaggerUIBundle({url: "../swagger.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null});\n'


class SwaggerUI:
    """The ASGI application for the paths of Swagger UI.

    Args:
        path: its path, without a trailing slash. It loads the contract from ``swagger.json`` in the parent folder.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._files: StaticFiles | None = None

    def serves(self, path: str) -> bool:
        """Return whether a path belongs to Swagger UI."""
        return path == self._path or path.startswith(f"{self._path}/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        answer = await self._answer(scope)
        await answer(scope, receive, send)

    async def _answer(self, scope: Scope) -> ASGIApp:
        if scope["method"] not in ("GET", "HEAD"):
            return service_error(405, f"{self._path} takes GET only.", headers={"Allow": "GET, HEAD"})
        name = scope["path"].removeprefix(self._path)
        if not name:
            return RedirectResponse(f"{self._path.rpartition('/')[2]}/")
        if name in ("/", "/index.html"):
            return Response(_PAGE, media_type="text/html", headers={"Content-Security-Policy": _POLICY})
        if name == "/start.js":
            return Response(_START, media_type="text/javascript")
        try:
            return await self._static().get_response(name.lstrip("/"), scope)
        except HTTPException as error:
            return service_error(
                error.status_code, f"Swagger UI has no file {name[:80]}. Its page is at {self._path}/."
            )

    def _static(self) -> StaticFiles:
        if self._files is None:
            # Found without importing the package, which would import Flask.
            found = importlib.util.find_spec("flask_swagger_ui")
            if found is None or not found.submodule_search_locations:
                raise HTTPException(404)
            self._files = StaticFiles(directory=Path(found.submodule_search_locations[0], "dist"))
        return self._files
