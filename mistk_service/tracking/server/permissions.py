"""The permissions of clients of the tracking API: one rule for each operationId.

A user of the store needs a permission for the experiment or the registered model that a request is about. A token has a role
instead: a viewer's and a predictor's reads everything, an operator's also changes everything but the accounts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from starlette.requests import Request

from mistk_service.errors import NotAllowed
from mistk_service.tracking.artifacts.locations import Locations
from mistk_service.tracking.errors import InvalidParameter, ResourceNotFound
from mistk_service.tracking.server.projects import Projects
from mistk_service.tracking.server.reading import query_of
from mistk_service.tracking.server.users import Users
from mistk_service.tracking.store._store import Store
from mistk_service.tracking.values import Grant, Permission, ResourceType, User
from mistk_service.tracking.values.limits import experiment_number
from mistk_service.tracking.wire import Fields
from mistk_service.web.access import AccessRole, Principal

READ, EDIT, MANAGE = Permission.READ, Permission.EDIT, Permission.MANAGE

#: Seconds for which a user's permissions are cached; changes by this process take effect at once.
_MEMORY = 5.0

#: The number of runs whose experiments are cached.
_KEPT = 100_000

_TYPES: dict[str, ResourceType] = {"experiment": "experiment", "registered_model": "registered_model"}

#: What names the experiments or the models that a request is about.
Subject = Literal[
    "run", "runs", "experiment", "experiment name", "logged model", "model", "place", "project", "resource"
]


@dataclass(frozen=True)
class Decision:
    """The requirements of an operation.

    Attributes:
        permission: the permission that a user needs for the experiments or models; None for no particular one.
        subject: what names them in the request; None for none in particular.
        kind: their type.
        admin: whether only admins may call it.
        filtered: whether the answer leaves out items that the user may not read.
        creates: whether the user gets MANAGE for the created resource.
        accounts: whether it is about accounts, so that a token needs the role of an admin.
        moves: whether it renames or deletes a model, and with it the permissions of all users for it.
    """

    permission: Permission | None = None
    subject: Subject | None = None
    kind: ResourceType = "experiment"
    admin: bool = False
    filtered: bool = False
    creates: bool = False
    accounts: bool = False
    moves: bool = False

    @property
    def role(self) -> AccessRole:
        """The role that a token needs."""
        if self.admin or self.accounts:
            return AccessRole.ADMIN
        return AccessRole.OPERATOR if self.permission in (EDIT, MANAGE) or self.creates else AccessRole.VIEWER


class Permissions:
    """Checks the permissions of users for their requests.

    Args:
        store: has the experiments of runs and logged models.
        locations: finds the owners of artifacts.
        projects: the projects of GitLab's dialect.
        users: the users.
        default: the permission of users without another one for a resource.
    """

    def __init__(
        self, store: Store, locations: Locations, projects: Projects, users: Users, default: Permission
    ) -> None:
        self._store = store
        self._locations = locations
        self._projects = projects
        self._users = users
        self._default = default
        self._experiments: dict[str, str] = {}
        self._grants: dict[int, tuple[float, dict[tuple[ResourceType, str], Permission]]] = {}

    def allows_role(self, operation_id: str, principal: Principal) -> bool:
        """Return whether the role of a client is enough; otherwise, the permissions of the user decide.

        Raises:
            NotAllowed: it is not enough, and the client is no user with permissions.
        """
        role = DECISIONS[operation_id].role
        if principal.user_id is None and principal.role < role:
            raise NotAllowed(
                f"Permission denied: {principal.name} has the role {principal.role.label}, and {operation_id} needs "
                f"{role.label}."
            )
        return principal.is_admin or principal.user_id is None

    def check(
        self, operation_id: str, principal: Principal, given: Fields | Request, parameters: Mapping[str, str]
    ) -> None:
        """Return if a user's request is allowed. May block.

        Raises:
            NotAllowed: it is not.
            StoreError: its resources cannot be found.
        """
        decision = DECISIONS[operation_id]
        if decision.admin:
            raise NotAllowed("Permission denied: only admins may do that.")
        if decision.subject is None or decision.permission is None:
            return
        fields = query_of(given.scope) if isinstance(given, Request) else given
        kind = resource_type_of(fields) if decision.subject == "resource" else decision.kind
        for resource in self._resources(decision.subject, fields, parameters):
            self._require(principal, decision.permission, kind, resource)
        if operation_id == "create_model_version":
            for experiment_id in self._sources_of(fields):
                self._require(principal, READ, "experiment", experiment_id)

    def _require(self, principal: Principal, needed: Permission, kind: ResourceType, resource: str) -> None:
        assert principal.user_id is not None
        permission = self._permission(principal.user_id, kind, resource)
        if not permission.allows(needed):
            raise NotAllowed(
                f"Permission denied: that needs the permission {needed} for the {kind.replace('_', ' ')} "
                f"{resource[:200]!r}, and {principal.name} has {permission}."
            )

    def visible(self, principal: Principal, operation_id: str) -> Callable[[str], bool] | None:
        """Return a predicate for the experiments or models that a user may see in the answer of an operation; None for all."""
        decision, user_id = DECISIONS[operation_id], principal.user_id
        if not decision.filtered or principal.is_admin or user_id is None:
            return None
        return lambda resource: self._permission(user_id, decision.kind, resource).allows(READ)

    def created(self, principal: Principal, operation_id: str, answer: bytes) -> None:
        """Give the user who created an experiment or a model MANAGE for it.

        Args:
            principal: the user.
            operation_id: the operation that created it.
            answer: the JSON of its answer.
        """
        assert principal.user_id is not None
        made, kind = msgspec.json.decode(answer), DECISIONS[operation_id].kind
        resource = made["experiment_id"] if kind == "experiment" else made["registered_model"]["name"]
        self._users.accounts.grant(Grant(principal.user_id, kind, resource, MANAGE))
        self.forget(principal.user_id)

    def effective(self, user: User, kind: ResourceType, resource: str) -> Permission:
        """Return a user's permission for an experiment or a model."""
        return MANAGE if user.is_admin else self._permission(user.id, kind, resource)

    def forget(self, user_id: int | None = None) -> None:
        """Read a user's permissions again, since they have changed; None for those of all."""
        if user_id is None:
            self._grants.clear()
        else:
            self._grants.pop(user_id, None)

    def _permission(self, user_id: int, kind: ResourceType, resource: str) -> Permission:
        known = self._grants.get(user_id)
        if known is None or known[0] < time.monotonic():
            found = {(g.resource_type, g.resource_id): g.permission for g in self._users.accounts.grants(user_id)}
            known = self._grants[user_id] = time.monotonic() + _MEMORY, found
        key = str(experiment_number(resource)) if kind == "experiment" else resource
        return known[1].get((kind, key), self._default)

    def _resources(self, subject: Subject, fields: Fields, parameters: Mapping[str, str]) -> list[str]:
        """Return the ids of the experiments, or the names of the models, that a request is about."""
        match subject:
            # Some operations read one of the two names, and some the other.
            case "run":
                return [self._experiment_of_run(each) for name in ("run_id", "run_uuid") if (each := fields.text(name))]
            case "runs":
                return [self._experiment_of_run(each) for name in ("run_id", "run_ids") for each in fields.texts(name)]
            case "experiment":
                experiment_id = fields.identifier("experiment_id")
                return [experiment_id] if experiment_id else []
            case "experiment name":
                return [self._store.get_experiment_by_name(fields.required_text("experiment_name")).experiment_id]
            case "logged model":
                return [self._store.get_logged_model(parameters["model_id"]).experiment_id]
            case "model":
                return [fields.required_text("name")]
            case "place":
                return [self._experiment_of_place(parameters.get("artifact_path") or fields.text("path") or "")]
            case "project":
                return [self._projects.project(parameters["project"]).experiment_id]
            case "resource":
                return [fields.required_text("resource_id")]

    def _experiment_of_run(self, run_id: str) -> str:
        """Return the experiment of a run, which never changes."""
        if run_id not in self._experiments:
            if len(self._experiments) >= _KEPT:
                self._experiments.clear()
            self._experiments[run_id] = self._store.get_run(run_id).info.experiment_id
        return self._experiments[run_id]

    def _experiment_of_place(self, place: str) -> str:
        """Return the experiment whose artifacts are at a path below the artifact root.

        Raises:
            NotAllowed: they do not belong to an experiment, so only admins may access them.
        """
        first = place.strip("/").partition("/")[0]
        if first.isdecimal():
            return first
        owner = self._locations.owner(place)
        if owner is None:
            raise NotAllowed("Permission denied: the path belongs to no experiment.")
        return self._experiment_of_run(owner[0])

    def _sources_of(self, fields: Fields) -> list[str]:
        """Return the experiments whose files become a model version."""
        found = [self._experiment_of_run(run_id)] if (run_id := fields.text("run_id")) else []
        if model_id := fields.text("model_id"):
            found.append(self._store.get_logged_model(model_id).experiment_id)
        with suppress(InvalidParameter, ResourceNotFound):  # this server does not store it, or the store refuses it
            found.append(self._experiment_of_place(self._locations.place(fields.required_text("source"), "")))
        return found


def resource_type_of(fields: Fields) -> ResourceType:
    """Return the resource type of a permission.

    Raises:
        InvalidParameter: users have no permissions for that.
    """
    given = fields.required_text("resource_type")
    if given not in _TYPES:
        raise InvalidParameter(
            f"Invalid resource type '{given[:80]}'. Valid resource types are: {tuple(_TYPES)}", field="resource_type"
        )
    return _TYPES[given]


def permission_of(fields: Fields) -> Permission:
    """Return the permission that a request names.

    Raises:
        InvalidParameter: there is no permission with that name.
    """
    given = fields.required_text("permission")
    if given not in list(Permission):
        raise InvalidParameter(
            f"Invalid permission '{given[:80]}'. Valid permissions are: {tuple(map(str, Permission))}",
            field="permission",
        )
    return Permission(given)


def require_self(fields: Fields, username: str) -> None:
    """Refuse a request about another user, unless the client is an admin.

    Raises:
        NotAllowed: it is about another user.
    """
    principal = fields.principal
    if principal is None or principal.is_admin or (principal.user_id is not None and principal.name == username):
        return
    raise NotAllowed("Permission denied: only the user and admins may do that.")


def _all(names: str, *arguments: Any, **more: Any) -> dict[str, Decision]:
    decision = Decision(*arguments, **more)
    return dict.fromkeys(names.split(), decision)


_IN_PROJECT = """log_metric log_batch log_param set_tag create_run get_run update_run delete_run search_runs get_metric_history
    create_experiment get_experiment get_experiment_by_name list_experiments search_experiments delete_experiment
    set_experiment_tag list_artifacts download_artifact upload_artifact"""


def _project_permission(name: str) -> Permission:
    if name.startswith(("get_", "list_", "search_", "download_")):
        return READ
    return MANAGE if name.startswith("delete_") else EDIT


#: The requirements of each operation of the tracking API. Operations that are refused to everybody have none.
DECISIONS: dict[str, Decision] = {
    **_all("get_run get_metric_history list_artifacts get_run_artifact get_run_archive", READ, "run"),
    **_all("get_metric_history_bulk get_metric_history_bulk_interval get_metric_columns", READ, "runs"),
    **_all(
        "log_metric log_batch log_param set_tag delete_tag log_inputs log_outputs log_model update_run upload_run_artifact",
        EDIT,
        "run",
    ),
    **_all("delete_run restore_run", MANAGE, "run"),
    **_all("get_experiment", READ, "experiment"),
    **_all("get_experiment_by_name", READ, "experiment name"),
    **_all(
        "create_run update_experiment set_experiment_tag delete_experiment_tag create_logged_model",
        EDIT,
        "experiment",
    ),
    **_all("delete_experiment restore_experiment", MANAGE, "experiment"),
    **_all("create_experiment", creates=True),
    **_all("search_experiments search_experiments_by_query list_experiments", filtered=True),
    **_all("search_runs search_datasets search_logged_models", filtered=True),
    **_all("get_logged_model list_logged_model_artifacts get_logged_model_artifact", READ, "logged model"),
    **_all("finalize_logged_model set_logged_model_tags log_logged_model_params", EDIT, "logged model"),
    **_all("delete_logged_model delete_logged_model_tag", MANAGE, "logged model"),
    **_all("create_registered_model", kind="registered_model", creates=True),
    **_all(
        "search_registered_models list_registered_models search_model_versions", kind="registered_model", filtered=True
    ),
    **_all(
        """get_registered_model get_latest_versions get_latest_versions_by_query get_model_version_by_alias get_model_version
        get_model_version_download_uri get_model_version_artifact""",
        READ,
        "model",
        kind="registered_model",
    ),
    **_all(
        """update_registered_model set_registered_model_tag delete_registered_model_tag
        set_registered_model_alias create_model_version update_model_version transition_model_version_stage
        set_model_version_tag""",
        EDIT,
        "model",
        kind="registered_model",
    ),
    **_all("rename_registered_model", EDIT, "model", kind="registered_model", moves=True),
    **_all("delete_registered_model", MANAGE, "model", kind="registered_model", moves=True),
    **_all(
        "delete_registered_model_alias delete_model_version delete_model_version_tag",
        MANAGE,
        "model",
        kind="registered_model",
    ),
    **_all("list_proxied_artifacts download_artifact", READ, "place"),
    **_all("upload_artifact", EDIT, "place"),
    **_all("delete_artifact", MANAGE, "place"),
    **_all("get_presigned_download_url", READ),
    **_all(
        """create_presigned_upload_url create_presigned_download_url create_multipart_upload complete_multipart_upload
        abort_multipart_upload""",
        EDIT,
    ),
    **_all("get_server_info get_contract get_health get_version list_users get_current_user"),
    **_all("list_current_user_permissions"),
    **_all("get_user list_user_permissions get_user_permission update_user_password", accounts=True),
    **_all("get_role list_role_permissions list_role_users list_user_roles", accounts=True),
    **_all("create_user update_user_admin delete_user list_roles add_role_permission", admin=True),
    **_all(
        """create_experiment_permission get_experiment_permission update_experiment_permission
        delete_experiment_permission""",
        MANAGE,
        "experiment",
        accounts=True,
    ),
    **_all(
        """create_registered_model_permission get_registered_model_permission update_registered_model_permission
        delete_registered_model_permission""",
        MANAGE,
        "model",
        kind="registered_model",
        accounts=True,
    ),
    **_all("grant_user_permission revoke_user_permission", MANAGE, "resource", accounts=True),
    **{f"project:{name}": Decision(_project_permission(name), "project") for name in _IN_PROJECT.split()},
}
