"""What Connexion has no use for here is not loaded with it, and is there for whoever uses it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

LOAD = """
import sys, json, asyncio
from mistk_service.controller import Controller
from mistk_service.settings import Settings
from mistk_service.web.loading import load_app
from mistk_service.web.metrics import ServiceMetrics

async def load():
    return load_app(Controller("Model", None), Settings("a:B", tracking=False), ServiceMetrics(), "1", None)

app = asyncio.run(load())
"""


def in_a_fresh_interpreter(code: str) -> Any:
    """Return what the code prints as JSON; a warning is an error."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LOAD + code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_application_is_loaded_without_what_it_does_not_use():
    loaded = in_a_fresh_interpreter("print(json.dumps(sorted(sys.modules)))")
    assert "connexion" in loaded
    assert {"httpx", "requests", "urllib3", "rich", "starlette.testclient"} & set(loaded) == set()


def test_whoever_uses_them_gets_the_real_ones():
    same = in_a_fresh_interpreter("""
import connexion.json_schema, connexion.security
used = connexion.security.httpx.AsyncClient, connexion.json_schema.requests.get
import httpx, requests
print(json.dumps([used == (httpx.AsyncClient, requests.get), httpx.__file__ != requests.__file__]))
""")
    assert same == [True, True]


def test_connexions_client_for_tests_works():
    answer = in_a_fresh_interpreter("""
import warnings
warnings.simplefilter("ignore")
from connexion import AsyncApp
with AsyncApp("test").test_client() as client:
    print(json.dumps(client.get("/nothing").status_code))
""")
    assert answer == 404


def test_what_is_loaded_already_stays_what_it_is():
    assert in_a_fresh_interpreter("""
import httpx
from mistk_service.lighter import without_the_unused
with without_the_unused():
    import httpx as again
print(json.dumps(again is httpx is sys.modules["httpx"]))
""")
