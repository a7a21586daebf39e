"""``mistk-service run`` drives containers, reports results, and exits with a meaningful code."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mistk_service.client import ModelClient, launch
from mistk_service.errors import RequestRefused
from mistk_service.harness.cli import run
from mistk_service.harness.containers import as_user
from tests.service.harness import Service
from tests.service.harness import run as run_process

ROOT = Path(__file__).parents[2]
DIGITS = f"{ROOT / 'plugins' / 'digits' / 'model.py'}:Digits"
DATA = ROOT / "plugins" / "digits" / "data"
NOTHING = f"{ROOT / 'tests' / 'models' / 'nothing.py'}:Nothing"
RAISES = f"{ROOT / 'tests' / 'models' / 'raises.py'}:Raises"

pytestmark = pytest.mark.timeout(150)


@pytest.fixture(scope="module")
def digits() -> Iterator[ModelClient]:
    with launch(DIGITS, ModelClient, options=["--no-tracking"]) as client:
        yield client


@pytest.fixture(scope="module")
def raises() -> Iterator[ModelClient]:
    """A model that raises what its properties say."""
    with launch(RAISES, ModelClient, options=["--no-tracking"]) as client:
        yield client


@pytest.fixture
def url(digits: ModelClient) -> str:
    """The address of a digits model that nobody has initialized."""
    if digits.status().state != "started":
        digits.wait_for("started", since=digits.reset())
    return digits.address


def events_of(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Run the command, and return its exit code and its events."""
    result = CliRunner().invoke(run, [*arguments, "--json"])
    return result.exit_code, [json.loads(line) for line in result.stdout.splitlines()]


def only(events: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    return [each for each in events if each["event"] == event]


def json_file(folder: Path, name: str, value: Any) -> str:
    file = folder / name
    file.write_text(json.dumps(value))
    return str(file)


def test_the_options_of_mistk_drive_a_running_container_through_its_work(url: str, tmp_path: Path) -> None:
    truth = str(DATA / "test.csv")
    code, events = events_of(
        *("--model", url, "--train", str(DATA / "train.csv"), "--predict", truth),
        *("--hyperparams", json_file(tmp_path, "hparams.json", {"epochs": 60, "seed": 1})),
        *("--model-save-path", str(tmp_path / "model"), "--predictions-path", str(tmp_path / "predictions")),
        *("--ground-truth-path", truth),
        *("--stream-predict", json_file(tmp_path, "records.json", {"a": base64.b64encode(bytes(256)).decode()})),
        *("--stream-properties", json_file(tmp_path, "properties.json", {"any": 1})),
    )
    assert code == 0, events
    assert [each["step"] for each in only(events, "done")] == [
        "initialize", "build_model", "load_data", "train", "save_model", "predict", "save_predictions",
        "check_predictions", "update_stream_properties", "stream_predict",
    ]  # fmt: skip
    progress = [each["progress"] for each in only(events, "status") if each["state"] == "training"]
    assert {each["total"] for each in progress if each} == {60}
    checked, streamed = only(events, "result")
    assert checked["records"] == 355
    assert checked["accuracy"] > 0.8
    [predicted] = [each for each in only(events, "done") if each["step"] == "predict"]
    assert checked["accuracy"] == pytest.approx(predicted["metrics"]["test_accuracy"])
    assert sum(map(sum, checked["confusion"])) == 355
    assert set(streamed["answers"]) == {"a"}
    assert (tmp_path / "model" / "digits.npz").is_file()
    assert events[-1]["message"] == "Validation completed"


def test_a_container_that_was_running_continues_and_refuses_to_be_initialized_again(
    url: str, digits: ModelClient
) -> None:
    assert events_of("--model", url)[0] == 0
    code, events = events_of("--model", url)
    assert code == 3
    assert events[-1]["event"] == "failed"
    assert events[-1]["step"] == "initialize"
    assert "reset" in events[-1]["message"]
    assert "Validation completed" not in str(events)
    assert digits.status().state == "ready"


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("plugin", "metric"),
    [
        pytest.param("digits", "test_accuracy", marks=pytest.mark.nightly),
        pytest.param("sklearn_evaluation", "accuracy_score", marks=pytest.mark.nightly),
        pytest.param("sklearn_estimator", "test_score", marks=pytest.mark.nightly),
        pytest.param("tabular_transform", "test_accuracy", marks=pytest.mark.nightly),
        pytest.param("text_generator", "bits_per_character", marks=pytest.mark.nightly),
    ],
)
def test_the_pipeline_of_a_plugin_works(tmp_path: Path, plugin: str, metric: str) -> None:
    (tmp_path / "plugins").symlink_to(ROOT / "plugins")
    command = ("run", "--pipeline", f"plugins/{plugin}/pipeline.yaml", "--json")
    code, out, err = run_process(*command, cwd=tmp_path, limit=300)
    assert code == 0, out + err
    metrics: dict[str, float] = {}
    for event in map(json.loads, out.splitlines()):
        metrics |= event.get("metrics", {})
    assert metrics[metric] > 0.9
    assert (tmp_path / "build" / plugin).is_dir()


def test_plain_lines_tell_what_happens(url: str, tmp_path: Path) -> None:
    pipeline = tmp_path / "pipeline.yaml"
    pipeline.write_text(
        f"model: {url}\nsteps:\n- initialize:\n    hyperparameters: {{epochs: 200}}\n- build_model\n"
        f"- load_data: {{train: {DATA / 'train.csv'}}}\n- train\n"
    )
    result = CliRunner().invoke(run, ["--pipeline", str(pipeline)])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == f"The model is at {url}"
    assert any(line.startswith("  training  ") and " of 200 epochs" in line for line in lines)
    assert any(line.startswith("✓ train → ready  ") and "accuracy" in line for line in lines)
    assert lines[-1] == "Validation completed"


def test_wrong_predictions_are_the_failure_of_the_model(url: str, tmp_path: Path) -> None:
    (tmp_path / "predictions.csv").write_text("id,label\nstranger,1\n")
    code, events = events_of(
        "--model", url, "--predictions-path", str(tmp_path), "--ground-truth-path", str(DATA / "test.csv")
    )
    assert code == 4
    assert "without ground truth, such as 'stranger'" in events[-1]["message"]
    assert "Validation completed" not in str(events)


@pytest.mark.parametrize(
    ("properties", "code", "said"),
    [
        ({"hook": "do_build_model", "error": "ValueError"}, 4, "build_model failed: ValueError: that went wrong"),
        ({"hook": "do_build_model", "error": "RequestError"}, 3, "epochs must be at least 1"),
        ({"hook": "do_build_model", "error": "SystemExit"}, 4, "build_model failed: SystemExit: 3"),
    ],
)
def test_what_a_model_raises_decides_the_code(
    raises: ModelClient, tmp_path: Path, properties: Any, code: int, said: str
) -> None:
    raises.wait_for("started", since=raises.reset())
    file = json_file(tmp_path, "properties.json", properties)
    found, events = events_of("--model", raises.address, "--model-props", file)
    assert (found, events[-1]["step"]) == (code, "build_model"), events
    assert said in events[-1]["message"]
    assert "Validation completed" not in str(events)


def test_a_class_that_cannot_be_loaded_is_a_failure_and_says_why() -> None:
    code, events = events_of("--model", "json.NoSuchModel")
    assert code == 4
    assert "NoSuchModel" in events[-1]["message"]


@contextmanager
def serving(model: str, folder: Path, *options: str) -> Iterator[str]:
    """Serve one of the tests' models; the address."""
    model = str(ROOT / "tests" / "models" / model)
    with Service("serve", model, "--port", "0", "--no-tracking", *options, cwd=folder) as service:
        yield service.url


def test_ensembles_smaller_models_and_sources_are_driven_too(tmp_path: Path) -> None:
    paths = {name: str(tmp_path / name) for name in ("first", "second")}
    (tmp_path / "second").mkdir()
    with serving("ensembles.py:Ensembles", tmp_path) as url:
        code, events = events_of(
            *("--model", url, "--model-path", str(tmp_path), "--model-save-path", paths["first"]),
            *("--miniaturize", str(tmp_path / "small"), "--include-half-precision"),
            *("--ensemble-model-paths", json_file(tmp_path, "paths.json", paths)),
        )
    assert code == 0, events
    assert [each["step"] for each in only(events, "done")] == [
        "initialize", "build_model", "save_model", "miniaturize", "reset", "initialize", "build_ensemble",
    ]  # fmt: skip
    assert (tmp_path / "small" / "small.txt").read_text() == "half precision: True"
    with serving("sources.py:Sources", tmp_path) as url:
        code, events = events_of("--model", url, "--stream-predict-source", "polling", "--stream-predict-source-cancel")
    assert code == 0, events
    [result] = only(events, "result")
    assert result["answers"]["0"] == 0
    assert result["updates"] >= 1


#: An evaluation and a transform that count lines.
COUNTS = """
from pathlib import Path
from mistk_service import AbstractEvaluationPlugin, AbstractTransformPlugin

class Counts(AbstractEvaluationPlugin):
    def do_evaluate(self, assessment_type, metrics, inputs, form, truth, output, properties):
        lines = len(Path(inputs).read_text().splitlines())
        self.report_metrics({metric.object_info.name: float(lines) for metric in metrics})

class Copies(AbstractTransformPlugin):
    def do_transform(self, inputDirs, outputDir, properties):
        text = "".join(Path(each.data_path).read_text() for each in inputDirs)
        Path(outputDir.data_path, "all.csv").write_text(text * properties["times"])
"""


def test_transform_and_evaluation_work_on_the_same_files(tmp_path: Path) -> None:
    (tmp_path / "counts.py").write_text(COUNTS)
    metrics = [{"objectInfo": {"name": name}, "assessmentTypes": ["Regression"]} for name in ("lines", "rows")]
    json_file(tmp_path, "metrics.json", metrics)
    inputs = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for file in inputs:
        file.write_text(f"{file.stem},0.5\n")
    common = ("--evaluation", f"{tmp_path / 'counts.py'}:Counts", "--evaluate", "Regression")
    code, events = events_of(
        *("--transform", f"{tmp_path / 'counts.py'}:Copies", "--transform-input-paths", *map(str, inputs)),
        *("--transform-output-path", str(tmp_path)),
        *("--transform-properties", json_file(tmp_path, "properties.json", {"times": 1})),
        *common,
        *("--evaluations-input-path", str(tmp_path / "all.csv"), "--ground-truth-path", str(tmp_path / "all.csv")),
        *("--metrics", "lines"),
    )
    assert code == 0, events
    assert [each["step"] for each in only(events, "done")] == ["transform", "check_predictions", "evaluate"]
    assert only(events, "done")[-1]["metrics"] == {"lines": 2.0}
    pipeline = tmp_path / "pipeline.yaml"
    step = {"assessment_type": "Regression", "predictions": str(inputs[0]), "ground_truth": str(inputs[0])}
    steps = [{"evaluate": step}, {"evaluate": {**step, "metrics": ["width"]}}]
    pipeline.write_text(json.dumps({"evaluation": f"{tmp_path / 'counts.py'}:Counts", "steps": steps}))
    code, events = events_of("--pipeline", str(pipeline))
    assert only(events, "done")[0]["metrics"] == {"lines": 1.0, "rows": 1.0}
    assert (code, events[-1]["message"]) == (2, "There is no metric 'width'; expected one of lines, rows.")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "There is nothing to run"),
        (["--model", "no/such/file.py:X"], "no/such/file.py is not a file"),
        (["--model", "http://host:99999"], "expected the address"),
        (["--transform", "a:B"], "--transform needs --transform-input-paths"),
        (["--evaluation", "a:B", "--evaluate", "Regression"], "--evaluation needs --ground-truth-path"),
        (["--pipeline", "missing.yaml"], "missing.yaml cannot be read"),
        (["--pipeline", "missing.yaml", "--train", "x"], "--train cannot be given with --pipeline"),
    ],
)
def test_bad_input_ends_before_anything_starts(arguments: list[str], said: str) -> None:
    code, events = events_of(*arguments)
    assert code == 2
    assert said in events[-1]["message"]
    assert only(events, "container") == []


def test_a_file_of_options_that_is_not_an_object_is_bad_input(tmp_path: Path) -> None:
    result = CliRunner().invoke(run, ["--model", DIGITS, "--hyperparams", json_file(tmp_path, "h.json", [1])])
    assert result.exit_code == 2
    assert "expected a JSON object" in result.output


def test_a_container_that_is_not_there_is_unreachable() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        code, events = events_of("--model", url)
    assert code == 5
    assert "Is the container running" in events[-1]["message"]


def test_a_container_that_asks_for_a_token_gets_that_of_the_environment_or_of_its_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = ["--token-file", str(tmp_path / "tokens")]
    token = run_process("token", "new", "me", "--role", "operator", *tokens, cwd=tmp_path)[1].strip()
    with pytest.raises(RequestRefused, match="MISTK_CLIENT_TOKEN"), launch(NOTHING, options=["--no-tracking", *tokens]):
        pytest.fail("the kind of the container cannot be asked for without a token")
    monkeypatch.setenv("MISTK_CLIENT_TOKEN", token)
    with launch(NOTHING, options=["--no-tracking", *tokens]) as client:
        (tmp_path / "pipeline.yaml").write_text(f"model: {client.address}\nsteps: [initialize, build_model]\n")
        assert events_of("--pipeline", str(tmp_path / "pipeline.yaml"))[0] == 0
        client.wait_for("started", since=client.reset())
        monkeypatch.delenv("MISTK_CLIENT_TOKEN")
        code, events = events_of("--model", client.address)
        assert code == 3
        assert "MISTK_CLIENT_TOKEN" in events[-1]["message"]
        code, events = events_of("--model", client.address.replace("//", f"//:{token}@"))
        assert code == 0
        assert token not in str(events)


def test_the_command_and_the_module_are_the_same_and_the_schema_is_printed(tmp_path: Path) -> None:
    code, out, _ = run_process("run", "--print-schema", cwd=tmp_path)
    assert code == 0
    assert json.loads(out)["properties"]["steps"]
    result = CliRunner().invoke(run, ["--print-schema"])
    assert result.stdout == out


#: Stands for docker: it starts the service on the published port, in the background, and stops it. The image "broken" ends.
ENGINE = """#!{python}
import json, os, signal, subprocess, sys
arguments = sys.argv[1:]
if arguments == ["version"]:
    sys.exit()
with open("{log}", "a") as log:
    log.write(json.dumps(arguments) + "\\n")
if arguments[0] == "run" and arguments[-1] != "broken":
    (published,) = [each for each in arguments if each.startswith("--publish=")]
    port = published.split(":")[1]
    command = [sys.executable, "-m", "mistk_service", "serve", "{model}", "--port", port, "--no-tracking"]
    silent = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    image = dict(each.split("=", 2)[1:] for each in arguments if each.startswith("--env="))
    image = dict(MISTK_DATA_ROOT="/data", MISTK_MODEL_ROOT="/data", MISTK_OUTPUT_ROOT="/data") | image
    process = subprocess.Popen(command, start_new_session=True, env=os.environ | image, **silent)
    open("{log}.pid", "w").write(str(process.pid))
elif arguments[0] == "wait" and os.path.exists("{log}.pid"):
    signal.pause()
elif arguments[0] == "logs":
    sys.stdout.buffer.write(b"what the container printed \\xff\\n")
elif arguments[0] == "stop" and os.path.exists("{log}.pid"):
    os.kill(int(open("{log}.pid").read()), signal.SIGTERM)
"""


def run_image(
    folder: Path, image: str, *options: str, engine: str = "docker", before: Path | None = None
) -> tuple[int, str, list[list[str]]]:
    """Run an image with a fake engine; return the exit code, the output and the calls of the engine.

    ``before`` is a folder of commands that come first in the path.
    """
    command, log = folder / engine, folder / "log"
    command.write_text(ENGINE.format(python=sys.executable, log=log, model=DIGITS))
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    path = os.pathsep.join(map(str, filter(None, [before, folder, os.environ["PATH"]])))
    code, out, err = run_process(
        *("run", "--model", image, "--predict", str(DATA / "test.csv"), "--json", *options),
        cwd=folder, env={"PATH": path}, limit=120,
    )  # fmt: skip
    return code, out + err, [json.loads(line) for line in log.read_text().splitlines()]


def test_an_image_sees_the_paths_of_the_run_and_is_stopped(tmp_path: Path) -> None:
    code, printed, calls = run_image(tmp_path, "registry.example/digits:2", "--logs")
    assert code == 0, printed
    assert [call[0] for call in calls if call[0] != "wait"] == ["run", "stop", "logs", "rm"]
    assert calls[0][-1] == "registry.example/digits:2"
    assert f"--volume={DATA}:{DATA}" in calls[0]
    assert "what the container printed" in printed


def test_an_image_keeps_running_if_it_is_to(tmp_path: Path) -> None:
    code, printed, calls = run_image(tmp_path, "digits", "--disable-container-shutdown")
    os.kill(int((tmp_path / "log.pid").read_text()), signal.SIGTERM)
    assert code == 0, printed
    assert [call[0] for call in calls if call[0] != "wait"] == ["run"]
    assert "--rm" not in calls[0]


@pytest.mark.parametrize("options", [(), ("--disable-container-shutdown",)])
def test_an_image_that_ends_at_once_says_what_it_printed(tmp_path: Path, options: tuple[str, ...]) -> None:
    code, printed, calls = run_image(tmp_path, "broken", *options)
    assert (code, "The container did not start. It printed:\\nwhat the container" in printed) == (4, True), printed
    assert calls[-1][0] == "rm"


def test_an_image_is_run_by_the_first_engine_that_answers(tmp_path: Path) -> None:
    """A client of Docker without a daemon is passed over."""
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text("#!/bin/sh\necho Cannot connect to the Docker daemon. >&2; exit 1\n")
    docker.chmod(0o755)
    code, printed, calls = run_image(tmp_path, "digits", engine="podman", before=docker.parent)
    assert (code, calls[0][0]) == (0, "run"), printed


def test_without_an_engine_the_error_says_what_was_tried(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho Cannot connect to the Docker daemon. >&2; exit 1\n")
    docker.chmod(0o755)
    code, out, err = run_process("run", "--model", "digits", "--json", cwd=tmp_path, env={"PATH": str(tmp_path)})
    assert code == 2
    assert "(docker: Cannot connect to the Docker daemon.; podman: not installed)" in out + err


@pytest.mark.parametrize(
    ("engine", "uid", "kept"), [("podman", 1000, True), ("podman", 0, False), ("docker", 1000, False)]
)
def test_an_image_writes_as_the_user_who_runs_it(engine: str, uid: int, kept: bool) -> None:
    options = as_user(f"/usr/bin/{engine}", uid, 7)
    assert f"--user={uid}:7" in options
    assert ("--userns=keep-id" in options) is kept
