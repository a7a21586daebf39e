"""The command line: options, environment, MISTK's form, and errors at the start."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import psutil
import pytest
import yaml
from click.testing import CliRunner

from mistk_service import __version__
from mistk_service.app.cli import main
from mistk_service.client import ModelClient
from mistk_service.web.contract.openapi3 import as_openapi3
from tests.service.conftest import Start
from tests.service.harness import OBEDIENT, REQUEST_TIMEOUT, Service, connect, refused, run, start, wait_until
from tests.support.remotes import reserved_port

#: A model that prints megabytes while it is trained.
PRINTS = f"{Path(__file__).parents[1] / 'models' / 'floods.py'}:PrintsMegabytes"

MODEL = """
from mistk_service import AbstractModel

class Good(AbstractModel):
    def do_stream_predict(self, data_map, details=False):
        return data_map

class Second(Good):
    pass

class Raises(AbstractModel):
    def __init__(self):
        raise RuntimeError("no weights here")

class Exits(AbstractModel):
    def __init__(self):
        raise SystemExit(0)

class Dies(AbstractModel):
    def __init__(self):
        import os
        print("about to die", flush=True)
        os._exit(9)

number = 5
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with modules, good and bad, in which the command is run."""
    package = tmp_path / "shop" / "models"
    package.mkdir(parents=True)
    (tmp_path / "shop" / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "good.py").write_text(MODEL)
    (tmp_path / "flat.py").write_text(MODEL)
    (tmp_path / "raises.py").write_text("import json\n1 / 0\n")
    (tmp_path / "imports.py").write_text("import a_library_that_nobody_has\n")
    (tmp_path / "syntax.py").write_text("def broken(:\n")
    (tmp_path / "empty.py").write_text("")
    return tmp_path


# --- what cannot be loaded --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("flat", ["'flat'", "package.module:Class"]),
        ("flat:", ["'flat:'", "package.module:Class"]),
        (":Good", ["':Good'"]),
        ("flat:Good:Better", ["flat:Good"]),
        ("flat.py", ["'flat.py'", "file.py:Class"]),
        ("no_such_module:Good", ["no_such_module", "no module"]),
        ("shop.no_such:Good", ["shop.no_such", "no module"]),
        ("nowhere/flat.py:Good", ["no file", "nowhere/flat.py"]),
        ("raises:Good", ["ZeroDivisionError", "division by zero", 'raises.py", line 2']),
        ("raises.py:Good", ["ZeroDivisionError", 'raises.py", line 2']),
        ("imports:Good", ["a_library_that_nobody_has", "ModuleNotFoundError", "imports.py"]),
        ("syntax.py:Good", ["SyntaxError", "syntax.py"]),
        ("flat:Missing", ["'Missing'", "Good, Second"]),
        ("empty.py:Good", ["'Good'", "no subclass"]),
        ("flat:number", ["5", "AbstractModel"]),
        ("flat:AbstractModel", ["AbstractModel itself"]),
        ("flat:Raises", ["constructor", "RuntimeError: no weights here", "__init__"]),
        ("flat:Exits", ["constructor", "SystemExit"]),
        ("flat:Dies", ["exit code 9", "about to die"]),
    ],
)
def test_a_model_that_cannot_be_had_ends_the_service_with_the_reason(
    folder: Path, reference: str, parts: list[str]
) -> None:
    code, _, err = run("serve", reference, "--port", "0", cwd=folder)
    assert code == 1
    assert [part for part in parts if part not in err] == []
    last = err.rstrip().splitlines()[-1]
    assert last.startswith("Error: "), err


@pytest.mark.parametrize("reference", ["no_such_module:Good", "raises:Good", "flat:Exits"])
def test_so_it_is_with_a_worker_thread(folder: Path, reference: str) -> None:
    code, _, err = run("serve", reference, "--port", "0", "--worker", "thread", cwd=folder)
    assert code == 1
    assert err.rstrip().splitlines()[-1].startswith(f"Error: '{reference}'"), err


def test_a_service_whose_model_is_still_loading_answers(folder: Path) -> None:
    (folder / "slow.py").write_text(MODEL + f"\nopen({str(folder / 'pipe')!r}).read()\n")
    os.mkfifo(folder / "pipe")
    file = folder / "url"
    arguments = ("serve", "slow.py:Good", "--port", "0", "--url-file", str(file))
    with Service(*arguments, cwd=folder, begun="Listening at ") as service:
        assert file.read_text() == f"{service.url}\n"
        status = service.status()
        assert status["state"] == "started"
        assert service.api.get(f"{service.url}/readyz").status_code == 503
        began = service.post("initialize", {})
        assert began["state"] == "initializing"
        assert not any(line.startswith("Serving ") for line in service.lines)
        (folder / "pipe").write_text("go on")
        assert service.wait_for_state("initialized", began)["objectInfo"]["name"] == "Good"
        assert service.wait_for_line(f"Serving slow.py:Good at {service.url}")
        service.post("shutdown")
        assert service.wait_exit() == 0
        assert not file.exists()


def test_a_state_directory_that_cannot_be_written_ends_the_start(folder: Path) -> None:
    (folder / "mistk-state").write_text("a file where the folder should be")
    code, _, err = run("serve", "flat:Good", "--port", "0", cwd=folder)
    assert code == 1
    assert "--state-dir" in err
    assert "Serving" not in err


def test_a_path_that_is_not_utf_8_ends_the_start(folder: Path) -> None:
    odd = folder / os.fsdecode(b"odd\xff")
    odd.mkdir()
    code, _, err = run("serve", f"{folder}/flat.py:Good", "--port", "0", cwd=odd)
    assert code == 1
    assert "--state-dir" in err
    assert "its path is not valid UTF-8" in err
    code, _, err = run("serve", f"{odd}/flat.py:Good", "--port", "0", cwd=folder)
    assert code == 1
    assert "the path is not valid UTF-8" in err
    with Service("serve", "flat:Good", "--port", "0", "--no-tracking", cwd=folder) as service:
        assert service.status()["state"] == "started"


def test_a_driver_that_is_not_installed_ends_the_start(folder: Path) -> None:
    (folder / "sitecustomize.py").write_text("import sys\nsys.modules['psycopg'] = None\n")
    code, _, err = run(
        "serve", "flat:Good", "--port", "0", "--tracking-uri", "postgresql://127.0.0.1/runs",
        cwd=folder, env={"PYTHONPATH": str(folder)},
    )  # fmt: skip
    assert code == 1
    assert "mistk-service[postgres]" in err


def test_an_address_that_cannot_be_written_to_its_file_ends_the_start(folder: Path) -> None:
    code, _, err = run("serve", "flat:Good", "--port", "0", "--url-file", "no/such/folder/url", cwd=folder)
    assert code == 1
    assert "--url-file" in err


@pytest.mark.parametrize("redirection", ["<&- >&- 2>&-", ">/dev/full 2>&1"])
def test_a_service_that_cannot_print_works_as_usual(tmp_path: Path, redirection: str) -> None:
    options = ("--port", "0", "--url-file", "url")
    shell = ("sh", "-c", f'exec "$@" {redirection}', "sh")
    url = tmp_path / "url"
    with open(os.devnull, "wb") as nothing:
        process = start("serve", PRINTS, *options, cwd=tmp_path, stdout=nothing, stderr=nothing, prefix=shell)
    try:
        wait_until(url.exists)
        with ModelClient(url.read_text().strip()) as model:
            model.wait_for("initialized", since=model.initialize(["training"]))
            model.wait_for("ready", since=model.build_model())
            model.wait_for("ready", since=model.train())
            model.shutdown()
        assert process.wait(REQUEST_TIMEOUT) == 0
    finally:
        process.kill()
        process.wait()


def test_an_address_whose_file_cannot_be_removed_changes_nothing_about_the_end(start: Start, tmp_path: Path) -> None:
    url = tmp_path / "url"
    service = start("--url-file", str(url))
    url.unlink()
    url.mkdir()
    service.post("shutdown")
    assert service.wait_exit() == 0
    assert "--url-file" in service.output()


# --- where it listens -------------------------------------------------------------------------------------------------


def test_a_port_in_use_is_reported_with_what_to_do(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = run("serve", "flat:Good", "--port", str(port), cwd=folder)
    assert code == 1
    assert f"Error: Cannot listen on 127.0.0.1:{port}" in err
    assert "in use" in err
    assert "--port" in err
    assert "Traceback" not in err


def test_it_listens_on_loopback_by_default(start: Start) -> None:
    assert start().url.startswith("http://127.0.0.1:")


def test_a_port_is_free_again_at_once(start: Start) -> None:
    first = start()
    connection = connect(first.port)
    first.post("shutdown")
    assert first.wait_exit() == 0
    again = start("--port", str(first.port))
    assert again.port == first.port
    connection.close()


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value", "parts"),
    [
        ("port", "70000", ["port", "70000", "65535"]),
        ("port", "-1", ["port", "-1"]),
        ("port", "http", ["--port", "'http'", "integer"]),
        ("worker", "actor", ["--worker", "'actor'", "process", "thread"]),
        ("grace", "0", ["grace", "0", "positive"]),
        ("grace", "-5", ["grace", "-5"]),
        ("grace", "soon", ["--grace", "'soon'", "float"]),
        ("grace", "inf", ["grace", "inf"]),
        ("grace", "nan", ["grace", "nan"]),
        ("max-body", "0", ["max-body", "0"]),
        ("max-body", "64MB", ["--max-body", "64MB", "integer"]),
        ("max-queue", "0", ["max-queue", "0"]),
        ("stream-timeout", "0", ["stream-timeout", "0", "positive"]),
        ("stream-timeout", "inf", ["stream-timeout", "inf"]),
        ("keepalive", "0", ["keepalive", "0"]),
        ("keepalive", "inf", ["keepalive", "inf"]),
        ("log-level", "loud", ["--log-level", "'loud'", "debug"]),
        ("host", "no.such.host.invalid", ["no.such.host.invalid", "--host"]),
    ],
)
@pytest.mark.parametrize("way", ["option", "environment"])
def test_a_setting_that_cannot_be_is_reported_by_its_name(option: str, value: str, parts: list[str], way: str) -> None:
    if way == "option":
        arguments, env = [f"--{option}={value}"], {}
    else:
        arguments, env = [], {f"MISTK_{option.upper().replace('-', '_')}": value}
    # In this process, since nothing is started.
    result = CliRunner().invoke(main, ["serve", OBEDIENT, *arguments], env=env)
    assert result.exit_code in (1, 2)
    assert isinstance(result.exception, SystemExit)
    assert [part for part in parts if part not in result.stderr] == []


def test_every_option_can_be_given_in_the_environment(folder: Path) -> None:
    place = reserved_port()
    port = place.getsockname()[1]
    env = {
        "MISTK_MODEL": "shop.models.good Second",
        "MISTK_HOST": "127.0.0.1",
        "MISTK_PORT": str(port),
        "MISTK_WORKER": "thread",
        "MISTK_GRACE": "7",
        "MISTK_MAX_BODY": "1000",
        "MISTK_MAX_QUEUE": "1",
        "MISTK_KEEPALIVE": "0.01",
        "MISTK_LOG_LEVEL": "debug",
    }
    with place, Service("serve", cwd=folder, env=env) as service:
        assert service.port == port
        service.make_ready()
        assert service.status()["objectInfo"]["name"] == "Second"
        error = refused(service.api.post("/streamPredict", content=b"x" * 1001), 413)
        assert "1000 bytes" in error["message"]
        with service.api.stream("GET", "/status?watch=true&resourceVersion=1000000000") as watch:
            parts = watch.iter_raw(1)
            seen = b""
            while not seen.endswith(b"   "):
                seen += next(parts)
        # The worker is in this very process.
        assert "mistk_service.workers.child.main" not in " ".join(command_lines(service))
        service.signal(signal.SIGTERM)
        assert service.wait_exit() == 0
        assert "DEBUG" in service.output()


def test_an_option_wins_over_the_environment(start: Start) -> None:
    service = start("--max-body", "100", env={"MISTK_MAX_BODY": "5"})
    error = refused(service.api.post("/initialize", content=b"x" * 101), 413)
    assert "100 bytes" in error["message"]


def test_without_a_model_it_says_where_to_name_one(tmp_path: Path) -> None:
    code, _, err = run("serve", cwd=tmp_path)
    assert code == 2
    assert "MISTK_MODEL" in err


# --- forms of reference -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve", "shop.models.good:Second", "--port", "0"],
        ["serve", "shop/models/good.py:Second", "--port", "0"],
        ["serve", "shop.models.good", "Second", "--port", "0"],
        ["shop.models.good", "Second", "0"],
        ["shop.models.good", "Second", "0", "--host", "127.0.0.1", "--no-tracking"],
        ["shop.models.good", "Second", "--port=0"],
    ],
    ids=" ".join,
)
def test_every_form_of_reference_serves_the_class(folder: Path, arguments: list[str]) -> None:
    with Service(*arguments, cwd=folder, env={"MISTK_INSECURE": "1"}) as service:  # MISTK's form listens everywhere
        service.make_ready()
        assert service.status()["objectInfo"]["name"] == "Second"


def test_mistks_own_form_listens_on_all_interfaces_and_says_so(folder: Path) -> None:
    with Service("flat", "Good", "0", cwd=folder, env={"MISTK_INSECURE": "1"}) as service:
        assert service.url == f"http://0.0.0.0:{service.port}"
        assert "all interfaces" in service.wait_for_line("Warning: listening on")
        assert service.make_ready()["state"] == "ready"


@pytest.mark.parametrize(("options", "env"), [(["--host", "127.0.0.1"], {}), ([], {"MISTK_HOST": "127.0.0.1"})])
def test_mistks_own_form_listens_where_it_is_asked_to(folder: Path, options: list[str], env: dict[str, str]) -> None:
    with Service("flat", "Good", "0", *options, cwd=folder, env=env) as service:
        assert service.url == f"http://127.0.0.1:{service.port}"
        assert "Warning" not in service.output()


def test_mistks_own_form_takes_the_port_from_the_environment_when_none_is_named(folder: Path) -> None:
    with Service("flat", "Good", cwd=folder, env={"MISTK_PORT": "0", "MISTK_INSECURE": "1"}) as service:
        assert service.make_ready()["state"] == "ready"


def test_a_model_may_lie_anywhere_and_import_its_neighbours(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (folder / "shop" / "models" / "parts.py").write_text("NAME = 'Neighbour'\n")
    code = MODEL + "\nfrom shop.models.parts import NAME\nNeighbour = type(NAME, (Good,), {})\n"
    (folder / "shop" / "models" / "good.py").write_text(code)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    reference = f"{folder / 'shop' / 'models' / 'good.py'}:Neighbour"
    with Service("serve", reference, "--port", "0", cwd=elsewhere) as service:
        service.make_ready()
        assert service.status()["objectInfo"]["name"] == "Neighbour"


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_the_version_is_reported(tmp_path: Path) -> None:
    assert run("--version", cwd=tmp_path) == (0, f"mistk-service, version {__version__}\n", "")


def test_the_contract_is_printed_as_it_is_served(tmp_path: Path, service: Service) -> None:
    code, out, err = run("spec", cwd=tmp_path)
    assert (code, err) == (0, "")
    contract = yaml.safe_load(out)
    assert contract["basePath"] == "/v1/mistk"
    assert service.api.get("/swagger.json").json() == contract
    assert service.api.get("/openapi3.json").json() == as_openapi3(contract)
    assert service.api.get("/apiVersion").json() == contract["info"]["version"]


@pytest.mark.parametrize("command", [[], ["serve"]], ids=["all", "serve"])
def test_the_help_names_every_command_and_option(tmp_path: Path, command: list[str]) -> None:
    code, out, _ = run(*command, "--help", cwd=tmp_path)
    assert code == 0
    for word in ("--port", "--worker", "--grace", "--max-body", "MISTK_PORT") if command else ("serve", "demo", "spec"):
        assert word in out


def test_an_unknown_command_is_reported(tmp_path: Path) -> None:
    code, _, err = run("sevre", cwd=tmp_path)
    assert code == 2
    assert "sevre" in err


def test_a_service_that_warns_of_nothing_says_where_it_is_and_nothing_else(start: Start) -> None:
    service = start("--log-level", "warning")
    service.make_ready()
    service.post("shutdown")
    assert service.wait_exit() == 0
    lines = service.output().splitlines()
    assert len(lines) == 1, service.output()
    assert f"{service.url}/v1/mistk/ui/" in lines[0]


def command_lines(service: Service) -> list[str]:
    """The command lines of the service's children."""
    return [" ".join(child.cmdline()) for child in psutil.Process(service.process.pid).children()]


@pytest.mark.parametrize(
    ("option", "value"),
    [("allowed-host", "http://models.example"), ("allowed-host", "models.example:80"), ("root-path", "models"),
     ("root-path", "/models/"), ("root-path", "/a b"), ("keep-alive-timeout", "0"), ("max-connections", "0")],
)  # fmt: skip
def test_a_name_a_prefix_or_a_limit_of_connections_that_cannot_be_used_is_refused(
    option: str, value: str, tmp_path: Path
) -> None:
    code, _, error = run("serve", OBEDIENT, "--port", "0", f"--{option}", value, cwd=tmp_path)
    assert code == 1
    assert f"--{option}" in error


def test_the_names_that_are_allowed_come_from_options_or_from_the_environment(start: Start) -> None:
    service = start(
        "--host", "0.0.0.0", "--insecure", "--allowed-host", "a.example", env={"MISTK_ALLOWED_HOST": "b.example"}
    )
    service.wait_for_line("everybody who reaches the port")
    refused(service.api.get("/status", headers={"Host": "b.example"}), 403)
    assert service.api.get("/status", headers={"Host": "a.example:80"}).status_code == 200
    service = start(env={"MISTK_ALLOWED_HOST": "b.example *.c.example"})
    for name in ("b.example", "x.c.example", "localhost"):
        assert service.api.get("/status", headers={"Host": name}).status_code == 200
