"""The service behind nginx, below a prefix: every link that it returns works."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.service.conftest import Start
from tests.service.harness import API, OBEDIENT, Service, run
from tests.support.remotes import reserved_port

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "run-behind-a-proxy.md"

PREFIX = "/models/digits"

CONFIG = """
daemon off; master_process off; error_log stderr; pid {folder}/pid;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port};
    {location}
    location = /oauth2/auth {{ internal; proxy_pass http://unix:{folder}/oauth2.sock; }}
  }}
  # What oauth2-proxy says about its users.
  server {{
    listen unix:{folder}/oauth2.sock;
    if ($http_cookie = "") {{ return 401; }}
    add_header X-Auth-Request-User ann always;
    add_header X-Auth-Request-Groups mistk-operator always;
    location / {{ return 202; }}
  }}
}}
"""


def recipe(number: int) -> str:
    """Return an example of the page, for nginx."""
    return re.findall(r"^location .*?^}$", PAGE.read_text(encoding="utf-8"), re.M | re.S)[number]


#: How proxies pass on a path, what they say of it, and what the service is told at its start.
WAYS = {
    "as the page has it": (recipe(0), ("--root-path", PREFIX)),
    "the prefix is left and set": (recipe(0).replace("8080/;", "8080;"), ("--root-path", PREFIX)),
    "the prefix is stripped and sent": (
        recipe(0).replace("{", f"{{ proxy_set_header X-Forwarded-Prefix {PREFIX};", 1),
        (),
    ),
}


@contextlib.contextmanager
def nginx(location: str, service: Service, folder: Path) -> Iterator[str]:
    """Yield the address of a service behind nginx, below the prefix."""
    if shutil.which("nginx") is None:
        if os.environ.get("CI") == "true" and not Path("/run/systemd/system").exists():
            pytest.fail("nginx is not installed, which scripts/ensure-programs does")
        pytest.skip("nginx is not installed")
    place = reserved_port()
    port = place.getsockname()[1]
    config = folder / "nginx.conf"
    location = location.replace("http://127.0.0.1:8080", service.url)
    config.write_text(CONFIG.format(folder=folder, port=port, location=location))
    command = ["nginx", "-p", str(folder), "-c", str(config)]
    with (folder / "nginx.log").open("wb") as log:
        proxy = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
    try:
        base = f"http://127.0.0.1:{port}{PREFIX}"
        with httpx.Client(transport=httpx.HTTPTransport(retries=8)) as client:
            assert client.get(f"{base}/healthz").status_code in (200, 401), (folder / "nginx.log").read_text()
        yield base
    finally:
        proxy.terminate()
        proxy.wait()
        place.close()


@pytest.fixture(params=list(WAYS.values()), ids=list(WAYS))
def base(request: pytest.FixtureRequest, start: Start, tmp_path: Path) -> Iterator[str]:
    """The address of a service below the prefix."""
    location, options = request.param
    service = start(*options)
    service.make_ready()
    service.wait(lambda status: "run" in status["payload"], service.post("train"))
    with nginx(location, service, tmp_path) as address:
        yield address


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
        shown = client.get(f"{api}/status").json()["payload"]["run"]
        link = shown["link"]
        assert link == f"{PREFIX}/#/runs/{shown['id']}"
        assert "<title>" in client.get(httpx.URL(base).join(link)).text
        with client.stream("GET", f"{api}/status?watch=true") as watch:
            events = (json.loads(line) for line in watch.iter_lines() if line.strip())
            assert next(events)["payload"]["payload"]["run"]["link"] == link


def test_the_page_and_the_log_in_work_below_the_prefix(tmp_path: Path) -> None:
    _, token, _ = run("token", "new", "me", "--role", "admin", cwd=tmp_path)
    options = ("--port", "0", "--auth", "--root-path", PREFIX)
    with Service("serve", OBEDIENT, *options, cwd=tmp_path, begun="Listening at") as service:
        with nginx(recipe(0), service, tmp_path) as base, httpx.Client(follow_redirects=True) as client:
            form = client.get(f"{base}/", headers={"Sec-Fetch-Mode": "navigate"})
            assert str(form.url) == f"{base}/login"
            page = client.post(f"{base}/login", data={"username": "", "password": token.strip()})
            assert (page.status_code, str(page.url)) == (200, f"{base}/")
            own = {"Sec-Fetch-Site": "same-origin"}
            assert client.post(f"{base}{API}/reset", headers=own).status_code == 200
            assert str(client.post(f"{base}/logout", headers=own).url) == f"{base}/login"
            assert client.get(f"{base}{API}/status").status_code == 401


def test_oauth2_proxy_logs_users_in(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("the secret of the proxy")
    location = recipe(1).replace('"the secret"', '"the secret of the proxy"')
    options = ("--port", "0", "--proxy-secret-file", "secret", "--access-log")
    with Service("serve", OBEDIENT, *options, cwd=tmp_path, begun="Listening at") as service:
        with nginx(location, service, tmp_path) as base:
            assert httpx.post(f"{base}{API}/reset").status_code == 401
            names = ("X-Forwarded-User", "X-Forwarded-Preferred-Username", "X-Forwarded-Email", "X-Auth-Request-User")
            groups = ("X-Forwarded-Groups", "X-Auth-Request-Groups")
            forged = dict.fromkeys(names, "eve") | dict.fromkeys(groups, "mistk-admin")
            with httpx.Client(cookies={"_oauth2_proxy": "a session"}, headers=forged) as client:
                assert client.post(f"{base}{API}/reset").status_code == 200
                assert client.post(f"{base}{API}/shutdown").status_code == 403
        assert "127.0.0.1 ann POST" in service.wait_for_line("/shutdown")
