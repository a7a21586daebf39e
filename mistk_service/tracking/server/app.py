"""The tracking server as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from starlette.types import ASGIApp

from mistk_service.resources import contract_path
from mistk_service.tracking.artifacts import AllowedLocations, ArtifactRepository
from mistk_service.tracking.artifacts.locations import Locations
from mistk_service.tracking.server.endpoints import Endpoints
from mistk_service.tracking.server.gitlab import GitLabOperations, GitLabTransfers
from mistk_service.tracking.server.operations import Operations
from mistk_service.tracking.server.paths import Spellings
from mistk_service.tracking.server.projects import Projects
from mistk_service.tracking.server.routing import below, load_contract, routed
from mistk_service.tracking.server.transfers import Transfers
from mistk_service.tracking.store._store import Store

__all__ = ["MAX_BODY", "create_tracking_app"]

#: Bytes that a JSON body may have unless something else is said, where its operation has no smaller limit.
MAX_BODY = 64 << 20

#: Threads for what blocks: reads of the database, and files.
_THREADS = 16


def create_tracking_app(
    store: Store,
    artifacts: ArtifactRepository,
    *,
    max_body: int = MAX_BODY,
    allowed: AllowedLocations = AllowedLocations(),  # noqa: B008
) -> ASGIApp:
    """Return the application that serves MLflow's REST API out of a store, and GitLab's dialect of it for each project.

    Args:
        store: the tracked things; it belongs to the caller, who closes it after the application has stopped.
        artifacts: where files go.
        max_body: bytes that a JSON body may have; artifacts have no limit.
        allowed: where clients may want artifacts to be kept.

    Raises:
        ContractNotFound: the file with the contract is missing from the installation.
        ResolverError: the contract has an operationId that nothing answers.
    """
    executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="tracking")

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:  # noqa: ARG001 - that is its signature
        yield
        executor.shutdown(wait=True)

    locations = Locations(store, artifacts, allowed)
    document = load_contract(contract_path("mlflow-api.yaml"))
    transfers = Transfers(store, locations, executor, document)
    endpoints = Endpoints(Operations(store, locations), transfers, store, executor, max_body)
    projects = Projects(store)
    dialect = Endpoints(
        GitLabOperations(store, locations, projects),
        GitLabTransfers(transfers, locations, projects, executor),
        store,
        executor,
        max_body,
    )

    def resolve(operation_id: str) -> ASGIApp:
        in_project = operation_id.removeprefix("project:")
        return endpoints(operation_id) if in_project == operation_id else dialect(in_project)

    paths = {**document["paths"], **below(load_contract(contract_path("gitlab-mlflow-api.yaml")))}
    return Spellings(routed({**document, "paths": paths}, resolve, lifespan))
