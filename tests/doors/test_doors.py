"""The prediction APIs that a container has."""

from __future__ import annotations

import pytest

from tests.web.harness import application, client

pytestmark = pytest.mark.anyio


async def test_all_are_served_unless_some_are_chosen() -> None:
    for chosen, status in (((), 200), (("inference",), 200), (("mistk",), 404)):
        async with client(application(doors=chosen)) as http:
            assert (await http.get("/v2/health/live")).status_code == status


async def test_the_gate_refuses_in_the_form_of_the_api() -> None:
    async with client(application()) as http:
        for path, keys in (
            ("/v1/mistk/status", {"code", "message"}),
            ("/v2/models/model/infer", {"error"}),
            ("/v1/models/model:predict", {"error"}),
            ("/invocations", {"error_code", "message"}),
            ("/v1/chat/completions", {"error"}),
        ):
            response = await http.post(path, headers={"Sec-Fetch-Site": "cross-site"}, json={})
            assert response.status_code == 403
            assert response.json().keys() == keys, path
