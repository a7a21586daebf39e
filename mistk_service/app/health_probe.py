"""Probes the health of a running service.

Uses only the standard library, since a container engine runs it every few seconds.
"""

from __future__ import annotations

import http.client
import json

from mistk_service.errors import AnswerNotUnderstood, RequestFailed, ServiceUnreachable, SettingsError
from mistk_service.web.listening import LOOPBACK, url_at

#: The largest answer that is read, in bytes.
_LARGEST = 64 * 1024


def probe(host: str, port: int, path: str, timeout: float, *, tls: bool = False) -> str:
    """Send a probe and return the response, if its status is 200. No proxy is used.

    Args:
        host: the address that the service listens on; for all addresses, loopback is probed.
        port: the port that it listens on.
        path: ``/healthz`` or ``/readyz``.
        timeout: seconds for the connection, and for each part of the answer.
        tls: whether the service speaks HTTPS; its certificate, which is for another name than loopback, is not checked.

    Raises:
        SettingsError: the port cannot be probed.
        ServiceUnreachable: the service did not respond, or not in time.
        RequestFailed: the response has another status; the message says why.
        AnswerNotUnderstood: the response is not HTTP.
    """
    if not 0 < port <= 65535:
        raise SettingsError(
            f"--port: {port} cannot be probed; expected the port that the service listens on, from 1 to 65535."
        )
    host = LOOPBACK.get(host, host)
    url = url_at(host, port, tls=tls) + path
    connection = _connection(host, port, timeout, tls)
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


def _connection(host: str, port: int, timeout: float, tls: bool) -> http.client.HTTPConnection:
    if not tls:
        return http.client.HTTPConnection(host, port, timeout=timeout)
    import ssl  # takes a moment, and few probes need it

    context = ssl._create_unverified_context()  # noqa: S323 - nothing but the health is read
    return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)


def _reason(text: str) -> str:
    """Return the reason in a response of ``/readyz``, or the whole response."""
    try:
        return str(json.loads(text)["reason"])
    except (ValueError, KeyError, TypeError):
        return text or "no reason was given."
