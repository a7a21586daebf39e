"""A container whose store is deleted while it runs."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.service.conftest import Start
from tests.service.harness import REQUEST_TIMEOUT, wait_until
from tests.service.test_runs import settled_run


def test_a_store_that_is_deleted_is_said_in_the_status_and_at_readyz_and_writes_are_refused(
    start: Start, tmp_path: Path
) -> None:
    service = start()
    service.make_ready()
    service.do("train")
    settled_run(service)
    for file in (tmp_path / "mistk-state").glob("tracking.db*"):
        file.unlink()

    answer = httpx.post(
        f"{service.url}/api/2.0/mlflow/experiments/create", json={"name": "lost"}, timeout=REQUEST_TIMEOUT
    )

    assert (answer.status_code, answer.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    said = service.wait(lambda s: "error" in s["payload"]["tracking"], service.status())
    assert "was deleted while it was in use" in said["payload"]["tracking"]["error"]
    wait_until(lambda: "tracking" in service.api.get(f"{service.url}/readyz").json())
    ready = service.api.get(f"{service.url}/readyz")
    assert (ready.status_code, ready.json()["ready"]) == (200, True)
    assert "was deleted" in ready.json()["tracking"]
