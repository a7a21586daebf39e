"""The image, run with a container engine as the guides describe.

`make image ENGINE=podman` builds it, and `make test-image ENGINE=podman` runs these tests.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import httpx
import pytest

from mistk_service.client import ModelClient
from tests.service.harness import run as run_process
from tests.test_docker import ROOT, sagemakers_folder

ENGINE, IMAGE = os.environ.get("ENGINE", "docker"), os.environ.get("IMAGE", "")

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not IMAGE, reason="needs an image and a container engine: make test-image"),
]

DATA = ROOT / "plugins" / "digits" / "data"

#: What an operator can take from the container: its user, a root that can be written, and all capabilities.
RESTRICTED = ("--user=123456:7890", "--read-only", "--cap-drop=all", "--security-opt=no-new-privileges")

OPEN = ("--env=MISTK_INSECURE=1",)

STATUS = "/v1/mistk/status"

#: Where an engine finds what it needs.
SYSTEM = "/usr/sbin:/usr/bin:/sbin:/bin"


def engine(*arguments: str) -> str:
    """Run a command of the engine, which has to succeed, and return what it prints."""
    done = subprocess.run([ENGINE, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def run(*arguments: str) -> tuple[int, str]:
    """Run a container to its end; return its exit code, and what it printed."""
    done = subprocess.run([ENGINE, "run", "--rm", *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


class Container:
    """A container that runs until it is stopped.

    Attributes:
        url: where its port 8080 is published.
        printed: what it had printed when it had begun.
    """

    def __init__(self, *arguments: str, begun: str = "Serving ") -> None:
        self.name = f"mistk-test-{uuid.uuid4().hex[:12]}"
        self.printed = ""
        self._command = [ENGINE, "run", f"--name={self.name}", "--publish=127.0.0.1::8080", *arguments]
        self._begun = begun
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            assert self._process.stdout is not None
            for line in self._process.stdout:
                self.printed += line
                if self._begun in line:
                    break
            assert self._begun in self.printed, self.printed
            # Read on, so that a full pipe does not hold it up.
            self._reader = threading.Thread(target=self._process.stdout.read, daemon=True)
            self._reader.start()
            self.url = f"http://{engine('port', self.name, '8080/tcp')}"
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        with self._process:
            subprocess.run([ENGINE, "rm", "--force", "--volumes", self.name], capture_output=True, check=False)
            if self._reader is not None:
                self._reader.join()

    def stop(self) -> int:
        """Stop it as the guide says, and return its exit code."""
        engine("stop", "-t", "15", self.name)
        return self._process.wait()


@pytest.fixture
def volume() -> Iterator[str]:
    name = f"mistk-test-{uuid.uuid4().hex[:12]}"
    engine("volume", "create", name)
    yield f"--volume={name}:/data"
    subprocess.run([ENGINE, "volume", "rm", "--force", name], capture_output=True, check=False)


def test_who_has_the_token_is_served_and_nobody_else(volume: str) -> None:
    token = engine("run", "--rm", volume, IMAGE, "token", "new", "me", "--role", "admin").splitlines()[-1]
    with Container(volume, IMAGE) as container, httpx.Client(base_url=container.url, timeout=60) as client:
        statuses = [
            client.get(STATUS, headers=headers).status_code
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Bearer {token}"})
        ]
        assert statuses == [401, 401, 200]
        engine("exec", container.name, "mistk-service", "health")
        assert container.stop() == 0


def test_without_a_token_it_does_not_start_unless_everybody_may_use_it() -> None:
    code, printed = run(IMAGE)
    assert (code, "mistk-service token new NAME" in printed) == (1, True)
    with Container(*OPEN, IMAGE) as container:
        assert "Listening on 0.0.0.0 without a log-in" in container.printed
        assert httpx.get(container.url + STATUS, timeout=60).status_code == 200


def test_the_command_of_mistk_is_served() -> None:
    command = ("-m", "mistk_service", "plugins.digits.model", "Digits")
    with Container(*OPEN, "--entrypoint=python3", IMAGE, *command) as container:
        assert container.stop() == 0


def test_a_restricted_container_trains_and_stops_in_the_middle(volume: str, tmp_path: Path) -> None:
    shutil.copy(DATA / "train.csv", tmp_path)
    tmp_path.chmod(0o755)
    with (
        Container(*OPEN, *RESTRICTED, volume, f"--volume={tmp_path}:/data/in:ro", IMAGE) as container,
        ModelClient(container.url) as model,
    ):
        hyperparameters = {"epochs": 1_000_000}
        model.wait_for("initialized", since=model.initialize(["training"], hyperparameters=hyperparameters))
        model.wait_for("initialized", since=model.load_data(train="/data/in/train.csv"))
        model.wait_for("ready", since=model.build_model())
        model.wait_for("training", since=model.train())
        assert container.stop() == 0


def test_the_exit_code_of_a_job_says_what_happened(volume: str, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text('{"epochs": 1000000}')
    tmp_path.chmod(0o755)
    job = (IMAGE, "job", "--train=/app/plugins/digits/data/train.csv")
    settings = f"--volume={tmp_path}:/settings:ro"
    long = (*job, "--checkpoint=/data/checkpoint", "--hyperparameters=/settings/settings.json")
    with Container(*RESTRICTED, volume, settings, *long, begun="train started") as container:
        assert container.stop() == 75
    assert run(*RESTRICTED, volume, *job, "--save-model=/data/model")[0] == 0
    assert run(*RESTRICTED, *job, "--save-model=/nowhere")[0] == 2


def test_it_trains_as_sagemaker_asks_it_to(tmp_path: Path) -> None:
    ml = sagemakers_folder(tmp_path)
    code, printed = run("--user=0", f"--volume={ml}:/opt/ml", IMAGE, "train")
    assert code == 0, printed
    assert (ml / "model" / "digits.npz").is_file()


@pytest.mark.skipif(ENGINE != "docker" and shutil.which("docker", path=SYSTEM) is not None, reason="would take docker")
def test_the_harness_runs_it_with_the_paths_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / ENGINE).symlink_to(shutil.which(ENGINE) or "")
    code, out, err = run_process(
        *("run", "--model", IMAGE, "--train", str(DATA / "train.csv"), "--predict", str(DATA / "test.csv")),
        *("--model-save-path", str(tmp_path / "model"), "--json"),
        cwd=tmp_path, env={"PATH": f"{tmp_path}:{SYSTEM}"}, limit=500,
    )  # fmt: skip
    assert code == 0, out + err
    assert (tmp_path / "model" / "digits.npz").is_file()


#: Prints the modules that the service loads and that have no bytecode in the image.
UNCOMPILED = """
import pathlib, sys
import mistk_service.app.container
for name, module in list(sys.modules.items()):
    file = getattr(module, "__cached__", None)
    if file is not None and not pathlib.Path(file).exists():
        print(name)
"""


def test_no_process_compiles_what_it_imports() -> None:
    assert engine("run", "--rm", "--entrypoint=python", IMAGE, "-c", UNCOMPILED) == ""
