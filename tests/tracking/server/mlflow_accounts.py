"""MLflow's own clients for accounts, used by an admin: ``mlflow_accounts.py URL EXPERIMENT_ID``."""

import os
import sys
import uuid

import mlflow
import pytest
from mlflow.exceptions import RestException
from mlflow.server import get_app_client

url, experiment = sys.argv[1:]
client, name = get_app_client("basic-auth", tracking_uri=url), f"user-{uuid.uuid4().hex[:8]}"

made = client.create_user(name, "correct horse battery")
assert (made.username, made.is_admin) == (name, False)
assert client.get_user(name).id == made.id
client.update_user_admin(name, True)
assert client.get_user(name).is_admin
client.update_user_admin(name, False)
client.update_user_password(name, "another long password")
client.grant_user_permission(name, "experiment", experiment, "EDIT")
found = client.get_user_permission(name, "experiment", experiment)
assert (found.allowed, found.permission) == (True, "EDIT"), found
client.revoke_user_permission(name, "experiment", experiment)
assert client.get_user_permission(name, "experiment", experiment).permission == "READ"
role = client.list_user_roles(name)[0]
assert (role.name, role.workspace, role.permissions) == (f"__user_{made.id}__", "default", [])
assert client.add_role_permission(role.id, "experiment", experiment, "MANAGE").resource_pattern == experiment
assert [each.permission for each in client.list_role_permissions(role.id)] == ["MANAGE"]
assert client.get_role(role.id).permissions[0].resource_type == "experiment"
assert [each.user_id for each in client.list_role_users(role.id)] == [made.id]
assert role.id in [each.id for each in client.list_all_roles()] == [each.id for each in client.list_roles("default")]
assert client.list_roles("other") == []
with pytest.raises(RestException, match="Invalid permission"):
    client.add_role_permission(role.id, "experiment", experiment, "DENY")
with pytest.raises(RestException, match="not found"):
    client.get_role(10**6)
client.delete_user(name)
with pytest.raises(RestException, match="not found"):
    client.get_user(name)


def log_in(name, password):
    os.environ.update(MLFLOW_TRACKING_USERNAME=name, MLFLOW_TRACKING_PASSWORD=password)


owner, other, password = "an-owner", "another", "correct horse battery"
for user in (owner, other):
    client.create_user(user, password)
mlflow.set_tracking_uri(url)
log_in(owner, password)
with mlflow.start_run(experiment_id=mlflow.MlflowClient().create_experiment(uuid.uuid4().hex)) as run:
    mlflow.log_metric("loss", 1.0)
    mlflow.log_text("x", "a.txt")
log_in(other, password)
assert mlflow.MlflowClient().get_run(run.info.run_id).data.metrics == {"loss": 1.0}
with pytest.raises(RestException, match="PERMISSION_DENIED"):
    mlflow.MlflowClient().log_metric(run.info.run_id, "loss", 2.0)
log_in(other, "wrong wrong wrong")
with pytest.raises(RestException, match="UNAUTHENTICATED"):
    mlflow.MlflowClient().get_run(run.info.run_id)
