"""A response in JSON."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response


class JsonText(Response):
    """A response whose body is JSON already, without further headers. Starlette's class takes longer to make its headers."""

    media_type = "application/json"

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:  # noqa: ARG002 - there are none
        """Set the headers."""
        self.raw_headers = [
            (b"content-length", b"%d" % len(self.body)),
            (b"content-type", b"application/json"),
        ]
