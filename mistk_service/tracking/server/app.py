"""The tracking server as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from starlette.types import ASGIApp

from mistk_service.resources import load_contract
from mistk_service.tracking.artifacts import AllowedLocations, ArtifactRepository
from mistk_service.tracking.artifacts.locations import Locations
from mistk_service.tracking.server.endpoints import Endpoints, Handler
from mistk_service.tracking.server.gitlab import GitLabOperations, GitLabTransfers
from mistk_service.tracking.server.mlflow_ui import MlflowUI
from mistk_service.tracking.server.operations import OPERATIONS
from mistk_service.tracking.server.operations.accounts import AccountOperations
from mistk_service.tracking.server.operations.roles import RoleOperations
from mistk_service.tracking.server.permissions import Permissions
from mistk_service.tracking.server.projects import Projects
from mistk_service.tracking.server.reading import fields_reader
from mistk_service.tracking.server.transfers import Transfers
from mistk_service.tracking.server.url_paths import Spellings, answer, below
from mistk_service.tracking.server.users import Users, users_of
from mistk_service.tracking.store._store import Store
from mistk_service.tracking.values import Permission
from mistk_service.web.access import AccessRole
from mistk_service.web.contract import contract_app
from mistk_service.web.json_limits import JsonLimits

#: The default limit of a JSON body in bytes; an operation may have a smaller one.
MAX_BODY = 64 << 20

#: The maximum number of concurrent uploads of files.
MAX_UPLOADS = 256

#: Threads for blocking work: database reads and files.
THREADS = 16


def create_tracking_app(
    store: Store,
    artifacts: ArtifactRepository,
    *,
    max_body: int = MAX_BODY,
    allowed: AllowedLocations = AllowedLocations(),  # noqa: B008
    executor: Executor | None = None,
    mlflow_ui: bool = False,
    users: Users | None = None,
    default_permission: Permission = Permission.READ,
    max_uploads: int = MAX_UPLOADS,
) -> ASGIApp:
    """Return the application that serves a store with MLflow's REST API, and with GitLab's dialect of it for each project.

    Args:
        store: the store; the caller closes it after the application has stopped.
        artifacts: where files are kept.
        max_body: the limit of a JSON body in bytes; artifacts have no limit.
        allowed: artifact locations that clients may choose.
        executor: runs blocking work. It is shut down when the application's lifespan ends; a caller that serves the
            application without a lifespan has to pass an executor, and to shut it down.
        mlflow_ui: whether to serve MLflow's own web pages at ``/mlflow/``.
        users: the users; by default those in the store.
        default_permission: the permission of users without another one for a resource.
        max_uploads: the maximum number of concurrent uploads of files.

    Raises:
        ContractNotFound: the file with the contract is missing from the installation.
        SettingsError: MLflow's pages are not installed.
        AttributeError: the contract has an operationId without a method.
    """
    executor = executor or ThreadPoolExecutor(THREADS, thread_name_prefix="tracking")

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:  # noqa: ARG001 - that is its signature
        yield
        executor.shutdown(wait=True)

    locations = Locations(store, artifacts, allowed)
    document = load_contract("mlflow-api.yaml")
    transfers = Transfers(store, locations, executor, document, max_uploads)
    projects = Projects(store)
    users = users or users_of(lambda: store)
    permissions = Permissions(store, locations, projects, users, default_permission)
    accounts = (AccountOperations(users, permissions), RoleOperations(users, permissions))
    operations = [*(kind(store, locations) for kind in OPERATIONS), *accounts]
    endpoints = Endpoints(operations, transfers, store, executor, max_body)
    dialect = Endpoints(
        [GitLabOperations(store, locations, projects)],
        GitLabTransfers(transfers, locations, projects, executor),
        store,
        executor,
        max_body,
    )

    def find(operation_id: str) -> tuple[Endpoints, str]:
        in_project = operation_id.removeprefix("project:")
        return (endpoints if in_project == operation_id else dialect), in_project

    def resolve(operation_id: str) -> Handler:
        owner, name = find(operation_id)
        return owner.guarded(name, permissions, operation_id)

    def limits(operation_id: str) -> JsonLimits | None:
        owner, name = find(operation_id)
        return owner.limits(name)

    paths = {**document["paths"], **below(load_contract("gitlab-mlflow-api.yaml"))}
    app = contract_app(
        {**document, "paths": paths},
        resolve,
        limits=limits,
        answer=answer,
        reader=fields_reader,
        validate=False,  # the schemas cannot express how leniently MLflow reads fields
        role=lambda *_: AccessRole.VIEWER,  # the permissions decide
        executor=executor,
        lifespan=lifespan,
    )
    tracking = Spellings(app)
    return MlflowUI(tracking, store, executor) if mlflow_ui else tracking
