"""The service behind nginx, below a prefix: what a browser and a program are given to go on with leads back to it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.service.conftest import Start
from tests.support.remotes import reserved_port

pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")

PREFIX = "/models/digits"

CONFIG = """
daemon off; error_log stderr; pid {folder}/pid;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port};
    location /models/digits/ {{ proxy_pass {target}; proxy_buffering off; {more} }}
  }}
}}
"""

#: How proxies pass on a path, what they say of it, and what the service is told at its start.
WAYS = {
    "the prefix is stripped and set": ("/", "", ("--root-path", PREFIX)),
    "the prefix is left and set": ("", "", ("--root-path", PREFIX)),
    "the prefix is stripped and sent": ("/", f"proxy_set_header X-Forwarded-Prefix {PREFIX};", ()),
}


@pytest.fixture(params=list(WAYS.values()), ids=list(WAYS))
def base(request: pytest.FixtureRequest, start: Start, tmp_path: Path) -> Iterator[str]:
    """The address of a service below the prefix."""
    path, more, options = request.param
    service = start(*options)
    service.make_ready()
    service.wait(lambda status: "run" in status["payload"], service.post("train"))
    place = reserved_port()
    port = place.getsockname()[1]
    config = tmp_path / "nginx.conf"
    config.write_text(CONFIG.format(folder=tmp_path, port=port, target=service.url + path, more=more))
    command = ["nginx", "-p", str(tmp_path), "-c", str(config)]
    proxy = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        transport = httpx.HTTPTransport(retries=8)
        with httpx.Client(transport=transport) as client:
            assert client.get(f"http://127.0.0.1:{port}{PREFIX}/healthz").status_code == 200
        yield f"http://127.0.0.1:{port}{PREFIX}"
    finally:
        proxy.terminate()
        proxy.wait()
        place.close()


def test_the_contract_and_the_links_lead_back_through_the_proxy(base: str) -> None:
    with httpx.Client() as client:
        api = httpx.URL(base).join(client.get(f"{base}/v1/mistk/swagger.json").json()["basePath"])
        assert client.get(f"{api}/apiVersion").status_code == 200
        redirect = client.get(f"{base}/v1/mistk/ui")
        assert redirect.next_request is not None
        assert str(redirect.next_request.url) == f"{base}/v1/mistk/ui/"
        page = client.send(redirect.next_request)
        assert page.status_code == 200
        assert client.get(page.url.join("swagger-ui-bundle.js")).status_code == 200
        link = client.get(f"{api}/status").json()["payload"]["run"]["link"]
        assert client.get(httpx.URL(base).join(link)).json()["run"]["info"]["run_id"] in link
        with client.stream("GET", f"{api}/status?watch=true") as watch:
            events = (json.loads(line) for line in watch.iter_lines() if line.strip())
            assert next(events)["payload"]["payload"]["run"]["link"] == link
