"""The Flask application that serves the page."""

from __future__ import annotations

import re
from dataclasses import dataclass

from flask import Flask, Response, jsonify, render_template, request
from werkzeug.exceptions import HTTPException

#: The page loads its own files and connects only to its own origin. It has no inline script or style.
_CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)

#: The maximum length of a path in a message.
_SHOWN = 200


@dataclass(frozen=True)
class DashboardInfo:
    """What the page shows before the first event.

    Attributes:
        model: the reference that the model was loaded by (``plugins/digits/model.py:Digits``).
        api_base: the base path of the API, with a leading and without a trailing slash.
        version: the version of the service.
    """

    model: str
    api_base: str
    version: str

    @property
    def name(self) -> str:
        """The name of the class in the reference, or the whole reference if it contains none."""
        return re.split(r"[:\s]", self.model.strip())[-1] or self.model


def create_dashboard(info: DashboardInfo) -> Flask:
    """Build the application: the page at ``/``, its files below ``/static``, and a ServiceError for all other paths."""
    app = Flask(__name__)

    @app.get("/")
    def index() -> str:
        # Relative, so that the page also works behind a proxy that serves it below a prefix and strips the prefix.
        return render_template("index.html", info=info, api=info.api_base.lstrip("/"))

    @app.errorhandler(HTTPException)
    def answer_error(error: HTTPException) -> Response:
        return _service_error(error, info)

    @app.after_request
    def protect(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = _CONTENT_SECURITY_POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        # Revalidated by ETag, so that no browser keeps using an old page after an upgrade of the service.
        response.headers["Cache-Control"] = "no-cache"
        return response

    return app


def _service_error(error: HTTPException, info: DashboardInfo) -> Response:
    """Return an error of Flask in the same format as errors of the rest of the service."""
    code = error.code or 500
    path = request.path if len(request.path) <= _SHOWN else f"{request.path[:_SHOWN]}…"
    message = {
        404: f"There is nothing at {path}. The page is at /, the API below {info.api_base}.",
        405: f"{path} does not take {request.method}. The operations are below {info.api_base}.",
    }.get(code, error.description or error.name)
    response = jsonify(code=code, message=message)
    response.status_code = code
    # A 405 response must have an Allow header, which Werkzeug provides.
    response.headers.extend((k, v) for k, v in error.get_headers() if k != "Content-Type")
    return response
