"""Every operation of every API, requested with every role."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mistk_service.client import ModelClient
from mistk_service.resources import load_contract, plugins_path
from tests.service.harness import API, OBEDIENT, Service, run, wait_until
from tests.support.harness import reference

ROLES = ("viewer", "predictor", "operator", "admin")

#: The lowest role that may do what only answers, by operationId, where it is not a viewer that reads with GET.
PREDICTS = {
    "streamPredict",
    "infer",
    "version_infer",
    "generate_stream",
    "version_generate",
    "version_generate_stream",
    "predict",
    "invocations",
    "chat_completion",
    "completion",
}
ADMINISTERS = {
    "terminate",
    "create_user",
    "get_user",
    "list_user_permissions",
    "get_user_permission",
    "update_user_admin",
    "update_user_password",
    "delete_user",
    "grant_user_permission",
    "revoke_user_permission",
    "list_roles",
    "get_role",
    "list_role_permissions",
    "list_role_users",
    "list_user_roles",
    "add_role_permission",
}

#: What MLflow's clients ask for with POST although it only reads.
READS = re.compile(r"(get|search|list|download)_")  # without a body

#: The contracts of all doors.
DOORS = (
    "mistk-api.yaml",
    "inference-api.yaml",
    "kserve-v1-api.yaml",
    "invocations-api.yaml",
    "openai-api.yaml",
    "mlflow-api.yaml",
    "gitlab-mlflow-api.yaml",
)


#: A class of each further kind of container.
KINDS = {
    "evaluation": reference("steered:SteeredEvaluation"),
    "transform": f"{plugins_path() / 'tabular_transform' / 'transform.py'}:TabularTransform",
    "agent": reference("steered:SteeredAgent"),
    "orchestrator": reference("steered:SteeredOrchestrator"),
}


def operations(contract: str) -> Iterator[tuple[str, str, str]]:
    """Every operation of a contract: its method, path and operationId."""
    document = load_contract(contract)
    base = document.get("basePath") or (document["servers"][0]["url"] if "gitlab" in contract else "")
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in ("get", "post", "put", "patch", "delete"):
                filled = re.sub(r"\{[^}]*\}", "x", base + path)
                yield method.upper(), filled, operation["operationId"]


def needed(contract: str, method: str, operation_id: str) -> str:
    """The lowest role that may call an operation."""
    if contract == "mistk-api.yaml" and operation_id == "predict":
        return "operator"  # an activity of the lifecycle, unlike KServe's operation of this name
    if operation_id in PREDICTS or (contract == "inference-api.yaml" and operation_id == "generate"):
        return "predictor"
    if operation_id in ADMINISTERS or operation_id.endswith(("experiment_permission", "model_permission")):
        return "admin"
    reads = READS.match(operation_id) if "mlflow" in contract else method == "GET" or operation_id == "index"
    return "viewer" if reads else "operator"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("accounts")


@pytest.fixture(scope="module")
def tokens(folder: Path) -> dict[str, str]:
    """A token for each role, made with the command."""
    made = {}
    for role in ROLES:
        code, out, err = run("token", "new", f"a-{role}", "--role", role, cwd=folder)
        assert (code, err) == (0, "")
        made[role] = out.strip()
    return made


@pytest.fixture(scope="module")
def service(folder: Path, tokens: dict[str, str]) -> Iterator[Service]:
    with Service("serve", OBEDIENT, "--port", "0", "--host", "0.0.0.0", cwd=folder) as running:
        yield running


def ask(service: Service, method: str, path: str, token: str | None, **options: Any) -> httpx.Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    headers |= options.pop("headers", {})
    return service.api.request(method, f"http://127.0.0.1:{service.port}{path}", headers=headers, **options)


@pytest.mark.parametrize("contract", DOORS)
@pytest.mark.parametrize("role", [None, *ROLES])
def test_a_role_may_do_what_it_is_for_and_nothing_else(
    service: Service, tokens: dict[str, str], contract: str, role: str | None
) -> None:
    wrong = []
    for method, path, operation_id in operations(contract):
        lowest = needed(contract, method, operation_id)
        if role == "admin" and operation_id == "terminate":
            continue  # it may, and the service would end
        body: dict[str, Any] = {} if method == "GET" else {"json": {}}
        answer = ask(service, method, path, tokens.get(role or ""), **body)
        if role is None:
            fits = answer.status_code == 401 or path in ("/health", "/ping")
        elif ROLES.index(role) < ROLES.index(lowest):
            fits = answer.status_code == 403 and lowest in answer.text
        else:
            fits = answer.status_code not in (401, 403, 500)
        if not fits:
            wrong.append(f"{method} {path} ({lowest}): {answer.status_code} {answer.text[:200]}")
    assert wrong == []


@pytest.mark.parametrize("kind", ["evaluation", "transform", "agent", "orchestrator"])
def test_a_role_may_do_the_same_with_every_kind_of_container(folder: Path, tokens: dict[str, str], kind: str) -> None:
    contract = f"mistk-{kind}-api.yaml"
    base = load_contract(contract)["basePath"]
    wrong = []
    command = ["serve", KINDS[kind], "--port", "0", "--auth", "--no-tracking"]
    with Service(*command, cwd=folder, begun="Listening at") as service:
        for method, path, operation_id in operations(contract):
            name = path.removeprefix(f"{base}/")
            lowest = (
                "viewer" if method == "GET" else {"getAction": "predictor", "shutdown": "admin"}.get(name, "operator")
            )
            answers = [ask(service, method, path, tokens.get(role or "")) for role in (None, *ROLES[:3])]
            codes = [answer.status_code for answer in answers]
            refused = ROLES.index(lowest)
            if codes[0] != 401 or {401, 403, 500} & set(codes[1:][refused:]) or set(codes[1:][:refused]) - {403}:
                wrong.append(f"{method} {path} {operation_id} ({lowest}): {codes}")
    assert wrong == []


@pytest.mark.parametrize(
    "path", ["/", "/static/shell.js", "/page/about", "/metrics", f"{API}/swagger.json", f"{API}/ui/", "/nowhere"]
)
def test_the_page_the_figures_and_the_contract_are_for_viewers(
    service: Service, tokens: dict[str, str], path: str
) -> None:
    assert ask(service, "GET", path, None).status_code == 401
    assert ask(service, "GET", path, tokens["viewer"]).status_code in (200, 404)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/health"])
def test_probes_need_no_log_in(service: Service, path: str) -> None:
    assert ask(service, "GET", path, None).status_code in (200, 503)
    assert ask(service, "POST", path, None).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "//healthz/../v1/mistk/status",
        "/healthz/",
        "/%68ealthz/../metrics",
        "/metrics?/healthz",
        "//metrics",
        "/./metrics",
    ],
)
def test_no_spelling_of_a_path_leads_around_the_log_in(service: Service, path: str) -> None:
    with httpx.Client() as client:
        request = client.build_request("GET", f"http://127.0.0.1:{service.port}/")
        request.url = request.url.copy_with(raw_path=path.encode())
        assert client.send(request).status_code == 401


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer wrong",
        "bearer \xff",
        "Basic",
        "Basic !!!",
        "Basic YTpi",
        "Negotiate x",
        "x" * 50_000,
    ],
)
def test_wrong_credentials_are_refused_in_one_way(service: Service, header: str) -> None:
    answer = ask(service, "GET", f"{API}/status", None, headers={"Authorization": header.encode("latin-1")})
    assert answer.status_code == 401
    assert answer.json()["code"] == 401
    assert "Bearer" in answer.headers["www-authenticate"]


def test_errors_come_in_the_form_of_each_door(service: Service, tokens: dict[str, str]) -> None:
    assert ask(service, "GET", "/api/2.0/mlflow/runs/get", None).json()["error_code"] == "UNAUTHENTICATED"
    refused = ask(service, "POST", "/api/2.0/mlflow/runs/create", tokens["viewer"], json={})
    assert refused.json()["error_code"] == "PERMISSION_DENIED"
    assert "error" in ask(service, "GET", "/v2", None).json()


@pytest.mark.parametrize("change", ["the token is removed", "the role is taken away"])
def test_a_watch_ends_when_its_account_changes(
    service: Service, tokens: dict[str, str], folder: Path, change: str
) -> None:
    ask(service, "POST", f"{API}/reset", tokens["operator"], json={})
    wait_until(lambda: '"started"' in ask(service, "GET", f"{API}/status", tokens["viewer"]).text)
    _, out, _ = run("token", "new", "guest", "--role", "operator", cwd=folder)
    file = folder / "mistk-state" / "tokens"
    headers = {"Authorization": f"Bearer {out.strip()}"}
    url = f"http://127.0.0.1:{service.port}{API}/status?watch=true"
    with service.api.stream("GET", url, headers=headers) as watch:
        parts = watch.iter_bytes()
        assert next(parts)
        _change(file, change)
        ask(service, "POST", f"{API}/initialize", tokens["operator"], json={})
        assert b"initialized" not in b"".join(parts)  # and it ends
    answer = ask(service, "POST", f"{API}/reset", out.strip(), json={})
    assert answer.status_code == (401 if change == "the token is removed" else 403)
    assert "guest" in service.wait_for_line("its account has changed")
    _change(file, "the token is removed")


def _change(file: Path, what: str) -> None:
    """Change the guest's token."""
    lines = file.read_text().splitlines(keepends=True)
    if what == "the token is removed":
        file.write_text("".join(line for line in lines if not line.startswith("guest ")))
    else:
        file.write_text("".join(lines).replace("guest operator", "guest viewer"))


def test_an_answer_in_parts_ends_when_its_account_changes(tmp_path: Path) -> None:
    tokens = [run("token", "new", name, "--role", "admin", cwd=tmp_path)[1].strip() for name in ("guest", "admin")]
    guest, admin = ({"Authorization": f"Bearer {token}"} for token in tokens)
    model = reference("in_parts:InParts")
    with Service("serve", model, "--port", "0", "--auth", cwd=tmp_path, begun="Listening at") as service:
        with ModelClient(service.url, headers=admin) as client:
            client.wait_for("initialized", since=client.initialize(["streaming_prediction"]))
            client.wait_for("ready", since=client.build_model())
            with service.api.stream("POST", "/streamPredict", json={"n": "-1"}, headers=guest) as response:
                parts = response.iter_bytes()
                assert b"part" in next(parts)
                _change(tmp_path / "mistk-state" / "tokens", "the token is removed")
                for _ in parts:  # they would never end by themselves
                    pass
            wait_until(lambda: "closed" in client.status().payload)


def test_without_a_token_a_service_does_not_listen_beyond_the_machine(tmp_path: Path) -> None:
    for command in (
        ["serve", OBEDIENT, "--port", "0", "--host", "0.0.0.0"],
        [OBEDIENT.split(":")[0], "Obedient", "0"],
        ["tracking", "serve", "--port", "0", "--host", "0.0.0.0"],
    ):
        code, _, err = run(*command, cwd=tmp_path)
        assert code == 1, err
        assert "mistk-service token new" in err


def test_a_service_may_be_insecure_and_its_log_says_so(tmp_path: Path) -> None:
    with Service(
        "serve", OBEDIENT, "--port", "0", "--host", "0.0.0.0", cwd=tmp_path, env={"MISTK_INSECURE": "1"}
    ) as open_one:
        assert open_one.status()["state"] == "started"
        assert "everybody who reaches the port" in open_one.wait_for_line("--insecure")


def test_the_admin_may_end_the_service(service: Service, tokens: dict[str, str]) -> None:
    assert ask(service, "POST", f"{API}/shutdown", tokens["admin"]).status_code == 200
    assert service.wait_exit() == 0
