"""The Dockerfile and .dockerignore, as far as they can be checked without an engine."""

from __future__ import annotations

import http.server
import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from mistk_service import __version__
from mistk_service.app import cli
from tests.service.harness import Service, run

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
    assert entry[-2:] == ["--", "mistk-service"]
    assert set(command) <= set(cli.main.commands)


def test_the_user_is_a_number_and_not_root() -> None:
    # A number, because Kubernetes cannot tell whether a name is root's.
    assert re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", final_stage()["USER"])


def test_no_layer_holds_a_second_copy_of_the_files_with_other_owners() -> None:
    assert [run for run in arguments("RUN") if re.search(r"\bch(own|mod)\b", run)] == []
    assert [copy for copy in arguments("COPY") if "--ch" in copy] == []


def test_only_finished_things_are_taken_from_the_stages_that_made_them() -> None:
    rows = instructions()
    start = max(i for i, (name, _) in enumerate(rows) if name == "FROM")
    assert [rest for name, rest in rows[start:] if name == "COPY" and not rest.startswith("--from=")] == []
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
    default = next(rest for rest in arguments("ARG") if rest.startswith("MISTK_MODEL=")).partition("=")[2]
    assert environment()["MISTK_MODEL"] == "${MISTK_MODEL}"
    file, _, model = default.partition(":")
    assert f"class {model}(AbstractModel)" in (ROOT / Path(file).relative_to("/app")).read_text(encoding="utf-8")


def test_nothing_is_written_outside_of_data_and_tmp() -> None:
    assert environment()["PYTHONDONTWRITEBYTECODE"] == "1"
    assert environment()["HOME"] == "/tmp"
    assert final_stage()["WORKDIR"] == final_stage()["VOLUME"] == "/data"
    assert "mkdir -m 1777 /data" in arguments("RUN")


# --- the lock files ---------------------------------------------------------------------------------------------------


def declared() -> dict[str, list[Requirement]]:
    """What pyproject.toml asks for, by lock file."""
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = content["project"]
    extras = {name: texts for name, texts in project["optional-dependencies"].items() if name != "dev"}
    lists = {"base": project["dependencies"], "build": content["build-system"]["requires"], **extras}
    return {name: [Requirement(text) for text in texts] for name, texts in lists.items()}


def locked(name: str) -> list[str]:
    """The entries of a lock file, each with its hashes in one line."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    lines = text.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def pins(name: str) -> dict[str, list[Version]]:
    """The versions in a lock file by project; there are several where they differ by Python version."""
    versions: dict[str, list[Version]] = {}
    for entry in locked(name):
        requirement = Requirement(entry.partition(" --hash")[0])
        (pin,) = requirement.specifier
        assert pin.operator == "=="
        versions.setdefault(canonicalize_name(requirement.name), []).append(Version(pin.version))
    return versions


LOCKS = [*declared(), "init", "pip"]


@pytest.mark.parametrize("name", LOCKS)
def test_every_file_that_is_installed_is_known_by_its_hash(name: str) -> None:
    assert [entry for entry in locked(name) if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry)] == []


@pytest.mark.parametrize("name", declared())
def test_a_lock_file_has_what_the_project_asks_for(name: str) -> None:
    found = pins(name)
    for requirement in declared()[name]:
        versions = found.get(canonicalize_name(requirement.name))
        assert versions, f"{requirement} is missing in requirements/{name}.txt: make lock"
        assert [v for v in versions if v in requirement.specifier] == versions, f"{requirement}: make lock"


@pytest.mark.parametrize("name", [name for name in LOCKS if name not in ("base", "build")])
def test_the_lock_files_that_are_installed_together_agree(name: str) -> None:
    base = pins("base")
    assert {project: found for project, found in pins(name).items() if base.get(project, found) != found} == {}


def test_the_image_is_installed_from_the_lock_files_alone() -> None:
    installs = [run for run in arguments("RUN") if " install " in run]
    assert [run for run in installs if "--require-hashes" not in run and "--no-index" not in run] == []
    extras = next(rest for rest in arguments("ARG") if rest.startswith("EXTRAS="))
    assert set(shlex.split(extras)[0].partition("=")[2].split()) <= set(declared())


# --- layers, labels, environment ----------------------------------------------------------------------------------------


def test_a_change_of_the_code_does_not_touch_the_layer_of_the_dependencies() -> None:
    stages = " ".join(f"{name} {rest}\n" for name, rest in instructions()).split("FROM ")
    dependencies = next(stage for stage in stages if " AS dependencies" in stage.partition("\n")[0])
    assert re.findall(r"COPY (\S+)", dependencies) == ["requirements"]
    copies = [copy for copy in arguments("COPY") if copy.startswith("--from")]
    assert copies[-3:] == [
        "--from=dependencies /opt/mistk /opt/mistk",
        "--from=code /code /opt/mistk",
        "--from=code /src/plugins /app/plugins",
    ]


def test_the_labels_name_the_version_of_the_package() -> None:
    label = dict(pair.split("=", 1) for pair in shlex.split(final_stage()["LABEL"]))
    wanted = {"title", "version", "revision", "source", "created", "licenses", "base.name"}
    assert {f"org.opencontainers.image.{name}" for name in wanted} <= set(label)
    assert f"VERSION={__version__}" in arguments("ARG")


def test_what_the_base_image_has_on_its_path_stays_there() -> None:
    assert environment()["PATH"] == "/opt/mistk/bin:$PATH"


def test_the_state_and_the_models_are_found_whatever_the_working_folder() -> None:
    assert environment()["MISTK_STATE_DIR"].startswith(final_stage()["VOLUME"])
    assert environment()["PYTHONPATH"] == "/app"


def test_process_1_hears_signals_from_its_first_moment() -> None:
    assert json.loads(final_stage()["ENTRYPOINT"])[0] == "dumb-init"
    assert "dumb-init" in pins("init")


@pytest.mark.parametrize("example", sorted(path.name for path in (ROOT / "docs" / "image").iterdir()))
def test_an_example_of_an_image_on_top_runs_as_nobody_and_copies_what_is_there(example: str) -> None:
    folder = ROOT / "docs" / "image" / example
    lines = (folder / "Dockerfile").read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    assert rows[0] == ["FROM", "mistk-service"]
    assert rows[-1] == ["USER", final_stage()["USER"]]
    assert [
        source for name, *rest in rows if name == "COPY" for source in rest[:-1] if not (folder / source).exists()
    ] == []


def test_nothing_comes_into_the_build_but_what_it_asks_for() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"  # .git, environments, data and secrets stay outside without being named
    wanted = {source for copy in arguments("COPY") if "--from" not in copy for source in copy.split()[:-1]}
    for source in wanted:
        assert (ROOT / source).exists(), source
    assert {rule[1:] for rule in rules if rule.startswith("!")} == {source.partition("/")[0] for source in wanted}


# --- the entry point is run with the image's environment, as an engine would run it ---------------------------------


def in_image(folder: Path) -> dict[str, str]:
    """The environment of the image, with /app in the checkout and /data in a folder."""
    (model,) = (rest.partition("=")[2] for rest in arguments("ARG") if rest.startswith("MISTK_MODEL="))
    places = {"${MISTK_MODEL}": model, "/app": str(ROOT), "/data": str(folder)}
    found = {name: value for name, value in environment().items() if name.startswith("MISTK_")}
    for place, here in places.items():
        found = {name: value.replace(place, here) for name, value in found.items()}
    return {**found, "MISTK_PORT": "0"}


def sagemakers_folder(folder: Path) -> Path:
    """What SageMaker shares with a container that trains the digits."""
    ml = folder / "ml"
    for channel, file in (("training", "train.csv"), ("test", "test.csv")):
        (ml / "input" / "data" / channel).mkdir(parents=True)
        shutil.copy(ROOT / "plugins" / "digits" / "data" / file, ml / "input" / "data" / channel)
    (ml / "input" / "config").mkdir()
    (ml / "input" / "config" / "hyperparameters.json").write_text('{"epochs": "2", "sagemaker_region": "eu-west-1"}')
    return ml


@pytest.mark.timeout(120)
def test_the_image_trains_as_sagemaker_asks_it_to(tmp_path: Path) -> None:
    ml = sagemakers_folder(tmp_path)
    code, _, err = run("train", cwd=tmp_path, env={**in_image(tmp_path), "SAGEMAKER_BASE_DIR": str(ml)})
    assert code == 0, err
    assert (ml / "model" / "digits.npz").is_file()
    assert (ml / "output" / "data" / "predictions.csv").is_file()
    assert not (ml / "output" / "failure").exists()
    # What it has trained, it serves.
    env = {**in_image(tmp_path), "SAGEMAKER_BASE_DIR": str(ml), "MISTK_INSECURE": "1"}
    with Service("serve", cwd=tmp_path, env=env) as service:
        assert service.api.get(f"{service.url}/ping").status_code == 200


@pytest.mark.timeout(120)
def test_the_image_runs_a_job_and_serves_a_model_that_takes_the_place_of_the_command(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "plugins" / "digits" / "data", tmp_path / "data")
    train = f"--train={tmp_path / 'data' / 'train.csv'}"
    code, _, err = run("job", train, f"--save-model={tmp_path / 'model'}", cwd=tmp_path, env=in_image(tmp_path))
    assert code == 0, err
    assert (tmp_path / "model" / "digits.npz").is_file()
    generator = f"{ROOT / 'plugins' / 'text_generator' / 'model.py'}:TextGenerator"
    code, _, err = run(generator, cwd=tmp_path, env=in_image(tmp_path))
    assert (code, "mistk-service token new" in err) == (1, True)  # no token, so it does not begin to listen
    with Service(generator, cwd=tmp_path, env={**in_image(tmp_path), "MISTK_INSECURE": "1"}) as service:
        assert service.status()["objectInfo"]["name"] == "TextGenerator"


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
        assert command[0] == "mistk-service"
        environ = {"MISTK_HOST": environment()["MISTK_HOST"], "MISTK_PORT": str(server.server_port), **variables}
        program = [sys.executable, "-m", "mistk_service", *command[1:]]
        done = subprocess.run(program, env=environ, capture_output=True, check=False, timeout=30)
        return done.returncode

    yield check
    for server in servers:
        if server.socket.fileno() != -1:
            server.shutdown()
            server.server_close()


def _answer(status: int | None) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if status and self.path == "/healthz" else 404)
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
