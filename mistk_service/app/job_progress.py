"""Progress of a running job: metrics as log lines, and progress for Kubeflow's trainer.

SageMaker finds metrics in the log: https://docs.aws.amazon.com/sagemaker/latest/dg/define-train-metrics.html
Kubeflow Trainer takes progress as JSON (``TrainJob``, runtime status server, alpha).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from mistk_service.core.events import ActivityEnded, Event, MetricsReported, ProgressReported
from mistk_service.logs import timestamp

logger = logging.getLogger(__name__)

#: Minimum seconds between two lines, and between two posts to Kubeflow.
_LINE_INTERVAL, _POST_INTERVAL = 1.0, 5.0

#: Seconds for a post.
_TIMEOUT = 5.0


class JobProgress:
    """Takes events, logs the latest metrics, and sends the progress if the environment asks for it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._metrics: dict[str, float] = {}
        self._new: dict[str, float] = {}
        self._logged = 0.0
        self._progress: ProgressReported | None = None
        self._changed = False

    def observe(self, event: Event) -> None:
        """Handle an event of the controller."""
        if isinstance(event, MetricsReported):
            self._new |= {key: value for key, value, *_ in event.points}
            if time.monotonic() - self._logged >= _LINE_INTERVAL:
                self._log()
        elif isinstance(event, ActivityEnded):
            self._log()
        elif isinstance(event, ProgressReported):
            self._progress, self._changed = event, True

    def _log(self) -> None:
        if self._new:
            logger.info("%s", " ".join(f"{key}={value:g};" for key, value in self._new.items()))
            self._metrics |= self._new
            self._new, self._logged, self._changed = {}, time.monotonic(), True

    @contextlib.asynccontextmanager
    async def sent(self) -> AsyncIterator[None]:
        """Send the progress to Kubeflow's trainer during the block, if there is one."""
        if not self._environ.get("KUBEFLOW_TRAINER_SERVER_URL"):
            yield
            return
        sending = asyncio.create_task(self._send_always())
        try:
            yield
        finally:
            sending.cancel()
            self._changed = True
            await self._send()

    async def _send_always(self) -> None:
        while True:
            await asyncio.sleep(_POST_INTERVAL)
            await self._send()

    async def _send(self) -> None:
        """Send what has changed. An error never makes the job fail."""
        import httpx  # late, since most jobs do not need it

        if not self._changed:
            return
        self._changed = False
        environ = self._environ
        try:
            certificate = environ.get("KUBEFLOW_TRAINER_SERVER_CA_CERT")
            verify: Any = ssl.create_default_context(cafile=certificate) if certificate else True
            async with httpx.AsyncClient(verify=verify, timeout=_TIMEOUT) as client:
                url, body = environ["KUBEFLOW_TRAINER_SERVER_URL"], {"trainerStatus": self._status()}
                (await client.post(url, json=body, headers=self._login())).raise_for_status()
        except (httpx.HTTPError, OSError) as error:
            logger.warning("The progress was not sent to Kubeflow: %s", error)

    def _login(self) -> dict[str, str]:
        # The file is replaced from time to time.
        token = self._environ.get("KUBEFLOW_TRAINER_SERVER_TOKEN")
        return {"Authorization": f"Bearer {Path(token).read_text().strip()}"} if token else {}

    def _status(self) -> dict[str, Any]:
        status: dict[str, Any] = {
            "metrics": [{"name": key, "value": f"{value:g}"} for key, value in self._metrics.items()],
            "lastUpdatedTime": timestamp(),
        }
        if (progress := self._progress) is not None and progress.total:
            status["progressPercentage"] = min(100, 100 * progress.done // progress.total)
            if progress.time_left is not None:
                status["estimatedRemainingSeconds"] = round(progress.time_left)
        return status
