"""Asks a running service whether it is healthy. Only the standard library is used, since an engine asks every few seconds."""

from __future__ import annotations

import http.client
import json

from mistk_service.errors import AnswerNotUnderstood, RequestFailed, ServiceUnreachable, SettingsError
from mistk_service.web.listening import LOOPBACK, url_at

#: The largest answer that is read, in bytes.
_LARGEST = 64 * 1024


def probe(host: str, port: int, path: str, timeout: float) -> str:
    """Ask a service and return what it says, if it answers with 200. No proxy is used.

    Args:
        host: the address that the service listens on; for all addresses, loopback is asked.
        port: the port that it listens on.
        path: ``/healthz`` or ``/readyz``.
        timeout: seconds for the connection, and for each part of the answer.

    Raises:
        SettingsError: the port is not one that can be asked.
        ServiceUnreachable: nothing answered, or not in time.
        RequestFailed: the answer has another status; the message says why.
        AnswerNotUnderstood: what answered does not speak HTTP.
    """
    if not 0 < port <= 65535:
        raise SettingsError(
            f"--port: {port} cannot be probed; expected the port that the service listens on, from 1 to 65535.",
            setting="port",
        )
    host = LOOPBACK.get(host, host)
    url = url_at(host, port) + path
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        text = response.read(_LARGEST).decode(errors="replace").strip()
    except OSError as error:
        raise ServiceUnreachable(f"{url} does not answer: {error}.", url=url) from error
    except http.client.HTTPException as error:
        raise AnswerNotUnderstood(f"{url} did not answer in HTTP: {type(error).__name__}.", url=url) from error
    finally:
        connection.close()
    if response.status != 200:
        raise RequestFailed(f"{url} answered {response.status}: {_reason(text)}", code=response.status)
    return text


def _reason(text: str) -> str:
    """Return the reason in an answer of ``/readyz``, or the answer as it is."""
    try:
        return str(json.loads(text)["reason"])
    except (ValueError, KeyError, TypeError):
        return text or "no reason was given."
