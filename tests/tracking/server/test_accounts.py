"""Users and permissions, judged by MLflow's own clients and by the requests of MLFlowClient.jl."""

import os
import uuid
from pathlib import Path

import httpx
import pytest

from tests.support.preloaded import CALM, run_python

ADMIN, PASSWORD = "root", "correct horse battery"


@pytest.fixture(scope="module")
def server(start_server, tmp_path_factory):
    env = {"MISTK_AUTH": "1", "MLFLOW_AUTH_ADMIN_USERNAME": ADMIN, "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD}
    with start_server(tmp_path_factory.mktemp("accounts"), env=env) as running:
        yield running


class Account:
    """A user and its requests."""

    def __init__(self, client, name, password=PASSWORD):
        self.name = name
        self.client = client
        self.auth = httpx.BasicAuth(name.encode(), password)

    def send(self, method, url, **options):
        return self.client.request(method, url, auth=self.auth, **options)

    def call(self, method, path, /, **arguments):
        """Send a request as MLFlowClient.jl does: a DELETE has its arguments in the query and in the body."""
        query = arguments if method in ("GET", "DELETE") else None
        body = None if method == "GET" else arguments
        return self.send(method, f"/api/2.0/mlflow/{path}", params=query, json=body)

    def done(self, method, path, /, **arguments):
        answer = self.call(method, path, **arguments)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def refused(self, method, path, code=403, /, **arguments):
        answer = self.call(method, path, **arguments)
        assert answer.status_code == code, f"{answer.status_code} {answer.text}"
        return answer.json()


@pytest.fixture(scope="module")
def client(server):
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def admin(client):
    return Account(client, ADMIN)


@pytest.fixture(scope="module")
def make(client, admin):
    def make_user():
        name = f"user-{uuid.uuid4().hex[:8]}"
        admin.done("POST", "users/create", username=name, password=PASSWORD)
        return Account(client, name)

    return make_user


@pytest.fixture(scope="module")
def owner(make):
    return make()


@pytest.fixture(scope="module")
def other(make):
    return make()


@pytest.fixture
def experiment(owner):
    return owner.done("POST", "experiments/create", name=uuid.uuid4().hex)["experiment_id"]


@pytest.fixture
def run_id(owner, experiment):
    return owner.done("POST", "runs/create", experiment_id=experiment)["run"]["info"]["run_id"]


@pytest.fixture
def model(owner):
    name = uuid.uuid4().hex
    owner.done("POST", "registered-models/create", name=name)
    return name


@pytest.mark.timeout(300)
def test_mlflows_clients_work_with_names_and_passwords(server, experiment):
    """In a process of its own, since MLflow's server warns when it is imported."""
    environment = {**os.environ, **CALM, "MLFLOW_TRACKING_USERNAME": ADMIN, "MLFLOW_TRACKING_PASSWORD": PASSWORD}
    script = Path(__file__).with_name("mlflow_accounts.py")
    run_python(str(script), server.url, experiment, env=environment, loaded="mlflow")


def test_the_requests_of_mlflowclient_jl_about_users_and_permissions_work(admin, owner, other, experiment, model):
    user = admin.done("GET", "users/get", username=other.name)["user"]
    assert user.keys() >= {"id", "username", "is_admin", "experiment_permissions", "registered_model_permissions"}
    for path, key, value in (
        ("experiments", "experiment_id", experiment),
        ("registered-models", "name", model),
    ):
        of = {key: value, "username": other.name}
        made = owner.done("POST", f"{path}/permissions/create", **of, permission="READ")
        (permission,) = made.values()
        assert permission == {key: value, "user_id": user["id"], "permission": "READ"}
        assert owner.done("GET", f"{path}/permissions/get", **of) == made
        assert owner.refused("POST", f"{path}/permissions/create", 400, **of, permission="EDIT")["error_code"] == (
            "RESOURCE_ALREADY_EXISTS"
        )
        assert owner.done("PATCH", f"{path}/permissions/update", **of, permission="EDIT") == {}
        (permission,) = owner.done("GET", f"{path}/permissions/get", **of).values()
        assert permission["permission"] == "EDIT"
        assert owner.done("DELETE", f"{path}/permissions/delete", **of) == {}
        owner.refused("GET", f"{path}/permissions/get", 404, **of)
        owner.refused("POST", f"{path}/permissions/create", 400, **of, permission="OWN")
        other.refused("POST", f"{path}/permissions/create", **of, permission="MANAGE")


def test_a_user_reads_by_default_and_changes_nothing(other, experiment, run_id, model):
    other.done("GET", "experiments/get", experiment_id=experiment)
    other.done("GET", "runs/get", run_id=run_id)
    other.done("GET", "registered-models/get", name=model)
    metric = {"key": "a", "value": 1, "timestamp": 1}
    for method, path, arguments in (
        ("POST", "runs/create", {"experiment_id": experiment}),
        ("POST", "runs/log-metric", {"run_id": run_id, **metric}),
        ("POST", "runs/log-metric", {"run_uuid": run_id, **metric}),
        ("POST", "runs/log-batch", {"run_id": run_id, "metrics": [metric]}),
        ("POST", "runs/log-batch", {"runId": run_id, "metrics": [metric]}),
        ("POST", "runs/set-tag", {"run_id": run_id, "key": "a", "value": "b"}),
        ("POST", "runs/update", {"run_id": run_id, "status": "FINISHED"}),
        ("POST", "runs/delete", {"run_id": run_id}),
        ("POST", "experiments/delete", {"experiment_id": experiment}),
        ("POST", "experiments/delete", {"experiment_id": f"00{experiment}"}),
        ("POST", "experiments/update", {"experiment_id": experiment, "new_name": "x"}),
        ("PATCH", "registered-models/update", {"name": model, "description": "x"}),
        ("DELETE", "registered-models/delete", {"name": model}),
        ("POST", "model-versions/create", {"name": model, "source": "file:///x"}),
        ("POST", "users/create", {"username": "x", "password": PASSWORD}),
        ("PATCH", "users/update-admin", {"username": other.name, "is_admin": True}),
        ("PATCH", "users/update-password", {"username": ADMIN, "password": "x" * 20}),
        ("DELETE", "users/delete", {"username": ADMIN}),
        ("GET", "users/get", {"username": ADMIN}),
    ):
        other.refused(method, path, **arguments)


def test_each_permission_allows_what_it_is_for(owner, other, experiment, run_id):
    of = {"experiment_id": experiment, "username": other.name}
    metric = {"run_id": run_id, "key": "a", "value": 1, "timestamp": 1}
    owner.done("POST", "experiments/permissions/create", **of, permission="EDIT")
    other.done("POST", "runs/log-metric", **metric)
    other.refused("POST", "runs/delete", run_id=run_id)
    owner.done("PATCH", "experiments/permissions/update", **of, permission="MANAGE")
    other.done("POST", "runs/delete", run_id=run_id)
    other.done("POST", "runs/restore", run_id=run_id)
    owner.done("PATCH", "experiments/permissions/update", **of, permission="NO_PERMISSIONS")
    other.refused("GET", "runs/get", run_id=run_id)
    other.refused("GET", "experiments/get", experiment_id=experiment)
    other.refused("GET", "experiments/get", experiment_id=f"0{experiment}")
    other.refused("GET", "metrics/get-history", run_id=run_id, metric_key="a")


def test_every_run_that_a_request_names_is_checked(owner, other, experiment, run_id):
    owner.done("POST", "runs/log-metric", run_id=run_id, key="a", value=1, timestamp=1)
    of = {"experiment_id": experiment, "username": other.name}
    owner.done("POST", "experiments/permissions/create", **of, permission="NO_PERMISSIONS")
    own = other.done("POST", "experiments/create", name=uuid.uuid4().hex)["experiment_id"]
    own_run = other.done("POST", "runs/create", experiment_id=own)["run"]["info"]["run_id"]
    other.refused("GET", "metrics/get-history-bulk", run_ids=own_run, run_id=run_id, metric_key="a")
    upload = {"run_id": own_run, "run_uuid": run_id, "path": "a.txt"}
    answer = other.send("POST", "/ajax-api/2.0/mlflow/upload-artifact", params=upload, content=b"text")
    assert answer.status_code == 403, answer.text
    assert "files" not in owner.done("GET", "artifacts/list", run_id=run_id)


def test_searches_leave_out_what_a_user_may_not_read(owner, other, experiment, run_id, model):
    owner.done(
        "POST",
        "experiments/permissions/create",
        experiment_id=experiment,
        username=other.name,
        permission="NO_PERMISSIONS",
    )
    owner.done(
        "POST", "registered-models/permissions/create", name=model, username=other.name, permission="NO_PERMISSIONS"
    )

    def seen(account):
        experiments = account.done("POST", "experiments/search", max_results=1000).get("experiments", [])
        listed = account.done("GET", "experiments/search", max_results=1000).get("experiments", [])
        runs = account.done("POST", "runs/search", experiment_ids=[f"0{experiment}"]).get("runs", [])
        models = account.done("GET", "registered-models/search", max_results=1000).get("registered_models", [])
        return (
            experiment in [each["experiment_id"] for each in experiments],
            experiment in [each["experiment_id"] for each in listed],
            run_id in [each["info"]["run_id"] for each in runs],
            model in [each["name"] for each in models],
        )

    assert seen(owner) == (True,) * 4
    assert seen(other) == (False,) * 4
    assert other.done("POST", "experiments/search", max_results=1).get("experiments")  # another one takes the place


def test_files_go_by_the_experiment_whose_they_are(owner, other, experiment, run_id):
    path = f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run_id}/artifacts/a.txt"
    assert other.send("PUT", path, content=b"x").status_code == 403
    assert owner.send("PUT", path, content=b"x").status_code == 200
    assert other.send("GET", path).content == b"x"
    assert other.send("DELETE", path).status_code == 403
    owner.done(
        "POST",
        "experiments/permissions/create",
        experiment_id=experiment,
        username=other.name,
        permission="NO_PERMISSIONS",
    )
    assert other.send("GET", path).status_code == 403
    listing = {"path": f"{experiment}/{run_id}/artifacts"}
    assert other.send("GET", "/api/2.0/mlflow-artifacts/artifacts", params=listing).status_code == 403
    assert other.send("GET", "/get-artifact", params={"run_id": run_id, "path": "a.txt"}).status_code == 403
    mine = uuid.uuid4().hex
    other.done("POST", "registered-models/create", name=mine)
    source = f"mlflow-artifacts:/{experiment}/{run_id}/artifacts"
    other.refused("POST", "model-versions/create", name=mine, source=source)
    other.refused("POST", "model-versions/create", name=mine, source=f"runs:/{run_id}/a")


def test_a_permission_follows_a_model_that_is_renamed(owner, other, model):
    owner.done("POST", "registered-models/permissions/create", name=model, username=other.name, permission="EDIT")
    owner.done("POST", "registered-models/rename", name=model, new_name=f"{model}-2")
    other.done("PATCH", "registered-models/update", name=f"{model}-2", description="x")
    owner.done("DELETE", "registered-models/delete", name=f"{model}-2")
    assert owner.name  # whoever makes the name anew starts anew
    owner.done("POST", "registered-models/create", name=f"{model}-2")
    other.refused("PATCH", "registered-models/update", name=f"{model}-2", description="x")


def test_a_password_is_changed_by_its_user_who_knows_it_and_the_old_one_ends_at_once(client, make):
    user, new = make(), "quite another password"
    change = {"username": user.name, "password": new}
    user.refused("PATCH", "users/update-password", 400, **change)
    user.refused("PATCH", "users/update-password", 400, **change, current_password="wrong wrong wrong")
    user.refused(
        "PATCH", "users/update-password", 400, username=user.name, password=PASSWORD, current_password=PASSWORD
    )
    user.done("PATCH", "users/update-password", **change, current_password=PASSWORD)
    assert user.call("GET", "users/current").status_code == 401
    assert Account(client, user.name, new).done("GET", "users/current")["user"]["username"] == user.name


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"username": "", "password": PASSWORD}, "Username"),
        ({"username": "a:b", "password": PASSWORD}, "Username"),
        ({"username": "line\nbreak", "password": PASSWORD}, "Username"),
        ({"username": "x" * 10_000, "password": PASSWORD}, "Username"),
        ({"username": "short", "password": "12345678901"}, "12 characters"),
        ({"username": "long", "password": "x" * 100_000}, "512"),
        ({"username": ADMIN, "password": PASSWORD}, "already exists"),
    ],
)
def test_a_user_that_cannot_be_is_refused(admin, arguments, part):
    assert part in admin.refused("POST", "users/create", 400, **arguments)["message"]


@pytest.mark.parametrize(
    "name", ["Ünïcode", "名前", "مستخدم", "👩🏽‍🚀"[0], "O'Brien; DROP TABLE users", "%00", "../../etc"]
)
def test_a_user_may_have_a_name_in_any_script(client, admin, name):
    admin.done("POST", "users/create", username=name, password=PASSWORD)
    account = Account(client, name)
    assert account.done("GET", "users/current") == {
        "user": {
            "id": admin.done("GET", "users/get", username=name)["user"]["id"],
            "username": name,
            "is_admin": False,
        },
        "is_basic_auth": True,
    }


def test_an_admin_cannot_delete_the_own_account_and_a_deleted_user_is_out(admin, make):
    admin.refused("DELETE", "users/delete", 400, username=ADMIN)
    user = make()
    user.done("GET", "users/current")
    admin.done("DELETE", "users/delete", username=user.name)
    assert user.call("GET", "users/current").status_code == 401


def test_the_password_is_nowhere_in_the_folder_of_the_server(server, admin):
    admin.done("GET", "users/list")
    for file in server.folder.rglob("*"):
        if file.is_file():
            assert PASSWORD.encode() not in file.read_bytes(), file


def test_a_token_file_that_is_named_and_holds_no_token_admits_nobody(start_server, tmp_path):
    with start_server(tmp_path, "--token-file", "later") as running:
        assert httpx.get(f"{running.url}/api/2.0/mlflow/experiments/get?experiment_id=0").status_code == 401
