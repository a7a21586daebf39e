"""A launched container lives as long as its block, and its client matches its kind."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import httpx
import pytest

from mistk_service.client import AsyncModelClient, ModelClient, launch
from mistk_service.errors import LaunchFailed

NOTHING = f"{Path(__file__).parents[1] / 'models' / 'nothing.py'}:Nothing"
OPTIONS = ["--no-tracking"]

pytestmark = pytest.mark.timeout(150)


def test_the_block_gets_the_client_of_the_kind_and_the_container_ends_with_it() -> None:
    container = launch(NOTHING, options=OPTIONS)
    with container as model:
        assert isinstance(model, ModelClient)
        assert model.status().state == "started"
        assert container.exit_code is None
    assert container.exit_code == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(container.url)


def test_the_exit_code_after_a_shutdown_can_be_waited_for() -> None:
    container = launch(NOTHING, ModelClient, options=OPTIONS)
    with container as model:
        model.shutdown()
        assert container.wait() == 0


def test_a_block_of_asyncio_gets_the_client_for_it() -> None:
    container = launch(NOTHING, options=OPTIONS)

    async def ask() -> str:
        async with container as model:
            assert isinstance(model, AsyncModelClient)
            return (await model.wait_for("initialized", since=await model.initialize(["training"]))).state

    assert asyncio.run(ask()) == "initialized"
    assert container.exit_code == 0


def test_a_container_that_speaks_https_starts_too(tmp_path: Path) -> None:
    command = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    files = ["--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem")]
    with launch(NOTHING, ModelClient, options=[*OPTIONS, *files]) as model:
        assert model.address.startswith("https://127.0.0.1:")


def test_a_container_that_does_not_start_says_why() -> None:
    lines: list[str] = []
    with (
        pytest.raises(LaunchFailed, match="no_such_module") as caught,
        launch("no_such_module:X", on_output=lines.append),
    ):
        pytest.fail("the block begins only when the container runs")
    assert list(caught.value.output) == lines[-100:] != []
