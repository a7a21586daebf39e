"""Fixtures for all tests: good and bad models, a container without HTTP, and timeouts for every wait."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import certifi
import pytest
from hypothesis import HealthCheck, settings

from tests.support.distribution import BySharing, is_short
from tests.support.examples import LONG, LONG_FACTOR
from tests.support.harness import Gate, Instance
from tests.support.s3 import s3_server

# How long an example takes tells how busy the machine is. --hypothesis-profile=long, which is loaded later, tries thousands.
settings.register_profile("any machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(LONG, settings.get_profile("any machine"), max_examples=100 * LONG_FACTOR)
settings.load_profile("any machine")


#: Seconds for all examples of a property, unless the test itself says how many.
EXAMPLES = 240
#: The same in the profile that tries thousands.
LONG_EXAMPLES = 6 * 3600


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> BySharing:
    """Let tests that share something expensive run in one process, in the order in which they are collected."""
    config.option.loadscopereorder = False
    return BySharing(config, log)


def pytest_configure(config: pytest.Config) -> None:
    """Let clients of HTTP trust one authority only, since each of them reads all certificates, which takes 30 ms or more.

    The processes that tests start inherit this; none of them needs the internet.
    """
    file = tempfile.NamedTemporaryFile("w", suffix=".pem")  # noqa: SIM115 - it is needed until the end
    end = "-----END CERTIFICATE-----\n"
    file.write(certifi.contents().partition(end)[0] + end)
    file.flush()
    environment = pytest.MonkeyPatch()
    environment.setenv("SSL_CERT_FILE", file.name)
    config.add_cleanup(environment.undo)
    config.add_cleanup(file.close)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--nightly", action="store_true", help="run the tests that take minutes or disturb others too")
    parser.addoption("--ray", action="store_true", help="run the tests of workers on Ray")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test of workers with each kind."""
    marks = metafunc.definition.iter_markers("parametrize")
    if "kind" in metafunc.fixturenames and not any("kind" in mark.args[0] for mark in marks):
        kinds = ["ray"] if metafunc.config.getoption("--ray") else ["thread", "process"]
        metafunc.parametrize("kind", kinds, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give what tries many examples the time for that, on a busy machine too, and skip what takes minutes."""
    items.sort(key=is_short)
    if config.getoption("--ray"):
        items[:] = [item for item in items if _is_of_workers(item)]
    for item in items:
        if item.get_closest_marker("nightly") and not config.getoption("--nightly"):
            item.add_marker(pytest.mark.skip(reason="takes minutes or disturbs others: give --nightly"))
        property_ = item.get_closest_marker("hypothesis") or getattr(
            getattr(item, "obj", None), "is_hypothesis_test", False
        )
        if property_ and settings.get_current_profile_name() == LONG:
            item.add_marker(pytest.mark.timeout(LONG_EXAMPLES), append=False)
        elif property_ and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(EXAMPLES))


def _is_of_workers(item: pytest.Item) -> bool:
    """Return whether a test starts a worker that may be an actor of Ray, or uses Ray itself."""
    fixtures = set(getattr(item, "fixturenames", ()))
    if "integrations" in item.path.parts:
        return True
    return bool({"hire", "launch", "kind", "isolated"} & fixtures) and item.get_closest_marker("local") is None


@pytest.fixture
def isolated(request: pytest.FixtureRequest) -> str:
    """The kind of worker that tests mean by a process."""
    return "ray" if request.config.getoption("--ray") else "process"


@pytest.fixture
def anyio_backend() -> str:
    """Tests that are coroutines run on asyncio, as the service does."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A command that a test runs in this process sets the levels of loggers; the next test does not see them."""
    before = {logger: logger.level for logger in _loggers()}
    yield
    for logger in _loggers():
        level = before.get(logger, logging.NOTSET)
        if logger.level != level:  # to set a level costs a look at every logger there is
            logger.setLevel(level)


def _loggers() -> list[logging.Logger]:
    """Return all loggers, the root too."""
    made = logging.root.manager.loggerDict.values()
    return [logging.root, *(each for each in made if isinstance(each, logging.Logger))]


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of worker."""
    return request.param


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that speaks S3's protocol."""
    with s3_server(tmp_path_factory.mktemp("s3")) as url:
        yield url


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """A gate at which steered models wait."""
    with Gate(tmp_path / "gate") as gate:
        yield gate


@pytest.fixture
async def launch(gate: Gate, isolated: str) -> AsyncIterator[Callable[..., Any]]:
    """Returns ``await launch(model, kind, ...)``: an instance that has its model, and is cleared away after the test."""
    async with AsyncExitStack() as stack:

        async def launch(model: str, kind: str = "process", *, loaded: bool = True, **options: Any) -> Instance:
            instance = Instance(model, isolated if kind == "process" else kind, **options)
            stack.push_async_callback(instance.close)
            # Before the instance is closed, so that a thread that waits at the gate gets an end of the file.
            stack.callback(gate.close)
            await instance.start(loaded=loaded)
            return instance

        yield launch
