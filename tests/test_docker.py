"""The Dockerfile and .dockerignore, as far as they can be checked without an engine."""

from __future__ import annotations

import http.server
import json
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from mistk_service import cli

ROOT = Path(__file__).parent.parent


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile in order, each in one line, as ``(name, arguments)``."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in joined.splitlines()) if name]


def arguments(name: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == name]


def final_stage() -> dict[str, str]:
    """The last instruction of each name in the stage that becomes the image."""
    rows = instructions()
    start = max(i for i, (name, _) in enumerate(rows) if name == "FROM")
    return dict(rows[start:])


def environment() -> dict[str, str]:
    pairs = (pair.partition("=") for pair in shlex.split(final_stage()["ENV"]))
    return {name: value for name, _, value in pairs}


@pytest.mark.parametrize("name", ["ENTRYPOINT", "CMD"])
def test_the_service_is_started_without_a_shell_so_that_sigterm_reaches_it(name: str) -> None:
    command = json.loads(final_stage()[name])
    assert all(isinstance(word, str) for word in command)
    assert command[0] not in ("sh", "bash", "/bin/sh")


def test_the_image_runs_a_command_that_the_package_installs() -> None:
    entry, command = json.loads(final_stage()["ENTRYPOINT"]), json.loads(final_stage()["CMD"])
    assert entry == ["mistk-service"]
    assert set(command) <= set(cli.main.commands)


def test_the_user_is_a_number_and_not_root() -> None:
    # A number, because Kubernetes cannot tell whether a name is root's.
    assert re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", final_stage()["USER"])


def test_no_layer_holds_a_second_copy_of_the_files_with_other_owners() -> None:
    assert [run for run in arguments("RUN") if re.search(r"\bch(own|mod)\b", run)] == []
    assert [copy for copy in arguments("COPY") if "--ch" in copy] == []


def test_only_finished_things_are_taken_from_the_stage_that_built_them() -> None:
    rows = instructions()
    start = max(i for i, (name, _) in enumerate(rows) if name == "FROM")
    assert len(arguments("FROM")) == 2
    assert [rest for name, rest in rows[start:] if name == "COPY" and not rest.startswith("--from=build ")] == []
    assert [rest for name, rest in rows[start:] if name == "RUN" and "pip" in rest] == []


def envvars(parameter: click.Parameter) -> list[str]:
    """Return the variables that an option is read from."""
    return [parameter.envvar] if isinstance(parameter.envvar, str) else list(parameter.envvar or ())


def test_every_variable_of_the_service_that_is_set_is_one_that_it_reads() -> None:
    serve = cli.main.commands["serve"]
    known = {name for parameter in serve.params for name in envvars(parameter)}
    given = {name for name in environment() if name.startswith("MISTK_")}
    assert {"MISTK_MODEL", "MISTK_HOST", "MISTK_PORT"} <= given <= known


def test_the_service_listens_where_a_published_port_arrives() -> None:
    assert environment()["MISTK_HOST"] == "0.0.0.0"
    assert environment()["MISTK_PORT"] == final_stage()["EXPOSE"]


def test_the_model_can_be_chosen_when_the_image_is_built_and_the_default_is_there() -> None:
    name, _, default = final_stage()["ARG"].partition("=")
    assert name == "MISTK_MODEL"
    assert environment()["MISTK_MODEL"] == "${MISTK_MODEL}"
    file, _, model = default.partition(":")
    assert f"class {model}(AbstractModel)" in (ROOT / Path(file).relative_to("/app")).read_text(encoding="utf-8")


def test_nothing_is_written_outside_of_data_and_tmp() -> None:
    assert environment()["PYTHONDONTWRITEBYTECODE"] == "1"
    assert environment()["HOME"] == "/tmp"
    assert final_stage()["WORKDIR"] == final_stage()["VOLUME"] == "/data"
    assert "mkdir -m 1777 /data" in arguments("RUN")


def test_the_dependencies_that_are_installed_first_are_those_of_the_project() -> None:
    (script,) = (re.search(r'python -c "(.+?)" >', run).group(1) for run in arguments("RUN") if "tomllib" in run)
    printed = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    names = {re.match(r"[\w-]+", line).group() for line in printed.stdout.splitlines()}
    assert {"connexion", "flask", "uvicorn", "numpy", "uvloop"} <= names
    assert not {"pytest", "mypy"} & names


def test_nothing_comes_into_the_build_but_what_it_asks_for() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"  # .git, environments, data and secrets stay outside without being named
    wanted = {source for copy in arguments("COPY") if "--from" not in copy for source in copy.split()[:-1]}
    assert {rule[1:] for rule in rules if rule.startswith("!")} == wanted
    for source in wanted:
        assert (ROOT / source).exists(), source


# --- the health check is run, as an engine would run it -----------------------------------------------------------


@pytest.fixture
def health() -> Iterator[Callable[..., int]]:
    """Run the check against a server that answers with a status, and return the exit code."""
    servers = []

    def check(status: int | None, **variables: str) -> int:
        server = http.server.HTTPServer(("127.0.0.1", 0), _answer(status))
        servers.append(server)
        if status is None:
            server.server_close()
        else:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        command = json.loads(final_stage()["HEALTHCHECK"].partition("CMD ")[2])
        assert command[0] == "python"
        environ = {"MISTK_PORT": str(server.server_port), **variables}
        done = subprocess.run([sys.executable, *command[1:]], env=environ, capture_output=True, check=False, timeout=30)
        return done.returncode

    yield check
    for server in servers:
        if server.socket.fileno() != -1:
            server.shutdown()
            server.server_close()


def _answer(status: int | None) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """A request is nothing to report in a test."""

    return Handler


def test_a_service_that_answers_is_healthy(health) -> None:
    assert health(200) == 0


@pytest.mark.parametrize("status", [503, 500, 404, None])
def test_a_service_that_answers_otherwise_or_not_at_all_is_not(health, status: int | None) -> None:
    assert health(status) == 1


def test_a_proxy_is_not_asked_for_the_health_of_the_service(health) -> None:
    assert health(200, http_proxy="http://127.0.0.1:9", HTTP_PROXY="http://127.0.0.1:9") == 0
