"""Services for the tests: a shared one that is reset for each test, and separate ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service.harness import OBEDIENT, RECORD, RUNNING, Service

#: What starts a service of a test's own: options, ``model=`` (by default the obedient one), ``env=``.
Start = Callable[..., Service]


#: Seconds for a test, most of which start several processes; a limit costs time only where something hangs.
LIMIT = 150


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of the service time for their processes, on a busy machine too."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(LIMIT))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Show what the services printed where a test failed."""
    report = yield
    if report.failed:
        for service in RUNNING:
            report.sections.append((f"output of the service {service.process.pid}", service.output()))
    return report


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start services that end with the test. Their working directory is the test's own."""
    services: list[Service] = []

    def start_one(*options: str, model: str = OBEDIENT, env: dict[str, str] | None = None, **more: Any) -> Service:
        services.append(Service("serve", model, "--port", "0", *options, cwd=tmp_path, env=env, **more))
        return services[-1]

    yield start_one
    for service in services:
        service.end()


@pytest.fixture
def worker() -> str:
    """The kind of worker; a test that concerns both kinds is parametrised with it."""
    return "process"


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Service]]:
    """The shared services by kind of worker."""
    services: dict[str, Service] = {}
    yield services
    for service in services.values():
        service.end()


@pytest.fixture
def service(pool: dict[str, Service], worker: str, tmp_path_factory: pytest.TempPathFactory) -> Service:
    """A service of the obedient model in the state ``started``, shared with other tests one after another."""
    shared = pool.get(worker)
    if shared is None or shared.process.poll() is not None:
        if shared is not None:
            shared.end()
        options = ("--port", "0", "--worker", worker, "--max-body", str(MAX_BODY))
        shared = pool[worker] = Service("serve", OBEDIENT, *options, cwd=tmp_path_factory.mktemp("service"))
    status = shared.status()
    if status["state"] != "started":
        shared.wait_for_state("started", shared.post("reset"))
    return shared


#: The limit on bodies of the shared services, in bytes.
MAX_BODY = 64 * 1024


@pytest.fixture
def ready(pool: dict[str, Service], request: pytest.FixtureRequest) -> Service:
    """The shared service in the state ``ready``, for tests that change nothing or nothing of importance."""
    shared = pool.get("process")
    if shared is None or shared.process.poll() is not None or shared.status()["state"] != "ready":
        shared = request.getfixturevalue("service")
        shared.make_ready()
    return shared


@pytest.fixture
def unchanged(ready: Service) -> Iterator[Service]:
    """A ready service that the test must leave exactly as it was, and able to work."""
    before = ready.settled()
    yield ready
    assert ready.status() == before
    assert ready.post("streamPredict", {"a": RECORD}) == {"a": {"echo": "record", "details": False}}


@pytest.fixture
def fresh(service: Service) -> Iterator[Service]:
    """A service that nobody has initialized, nor shall."""
    before = service.settled()
    yield service
    assert service.status() == before
