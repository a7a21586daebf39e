"""Which prediction APIs a container has."""

from __future__ import annotations

import pytest

from tests.web.harness import application, client

pytestmark = pytest.mark.anyio


async def test_all_are_served_unless_some_are_chosen() -> None:
    for chosen, status in (((), 200), (("inference",), 200), (("mistk",), 404)):
        async with client(application(doors=chosen)) as http:
            assert (await http.get("/v2/health/live")).status_code == status
