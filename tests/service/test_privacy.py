"""Secrets stay with the service: its environment, and the files that it keeps."""

from __future__ import annotations

import base64
import os
import stat
from collections import deque
from pathlib import Path

import httpx
import psutil
import pytest

from tests.service.conftest import Start
from tests.service.harness import Service, run

MODEL = """
import os
from pathlib import Path
from mistk_service import AbstractModel

class Model(AbstractModel):
    def do_train(self):
        self.update_status(dict(os.environ))
        Path("kept.txt").write_text("by the model")
        self.log_artifact(Path("kept.txt"))
        Path("weights").mkdir()
        Path("weights/layer.txt").write_text("by the model")
        self.log_artifact(Path("weights"))

    def do_save_model(self, path):
        (Path(path) / "model.txt").write_text("by the model")
"""

SECRETS = {
    "MLFLOW_TRACKING_TOKEN": "a token",
    "MLFLOW_TRACKING_PASSWORD": "a password",
    "MISTK_CLIENT_TOKEN": "a token",
    "AWS_ACCESS_KEY_ID": "a key",
    "AWS_SECRET_ACCESS_KEY": "a secret",
    "AWS_SESSION_TOKEN": "a token",
    "MLFLOW_S3_ENDPOINT_URL": "https://ann:secret@storage",
}
PLAIN = {"AWS_REGION": "eu-central-1", "MLFLOW_RUN_NAME": "a run", "HF_TOKEN": "the model's own"}


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "private_model.py").write_text(MODEL)
    return f"{tmp_path / 'private_model.py'}:Model"


def trained(service: Service) -> dict[str, str]:
    """Train, and return the environment that the model saw."""
    service.make_ready()
    seen: dict[str, str] = service.do("train")["payload"]
    return seen


def test_the_model_does_not_see_the_services_secrets(start: Start, model: str) -> None:
    seen = trained(start(model=model, env={**SECRETS, **PLAIN}))
    assert SECRETS.keys() & seen.keys() == set()
    assert PLAIN.items() <= seen.items()


def test_the_model_sees_a_secret_that_is_listed(start: Start, model: str) -> None:
    options = ("--worker-env", "AWS_ACCESS_KEY_ID", "--worker-env", "AWS_SECRET_ACCESS_KEY")
    seen = trained(start(*options, model=model, env=SECRETS))
    assert SECRETS.keys() & seen.keys() == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_the_service_keeps_is_for_its_own_user_and_what_the_model_saves_is_not(
    start: Start, model: str, tmp_path: Path
) -> None:
    given = os.umask(0o022)
    try:
        service = start(model=model)
    finally:
        os.umask(given)
    tmp_path.chmod(0o755)
    trained(service)
    service.do("saveModel", modelPath=str(tmp_path / "out" / "model"))
    service.post("shutdown")
    assert service.wait_exit() == 0
    kept = [tmp_path / "mistk-state", *(tmp_path / "mistk-state").rglob("*")]
    assert {"tracking.db", "kept.txt", "layer.txt"} <= {path.name for path in kept}
    assert {(path.is_dir(), oct(mode(path))) for path in kept} == {(True, "0o700"), (False, "0o600")}
    assert [mode(tmp_path / "out" / "model"), mode(tmp_path / "out" / "model" / "model.txt")] == [0o755, 0o644]


PLANTED = {
    "MLFLOW_AUTH_ADMIN_USERNAME": "root",
    "MLFLOW_AUTH_ADMIN_PASSWORD": "planted-password-of-the-admin",
    "MISTK_TRACKING_URI": "http://ann:planted-password-of-the-remote@127.0.0.1:9",
    "MLFLOW_TRACKING_TOKEN": "planted-token-of-the-remote",
    "AWS_SECRET_ACCESS_KEY": "planted-key-of-the-storage",
    "MISTK_CLIENT_TOKEN": "planted-token-for-agents",
}


def test_no_planted_secret_is_anywhere_but_where_it_was_planted(start: Start, model: str, tmp_path: Path) -> None:
    token = run("token", "new", "me", "--role", "admin", cwd=tmp_path)[1].strip()
    (tmp_path / "proxy-secret").write_text("planted-secret-of-the-proxy")
    options = ("--proxy-secret-file", "proxy-secret", "--log-level", "debug", "--log-libraries", "--access-log",
               "--audit-file", "-", "--data-root", "data")  # fmt: skip
    service = start(*options, model=model, env=PLANTED, begun="Serving ")
    service.lines = deque(service.lines)  # all of them
    admin = ("root", PLANTED["MLFLOW_AUTH_ADMIN_PASSWORD"])
    guest = {"username": "guest", "password": "planted-password-of-a-guest"}
    url = service.url
    with httpx.Client(base_url=url, timeout=60) as http:
        found = [
            http.post("/api/2.0/mlflow/users/create", json=guest, auth=admin),
            http.post("/api/2.0/mlflow/users/create", json=guest, auth=admin),  # taken
            http.get("/v1/mistk/status?token=planted-in-a-query", headers={"Authorization": "Bearer planted-wrong"}),
            http.get("/v1/mistk/status", auth=("guest", "planted-wrong-password")),
            http.get(
                "/nowhere", headers={"X-Mistk-Proxy-Secret": "planted-wrong-secret"}, auth=("guest", guest["password"])
            ),
            http.post("/login", data={"username": "guest", "password": "planted-wrong-password"}),
            http.post("/login", data=guest),
        ]
        session = http.cookies["mistk_session"]
        own = {"Sec-Fetch-Site": "same-origin"}
        found += [
            http.get("/"),
            http.post("/v1/mistk/reset", headers=own),  # for viewers, so refused
        ]
        http.cookies.clear()
        service.api.headers["Authorization"] = f"Bearer {token}"
        trained(service)
        service.wait_for_line("127.0.0.1:9")  # the remote cannot be reached
        for path in ("/v1/mistk/status", "/metrics", "/v1/mistk/swagger.json", "/api/2.0/mlflow/users/list", "/v2"):
            found.append(service.api.get(url + path))
        found.append(service.api.post(f"{url}/v1/mistk/loadData", json={"train": {"dataPath": "/etc/passwd"}}))
    worker, main = service.worker(), psutil.Process(service.process.pid)
    texts = {
        **{f"{answer.request.method} {answer.url.path}": answer.text for answer in found},
        "the log": service.output(),
        "the processes": " ".join([*worker.cmdline(), *main.cmdline()]),
        "the worker's environment": "\n".join(worker.environ().values()),
        **{
            str(file): file.read_bytes().decode("latin-1")
            for file in (tmp_path / "mistk-state").rglob("*")
            if file.is_file()
        },
    }
    secrets = [token, session, "planted-", "cGxhbnRlZ", base64.b64encode(b":".join(map(str.encode, admin))).decode()]
    assert "127.0.0.1" in texts["the log"]
    assert [(place, secret) for place, text in texts.items() for secret in secrets if secret in text] == []
    kept = [tmp_path / "mistk-state", *(tmp_path / "mistk-state").rglob("*")]
    assert {(path.is_dir(), oct(mode(path))) for path in kept} == {(True, "0o700"), (False, "0o600")}
