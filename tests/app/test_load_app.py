"""Loading the application on a thread yields the same modules as importing them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

LOAD = """
import sys, json, asyncio
from mistk_service.core.controller import Controller
from mistk_service.app.settings import Settings
from mistk_service.app.startup import LoadingApp
from mistk_service.doors.ops.metrics import ServiceMetrics
from mistk_service.kinds.model import MODEL

async def load():
    controller = Controller(MODEL, "Model", None, lambda *_: b"")

    def make():
        from mistk_service.app.asgi import create_app
        return create_app(controller, Settings("a:B", tracking=False), ServiceMetrics())

    await LoadingApp(make).made()

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


def test_no_module_is_replaced_while_the_application_is_loaded():
    replaced = in_a_fresh_interpreter("""
seen = {}

def look(event, arguments):
    if event == "import":
        for name, module in list(sys.modules.items()):
            seen.setdefault(name, module)

sys.addaudithook(look)
asyncio.run(load())
import warnings
warnings.simplefilter("ignore")
import httpx, requests, starlette.testclient
print(json.dumps([name for name in sys.modules if name in seen and seen[name] is not sys.modules[name]]))
""")
    assert replaced in ([], ["pygments.lexers"]), "the latter replaces itself"
