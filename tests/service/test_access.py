"""Log-ins of browsers and proxies, confined paths, limits and the audit log of a service with accounts."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mistk_service.client import ModelClient
from tests.service.harness import API, OBEDIENT, Service, run
from tests.support.harness import reference

USER, PASSWORD, SECRET = "root", "correct horse battery", "a secret of the proxy"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data inside and outside of the root, a module with a function, and a token."""
    folder = tmp_path_factory.mktemp("access")
    (folder / "data").mkdir()
    (folder / "data" / "a.json").write_text("1")
    (folder / "outside.json").write_text("1")
    (folder / "data" / "link").symlink_to(folder / "outside.json")
    os.mkfifo(folder / "data" / "pipe")
    (folder / "secret").write_text(SECRET)
    code = "def who(headers):\n    return ('ann', 'operator') if headers.get('x-api-key') == 'the key' else None\n"
    (folder / "my_login.py").write_text(code)
    return folder


@pytest.fixture(scope="module")
def token(folder: Path) -> str:
    _, out, _ = run("token", "new", "me", "--role", "admin", cwd=folder)
    return out.strip()


@pytest.fixture(scope="module")
def service(folder: Path, token: str) -> Iterator[Service]:
    assert token
    env = {"MLFLOW_AUTH_ADMIN_USERNAME": USER, "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD, "PYTHONPATH": str(folder)}
    options = ["--proxy-secret-file", "secret", "--audit-file", "audit.log", "--data-root", "data", "--max-watches", "1",
               "--log-format", "json", "--access-log"]  # fmt: skip
    command = ["serve", OBEDIENT, "--port", "0", "--host", "0.0.0.0", *options]
    with Service(*command, cwd=folder, env=env, begun="Serving ") as running:
        yield running


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{service.port}", timeout=60) as client:
        yield client


def log_in(client: httpx.Client, **fields: str) -> httpx.Response:
    return client.post("/login", data=fields)


def bearer(token: str, **headers: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", **headers}


@pytest.mark.parametrize("way", ["password", "token"])
def test_a_browser_logs_in_and_out(client: httpx.Client, token: str, way: str) -> None:
    to_form = client.get("/", headers={"Sec-Fetch-Mode": "navigate"})
    assert (to_form.status_code, to_form.headers["location"]) == (303, "/login")
    assert "<form" in client.get("/login").text
    given = {"username": USER, "password": PASSWORD} if way == "password" else {"username": "", "password": token}
    entered = log_in(client, **given)
    assert entered.status_code == 303
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert client.get("/").status_code == 200
    own = {"Origin": str(client.base_url).rstrip("/")}
    assert client.post(f"{API}/reset", headers=own).status_code == 200
    assert client.post("/logout", headers=own).status_code == 303
    client.cookies.clear()
    client.headers["Cookie"] = cookie.partition(";")[0]  # whoever has kept it
    assert client.get("/").status_code == 401


@pytest.mark.parametrize(("scheme", "secure"), [("https", True), ("http", False)])
def test_a_cookie_is_secure_if_the_browser_speaks_https_to_a_proxy(
    client: httpx.Client, scheme: str, secure: bool
) -> None:
    given = {"username": USER, "password": PASSWORD}
    entered = client.post("/login", data=given, headers={"X-Forwarded-Proto": scheme})
    assert ["Secure" in cookie for cookie in entered.headers.get_list("set-cookie")] == [secure] * 2


def test_a_wrong_log_in_shows_the_form_again_and_opens_no_session(client: httpx.Client) -> None:
    wrong = log_in(client, username=USER, password="<script>")
    assert wrong.status_code == 401
    assert "Wrong user name" in wrong.text
    assert "<script>" not in wrong.text
    assert "set-cookie" not in wrong.headers


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_a_page_of_another_site_cannot_use_the_cookie(client: httpx.Client, headers: dict[str, str]) -> None:
    assert log_in(client, username=USER, password=PASSWORD).status_code == 303
    assert client.post(f"{API}/reset", headers=headers).status_code == 403


@pytest.mark.parametrize(
    ("headers", "status", "change"),
    [
        ({"X-Mistk-Proxy-Secret": SECRET, "X-Forwarded-User": "bob"}, 200, 403),
        (
            {"X-Mistk-Proxy-Secret": SECRET, "X-Forwarded-User": "bob", "X-Forwarded-Groups": "a,mistk-operator"},
            200,
            200,
        ),
        # The proxy passes on what a client sends under other names.
        ({"X-Mistk-Proxy-Secret": SECRET, "X-Forwarded-User": "bob", "X-Auth-Request-Groups": "mistk-admin"}, 200, 403),
        ({"X-Mistk-Proxy-Secret": "wrong", "X-Forwarded-User": "bob", "X-Forwarded-Groups": "mistk-admin"}, 401, 401),
        ({"X-Forwarded-User": "bob", "X-Forwarded-Groups": "mistk-admin"}, 401, 401),
        ({"X-Mistk-Proxy-Secret": SECRET}, 401, 401),
    ],
)
def test_a_proxy_is_believed_if_it_knows_the_secret(
    client: httpx.Client, headers: dict[str, str], status: int, change: int
) -> None:
    assert client.get(f"{API}/status", headers=headers).status_code == status
    assert client.post(f"{API}/reset", headers=headers).status_code == change


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("data/a.json", None),
        ("data/../data/a.json", None),
        ("outside.json", "--data-root"),
        ("data/link", "--data-root"),
        ("data/../outside.json", "--data-root"),
        ("/etc/passwd", "--data-root"),
        ("file:///etc/passwd", "--data-root"),
        ("/proc/self/environ", "--data-root"),
        ("http://169.254.169.254/latest", "--data-root"),
        ("data/pipe", "special file"),
        ("data/a\0.json", "--data-root"),
    ],
)
def test_paths_of_requests_are_confined(client: httpx.Client, token: str, path: str, part: str | None) -> None:
    client.headers.update(bearer(token))
    client.post(f"{API}/reset")
    client.post(f"{API}/initialize", json={})
    answer: dict[str, Any] = client.post(f"{API}/loadData", json={"train": {"dataPath": path}}).json()
    if part is None:
        assert "not below" not in answer.get("message", "")
    else:
        assert answer["code"] == 400
        assert part in answer["message"]


def test_a_model_or_an_output_has_to_have_a_root(client: httpx.Client, token: str, folder: Path) -> None:
    for path in (f"{API}/buildModel?modelPath=data/a.json", f"{API}/saveModel?modelPath={folder}/new"):
        answer = client.post(path, headers=bearer(token))
        assert answer.status_code == 400
        assert "-root" in answer.json()["message"]
    assert not (folder / "new").exists()


def test_more_watches_than_allowed_are_refused(client: httpx.Client, token: str) -> None:
    with client.stream("GET", f"{API}/status?watch=true", headers=bearer(token)) as watch:
        parts = watch.iter_bytes()
        assert any(b"{" in part for part in parts)
        second = client.get(f"{API}/status?watch=true", headers=bearer(token))
        assert second.status_code == 503
        assert "--max-watches" in second.json()["message"]
        assert int(second.headers["retry-after"]) > 0


def test_a_request_has_an_id_that_the_audit_log_names(client: httpx.Client, token: str, folder: Path) -> None:
    given = client.post(f"{API}/pause?secret=planted", headers=bearer(token, **{"X-Request-ID": "my-request.1"}))
    assert given.headers["x-request-id"] == "my-request.1"
    forged = client.get(f"{API}/status", headers=bearer(token, **{"X-Request-ID": "a b"}))
    assert forged.headers["x-request-id"] not in ("a b", "")
    lines = [json.loads(line) for line in (folder / "audit.log").read_text().splitlines()]
    (line,) = [line for line in lines if line["request"] == "my-request.1"]
    assert (line["who"], line["role"], line["path"], line["result"]) == ("me", "admin", f"{API}/pause", "refused")
    assert (folder / "audit.log").stat().st_mode & 0o777 == 0o600
    assert log_in(client, username=USER, password=PASSWORD).status_code == 303
    assert log_in(client, username=USER, password="wrong").status_code == 401
    lines = [json.loads(line) for line in (folder / "audit.log").read_text().splitlines()]
    assert [(line["who"], line["result"]) for line in lines[-2:]] == [(USER, "accepted"), (None, "refused")]


def test_the_audit_log_goes_on_in_a_new_file_once_the_old_one_is_moved(
    client: httpx.Client, token: str, folder: Path
) -> None:
    log, rotated = folder / "audit.log", folder / "audit.log.1"
    log.rename(rotated)
    client.post(f"{API}/pause", headers=bearer(token, **{"X-Request-ID": "after-rotation"}))
    assert "after-rotation" not in rotated.read_text()
    (line,) = log.read_text().splitlines()
    assert json.loads(line)["request"] == "after-rotation"
    assert log.stat().st_mode & 0o777 == 0o600
    log.write_text(rotated.read_text() + line + "\n")


def test_a_line_that_cannot_be_written_to_the_audit_log_is_in_the_log(
    service: Service, client: httpx.Client, token: str, folder: Path
) -> None:
    log, rotated = folder / "audit.log", folder / "audit.log.1"
    log.rename(rotated)
    log.mkdir()
    answer = client.post(f"{API}/pause", headers=bearer(token, **{"X-Request-ID": "not-audited"}))
    assert answer.status_code == 400
    service.wait_for_line("audit.log cannot be written")
    assert any("cannot be written" in line and "not-audited" in line for line in service.lines)
    log.rmdir()
    rotated.rename(log)
    client.post(f"{API}/pause", headers=bearer(token, **{"X-Request-ID": "audited-again"}))
    assert json.loads(log.read_text().splitlines()[-1])["request"] == "audited-again"


def test_the_access_log_has_a_line_for_each_request(service: Service, client: httpx.Client, token: str) -> None:
    forged = "/nowhere%0a%7B%22who%22%3A%22root%22%7D?secret=planted"
    for number, (path, headers) in enumerate(
        (("/healthz", {}), (forged, bearer(token)), (f"{API}/status", bearer("?")))
    ):
        client.get(path, headers={**headers, "X-Request-ID": f"access-{number}"})
    service.wait_for_line("access-2")
    lines = {
        each["request"]: each for each in map(json.loads, service.lines) if each["logger"] == "mistk_service.access"
    }
    open_one, found, unknown = (lines[f"access-{number}"] for number in range(3))
    assert [each["who"] for each in (open_one, found, unknown)] == [None, "me", None]
    assert [each["status"] for each in (open_one, found, unknown)] == [200, 404, 401]
    assert (found["from"], found["method"], found["path"]) == ("127.0.0.1", "GET", '/nowhere\n{"who":"root"}')
    assert found["duration"] > 0
    assert "planted" not in service.output()


def test_the_run_names_the_account_that_started_it(service: Service, client: httpx.Client, token: str) -> None:
    with ModelClient(str(client.base_url), headers=bearer(token)) as model:
        model.wait_for("started", since=model.reset())
        assert client.post(f"{API}/initialize", json={}, auth=(USER, PASSWORD)).status_code == 200
        model.wait_for("initialized")
        model.wait_for("ready", since=model.build_model())
        model.wait_for("ready", since=model.train())
        run_id = model.status().payload["run"]["id"]
    found = client.get("/api/2.0/mlflow/runs/get", params={"run_id": run_id}, headers=bearer(token)).json()
    tags = {tag["key"]: tag["value"] for tag in found["run"]["data"]["tags"]}
    assert tags["mistk.startedBy"] == "me"


def test_a_watch_ends_when_its_user_is_deleted(client: httpx.Client) -> None:
    client.auth = (USER, PASSWORD)
    guest = {"username": "guest", "password": "a long password"}
    users = "/api/2.0/mlflow/users"
    assert client.post(f"{users}/create", json=guest).status_code == 200
    with client.stream("GET", f"{API}/status?watch=true", auth=("guest", guest["password"])) as watch:
        parts = watch.iter_bytes()
        assert next(parts)
        assert client.request("DELETE", f"{users}/delete", json={"username": "guest"}).status_code == 200
        client.post(f"{API}/reset")
        assert b"resetting" not in b"".join(parts)  # and it ends


def test_no_secret_is_in_a_log_or_in_what_the_worker_gets(service: Service, folder: Path, token: str) -> None:
    environment = service.worker().environ()
    texts = [(folder / "audit.log").read_text(), service.output(), json.dumps(environment), *service.worker().cmdline()]
    for secret in (token, PASSWORD, SECRET):
        assert not any(secret in text for text in texts)


def test_failed_log_ins_are_slowed_down_but_not_those_that_are_right(client: httpx.Client, token: str) -> None:
    found = [client.get(f"{API}/status", headers=bearer(f"wrong {n}")) for n in range(15)]
    assert found[-1].status_code == 429
    assert int(found[-1].headers["retry-after"]) > 0
    assert client.get(f"{API}/status", headers=bearer(token)).status_code == 200


def test_a_function_says_who_sends_a_request(folder: Path) -> None:
    options = ["--no-tracking", "--auth-function", "my_login:who"]
    with Service("serve", OBEDIENT, "--port", "0", *options, cwd=folder, begun="Listening at") as service:
        asked = [service.api.get("/status", headers=headers).status_code for headers in ({}, {"X-API-Key": "the key"})]
        assert asked == [401, 200]
        assert service.api.post("/shutdown", headers={"X-API-Key": "the key"}).status_code == 403


def test_a_function_is_not_asked_for_every_part_of_an_answer(tmp_path: Path) -> None:
    code = "def who(headers):\n    open('asked', 'a').write('x')\n    return ('ann', 'operator')\n"
    (tmp_path / "counting_login.py").write_text(code)
    options = ["--port", "0", "--no-tracking", "--auth-function", "counting_login:who"]
    env = {"PYTHONPATH": str(tmp_path)}
    with Service("serve", reference("in_parts:InParts"), *options, cwd=tmp_path, env=env) as service:
        service.make_ready()
        before = len((tmp_path / "asked").read_text())
        response = service.api.post("/streamPredict", json={"n": "400"})
        assert len(response.text.splitlines()) == 400
        assert len((tmp_path / "asked").read_text()) - before < 100


def test_a_token_that_expires_beyond_the_calendar_is_refused(tmp_path: Path) -> None:
    code, _, errors = run("token", "new", "me", "--role", "viewer", "--days", "999999999", cwd=tmp_path)
    assert code == 2
    assert "Invalid value for '--days'" in errors


def test_a_token_file_that_is_named_and_holds_no_token_admits_nobody(tmp_path: Path) -> None:
    with Service("serve", OBEDIENT, "--port", "0", "--token-file", "later", cwd=tmp_path) as service:
        assert service.api.get("/status").status_code == 401
        token = run("token", "new", "me", "--role", "viewer", "--token-file", "later", cwd=tmp_path)[1].strip()
        assert service.api.get("/status", headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_a_certificate_that_cannot_be_read_is_refused_before_the_service_listens(tmp_path: Path) -> None:
    code, _, errors = run("serve", OBEDIENT, "--port", "0", "--tls-cert", "no.pem", "--tls-key", "no.key", cwd=tmp_path)
    assert code == 1
    assert "--tls-cert, --tls-key: no.pem and no.key cannot be used" in errors
    assert "Listening" not in errors


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    command = (
        "openssl req -x509 -newkey rsa:2048 -passout pass:secret -keyout key.pem -out cert.pem -days 2 -subj /CN=a"
    )
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    code, _, errors = run(
        "serve", OBEDIENT, "--port", "0", "--tls-cert", "cert.pem", "--tls-key", "key.pem", cwd=tmp_path
    )
    assert code == 1
    assert "key.pem has a passphrase; expected a key without one" in errors
    assert "Enter" not in errors


def test_https_uses_a_new_certificate_when_its_file_changes(folder: Path, tmp_path: Path) -> None:
    def certify(folder: Path = folder) -> None:
        command = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=localhost"
        command += " -addext subjectAltName=DNS:localhost"
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)

    certify()
    options = ["--tls-cert", "cert.pem", "--tls-key", "key.pem", "--url-file", "url", "--grpc-port", "0"]
    env = {"MISTK_PROXY_SECRET_FILE": "secret"}
    process = None
    try:
        from tests.service.harness import start, wait_until

        with (folder / "https.log").open("wb") as log:
            process = start("serve", OBEDIENT, "--port", "0", *options, cwd=folder, env=env, stdout=log, stderr=log)
        wait_until((folder / "url").exists)
        url = (folder / "url").read_text().strip()
        assert url.startswith("https://127.0.0.1:")

        def fingerprint() -> bytes:
            import ssl

            host, port = url.removeprefix("https://").split(":")
            return ssl.get_server_certificate((host, int(port))).encode()

        first = fingerprint()
        assert httpx.get(f"{url}/healthz", verify=False).json() == {"status": "alive"}
        certify()
        wait_until(lambda: fingerprint() != first)
        port = url.rpartition(":")[2]
        assert run("health", "--port", port, "--tls-cert", "cert.pem", cwd=folder)[0] == 0
        wait_until(lambda: "Listening for gRPC" in (folder / "https.log").read_text())
        address = re.search(r"gRPC at 127.0.0.1(:\d+)", (folder / "https.log").read_text())
        assert address is not None
        trusted = grpc.ssl_channel_credentials((folder / "cert.pem").read_bytes())
        with grpc.secure_channel(f"localhost{address[1]}", trusted) as channel:
            request = health_pb2.HealthCheckRequest()
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=30, metadata=[("x-api-key", "none")])
            assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
        served = fingerprint()
        certify(tmp_path)
        (tmp_path / "cert.pem").replace(folder / "cert.pem")  # without its key
        wait_until(lambda: "The certificate is unchanged" in (folder / "https.log").read_text())
        assert fingerprint() == served
    finally:
        if process is not None:
            process.kill()
            process.wait()
