"""Serves a toy: ``python -m tests.kinds.toy STATE_DIR`` prints its URL once it is ready."""

from __future__ import annotations

import asyncio
import sys

from mistk_service.app.container import serve
from mistk_service.app.settings import Settings
from mistk_service.web.listening import bind
from tests.kinds.toy import TOY

settings = Settings("tests/models/greeter.py:Greeter", port=0, state_dir=sys.argv[1])
asyncio.run(
    serve(settings, bind(settings.host, settings.port), lambda _: None, lambda url, _: print(url, flush=True), kind=TOY)
)
