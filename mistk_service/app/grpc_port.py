"""The port for gRPC, which is open from the moment that the application is loaded until the instance is terminated."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mistk_service.app.settings import Settings
from mistk_service.doors.ops.metrics import ServiceMetrics
from mistk_service.doors.served_model import ServedModel
from mistk_service.web.access import Answered, Authenticator, Principal, log_request, write_audit

logger = logging.getLogger(__name__)

#: The status codes that mean that the service itself failed.
_FAILED = ("INTERNAL", "UNKNOWN")


class GrpcPort:
    """The port for gRPC, if the settings have one.

    Args:
        settings: the settings.
        model: the model.
        metrics: counts the calls.
        authenticator: identifies callers; None if no log-in is required.
    """

    def __init__(
        self, settings: Settings, model: ServedModel, metrics: ServiceMetrics, authenticator: Authenticator | None
    ) -> None:
        self._settings = settings
        self._model = model
        self._metrics = metrics
        self._authenticator = authenticator
        self._server: Any = None

    async def open(self) -> None:
        """Begin to listen.

        Raises:
            SettingsError: the port cannot be used.
        """
        settings = self._settings
        if settings.grpc_port is None or not self._model.has_prediction_apis:
            return
        # Imported here: the package is an extra.
        from mistk_service.doors.grpc.server import start_server

        cert, key = settings.tls_cert, settings.tls_key
        self._server, port = await start_server(
            self._model,
            settings.host,
            settings.grpc_port,
            settings.max_body,
            settings.max_watches,
            self._record_call,
            self._authenticator,
            None if cert is None or key is None else (Path(cert), Path(key)),
        )
        logger.info("Listening for gRPC at %s:%d.", settings.host, port)

    def _record_call(
        self, method: str, code: str, seconds: float, principal: Principal | None, address: Callable[[], str]
    ) -> None:
        """Count an answered call, and log it."""
        self._metrics.add_request("grpc", method, code, seconds)
        if not self._settings.access_log and self._settings.audit_file is None:
            return
        result = "accepted" if code == "OK" else "failed" if code in _FAILED else "refused"
        call = Answered(principal, address(), "RPC", f"/{method}", code, result, seconds, None)
        if self._settings.access_log:
            log_request(call)
        if self._settings.audit_file is not None and method == "ModelInfer":
            write_audit(call)

    async def close(self, grace: float) -> None:
        """Stop listening, and give the calls in flight some seconds to end."""
        if self._server is not None:
            await self._server.stop(grace)
