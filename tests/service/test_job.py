"""A job runs once, leaves its results, and reports the outcome by its exit code."""

from __future__ import annotations

import http.server
import json
import signal
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from mistk_service.resources import plugins_path
from tests.service.harness import Service, run
from tests.support.harness import reference
from tests.support.remotes import reserved_port
from tests.support.s3 import CREDENTIALS, new_bucket

DIGITS = plugins_path() / "digits"
DIGITS_MODEL = f"{DIGITS / 'model.py'}:Digits"
COUNTS = reference("counts:Counts")


@pytest.fixture
def data(tmp_path: Path) -> str:
    """A file for a model that does not look into it."""
    (tmp_path / "data.csv").touch()
    return "data.csv"


def hyperparameters(folder: Path, **values: Any) -> tuple[str, str]:
    """Return the option for hyperparameters."""
    (folder / "hyperparameters.json").write_text(json.dumps(values))
    return "--hyperparameters", "hyperparameters.json"


def test_a_job_trains_predicts_evaluates_and_saves(tmp_path: Path) -> None:
    test = str(DIGITS / "data" / "test.csv")
    code, out, err = run(
        "job", DIGITS_MODEL, "--train", str(DIGITS / "data" / "train.csv"), *hyperparameters(tmp_path, epochs=3),
        "--save-model", "model", "--predict", test, "--save-predictions", "predictions", "--evaluate", test,
        cwd=tmp_path,
    )  # fmt: skip
    assert (code, out) == (0, ""), err
    assert (tmp_path / "model" / "digits.npz").is_file()
    assert (tmp_path / "predictions" / "predictions.csv").is_file()
    evaluation = json.loads((tmp_path / "predictions" / "evaluation.json").read_text())
    assert evaluation["accuracy"] > 0.8
    messages = [json.loads(line)["message"] for line in err.splitlines()]
    assert f"accuracy={evaluation['accuracy']:g};" in messages
    assert any(message.startswith("loss=") for message in messages)


def test_wrong_input_has_a_code_that_says_not_to_try_again(tmp_path: Path, data: str) -> None:
    declared = reference("declared:Declared")
    (tmp_path / "data.json").write_text('{"train": "nowhere.csv"}')
    for options, message in (
        ((COUNTS, "--predict", data, "--data", "data.json"), "--data: 'nowhere.csv' does not exist"),
        ((declared, "--train", data, *hyperparameters(tmp_path, rate=2)), "hyperparameters.rate cannot be 2"),
        ((COUNTS, "--train", "nowhere.csv"), "--train: 'nowhere.csv' does not exist"),
        ((COUNTS,), "The job has nothing to do; expected --train or --predict."),
        (
            (COUNTS, "--train", data, "--evaluate", data),
            "--evaluate: there are no predictions; expected --predict too.",
        ),
        (
            (COUNTS, "--train", data, "--predict", data, "--evaluate", "nowhere.csv"),
            "--evaluate: 'nowhere.csv' does not",
        ),
        (
            (COUNTS, "--train", data, "--predict", data, "--evaluate", "data.json"),
            "data.json is not a list of records (no 'items')",
        ),
        (
            (COUNTS, "--train", data, "--save-model", f"{data}/model"),
            "--save-model: the folder 'data.csv/model' cannot be",
        ),
        ((COUNTS, "--train", data, "--save-model", "models:/counts/1"), "is in the tracking store"),
        ((COUNTS, "--bad"), "No such option"),
    ):
        code, _, err = run("job", *options, "--no-tracking", cwd=tmp_path)
        assert (code, message in err, "train started" in err) == (2, True, False), err


def test_a_failure_of_the_model_has_a_code(tmp_path: Path, data: str) -> None:
    options = ("--train", data, "--no-tracking", *hyperparameters(tmp_path, fail=True))
    code, _, err = run("job", COUNTS, *options, cwd=tmp_path)
    assert (code, err.count("The model failed in train: ValueError: told to fail")) == (1, 1), err
    code, _, err = run("job", "none.py:Model", *options, cwd=tmp_path)
    assert (code, "there is no file" in err) == (1, True)


def test_a_storage_that_cannot_be_reached_has_a_code(tmp_path: Path) -> None:
    with reserved_port() as place:
        url = f"http://127.0.0.1:{place.getsockname()[1]}/train.csv"
        code, _, err = run("job", COUNTS, "--train", url, "--no-tracking", cwd=tmp_path)
    assert (code, "cannot be reached" in err) == (69, True)


@pytest.mark.parametrize("option", ["--train", "--checkpoint"])
@pytest.mark.parametrize(
    ("credentials", "message"),
    [
        ({}, "Unable to locate credentials"),
        ({"AWS_ACCESS_KEY_ID": "testing"}, "Partial credentials found"),
    ],
)
def test_a_storage_without_credentials_has_the_code_of_wrong_input(
    tmp_path: Path, data: str, option: str, credentials: dict[str, str], message: str
) -> None:
    pytest.importorskip("s3fs")
    nothing = str(tmp_path / "nothing")
    env = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": nothing, "AWS_SHARED_CREDENTIALS_FILE": nothing}
    options = {"--train": data, option: "s3://bucket/place"}
    arguments = [each for pair in options.items() for each in pair]
    code, _, err = run("job", COUNTS, *arguments, "--no-tracking", cwd=tmp_path, env={**env, **credentials})
    assert (code, f"{option}: 's3://bucket/place" in err, message in err) == (2, True, True), err
    assert "train started" not in err


def test_an_interrupted_training_is_saved_and_the_next_job_resumes_it(tmp_path: Path, data: str) -> None:
    options = ("--train", data, "--checkpoint", "checkpoint", "--save-model", "model", "--no-tracking")
    with Service("job", COUNTS, *options, cwd=tmp_path, begun="Listening at ") as job:
        job.wait_for_line("number=")
        job.signal(signal.SIGTERM)
        assert job.wait_exit() == 75, job.output()
    reached = int((tmp_path / "checkpoint" / "mistk-checkpoint" / "number.txt").read_text())
    assert reached > 0
    assert not (tmp_path / "model").exists()
    code, _, err = run("job", COUNTS, *options, *hyperparameters(tmp_path, steps=2), cwd=tmp_path)
    assert code == 0, err
    assert int((tmp_path / "model" / "begun_at.txt").read_text()) == reached
    assert int((tmp_path / "model" / "number.txt").read_text()) == reached + 2


def test_a_checkpoint_in_an_object_storage_is_one_archive(tmp_path: Path, data: str, s3: str) -> None:
    place = f"s3://{new_bucket(s3)}/checkpoints/mine"
    env = {**CREDENTIALS, "AWS_ENDPOINT_URL": s3}
    options = ("--train", data, "--checkpoint", place, "--save-model", "model", "--no-tracking")
    for _ in range(2):
        with Service("job", COUNTS, *options, cwd=tmp_path, begun="Listening at ", env=env) as job:
            job.wait_for_line("number=")
            job.signal(signal.SIGTERM)
            assert job.wait_exit() == 75, job.output()
    code, _, err = run("job", COUNTS, *options, *hyperparameters(tmp_path, steps=2), cwd=tmp_path, env=env)
    assert code == 0, err
    access = {"endpoint_url": s3, "key": "testing", "secret": "testing"}
    filesystem = fsspec.filesystem("s3", skip_instance_cache=True, **access)
    files = filesystem.find(place)
    assert [each.rpartition("/")[2] for each in files] == ["checkpoint.tar"]
    with filesystem.open(files[0]) as file, tarfile.open(fileobj=file) as archive:
        assert {Path(name).name for name in archive.getnames()} == {
            "next",
            "number.txt",
            "begun_at.txt",
            "data.txt",
        }
    begun, number = (int((tmp_path / "model" / name).read_text()) for name in ("begun_at.txt", "number.txt"))
    assert number == begun + 2 > 2


def test_the_last_checkpoint_stays_until_the_next_one_is_complete(tmp_path: Path, data: str) -> None:
    options = ("--train", data, "--checkpoint", "checkpoint", "--save-model", "model")
    hangs = ("--grace", "1", *hyperparameters(tmp_path, hangs_in_save=True))
    for more, code in ((), 75), (hangs, 143):
        with Service("job", COUNTS, *options, *more, cwd=tmp_path, begun="Listening at ") as job:
            job.wait_for_line("number=")
            job.signal(signal.SIGTERM)
            assert job.wait_exit() == code, job.output()
    assert "The interrupted training is not saved: it was not paused and saved within 1 s" in job.output()
    reached = (tmp_path / "checkpoint" / "mistk-checkpoint" / "number.txt").read_text()
    code, _, err = run("job", COUNTS, *options, *hyperparameters(tmp_path, steps=2), cwd=tmp_path)
    assert code == 0, err
    assert (tmp_path / "model" / "begun_at.txt").read_text() == reached
    (last,) = (tmp_path / "checkpoint").iterdir()
    assert {each.name for each in last.iterdir()} == {"number.txt", "begun_at.txt", "data.txt"}


def test_an_interrupted_training_that_cannot_be_saved_has_a_code_of_its_own(tmp_path: Path, data: str) -> None:
    options = ("--train", data, "--save-model", "model", "--no-tracking", "--grace", "1")
    with Service(
        "job", COUNTS, *options, *hyperparameters(tmp_path, deaf=True), cwd=tmp_path, begun="Listening"
    ) as job:
        job.wait_for_line("number=")
        job.signal(signal.SIGTERM)
        assert job.wait_exit() == 143, job.output()
        assert "The interrupted training is not saved: it was not paused and saved within 1 s" in job.output()


# --- SageMaker ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def ml(tmp_path: Path) -> Path:
    """The folder that SageMaker shares with a container."""
    folder = tmp_path / "ml"
    for name in ("input/config", "input/data", "model", "output/data"):
        (folder / name).mkdir(parents=True)
    return folder


def test_a_job_of_sagemaker_reads_and_writes_its_folder(ml: Path, tmp_path: Path) -> None:
    values = {"epochs": "2", "learning_rate": "0.05", "sagemaker_region": '"eu"'}
    (ml / "input" / "config" / "hyperparameters.json").write_text(json.dumps(values))
    for channel, file in (("training", "train.csv"), ("test", "test.csv")):
        (ml / "input" / "data" / channel).mkdir()
        (ml / "input" / "data" / channel / file).write_bytes((DIGITS / "data" / file).read_bytes())
    env = {"SAGEMAKER_BASE_DIR": str(ml), "MISTK_MODEL": DIGITS_MODEL, "MISTK_TRACKING": "false"}
    code, _, err = run("train", cwd=tmp_path, env=env)
    assert code == 0, err
    assert (ml / "model" / "digits.npz").is_file()
    assert (ml / "output" / "data" / "predictions.csv").is_file()
    assert not (ml / "output" / "failure").exists()
    assert "loss=" in err


def test_a_class_that_declares_a_text_gets_the_text_of_sagemaker(ml: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.py").write_text(TEXTS)
    values = {"epochs": "2", "name": "5", "optimizer": '"adam"'}
    (ml / "input" / "config" / "hyperparameters.json").write_text(json.dumps(values))
    (ml / "input" / "data" / "train").mkdir()
    env = {"SAGEMAKER_BASE_DIR": str(ml), "MISTK_TRACKING": "false"}
    code, _, err = run("train", "texts.py:Texts", cwd=tmp_path, env=env)
    assert code == 0, err
    assert json.loads((ml / "model" / "got.json").read_text()) == {"epochs": 2, "name": "5", "optimizer": "adam"}


TEXTS = """
import json
from pathlib import Path

import msgspec
from mistk_service import AbstractModel


class Settings(msgspec.Struct):
    epochs: int
    name: str
    optimizer: str


class Texts(AbstractModel):
    hyperparameters = Settings

    def do_initialize(self, objectives, props, hparams):
        self.got = hparams

    def do_load_data(self, dataset_map):
        pass

    def do_train(self):
        pass

    def do_save_model(self, path):
        Path(path, "got.json").write_text(json.dumps(msgspec.to_builtins(self.got)))
"""


def test_a_failed_job_of_sagemaker_says_why_in_its_file(ml: Path, tmp_path: Path) -> None:
    env = {"SAGEMAKER_BASE_DIR": str(ml), "MISTK_TRACKING": "false"}
    code, _, err = run("train", COUNTS, cwd=tmp_path, env=env)
    assert code == 2, err
    assert (ml / "output" / "failure").read_text().startswith("There is no channel 'train' or 'training'")
    (ml / "input" / "data" / "train").mkdir()
    (ml / "input" / "config" / "hyperparameters.json").write_text('{"fail": "true"}')
    code, _, err = run("train", COUNTS, cwd=tmp_path, env=env)
    assert code == 1, err
    assert "channel" in (ml / "output" / "failure").read_text()  # the first reason stays
    (ml / "output" / "failure").unlink()
    assert run("train", COUNTS, cwd=tmp_path, env=env)[0] == 1
    assert (ml / "output" / "failure").read_text() == "The model failed in train: ValueError: told to fail"


# --- Kubeflow -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def trainer() -> Iterator[tuple[str, list[tuple[str | None, Any]]]]:
    """A server for the progress of jobs: its URL, and what it received."""
    received: list[tuple[str | None, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append((self.headers["authorization"], json.loads(body)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/status", received
        server.shutdown()
        thread.join()


def test_the_progress_is_sent_to_kubeflow(
    tmp_path: Path, data: str, trainer: tuple[str, list[tuple[str | None, Any]]]
) -> None:
    url, received = trainer
    (tmp_path / "token").write_text("secret\n")
    env = {"KUBEFLOW_TRAINER_SERVER_URL": url, "KUBEFLOW_TRAINER_SERVER_TOKEN": str(tmp_path / "token")}
    options = ("--train", data, "--no-tracking", *hyperparameters(tmp_path, steps=4))
    code, _, err = run("job", COUNTS, *options, cwd=tmp_path, env=env)
    assert code == 0, err
    login, body = received[-1]
    status = body["trainerStatus"]
    assert login == "Bearer secret"
    assert status["progressPercentage"] == 100
    assert status["metrics"] == [{"name": "number", "value": "4"}]
    assert status["lastUpdatedTime"].endswith("Z")


def test_a_server_of_kubeflow_that_does_not_answer_fails_nothing(tmp_path: Path, data: str) -> None:
    with reserved_port() as place:
        env = {"KUBEFLOW_TRAINER_SERVER_URL": f"http://127.0.0.1:{place.getsockname()[1]}"}
        options = ("--train", data, "--no-tracking", *hyperparameters(tmp_path, steps=2))
        code, _, err = run("job", COUNTS, *options, cwd=tmp_path, env=env)
    assert (code, "The progress was not sent to Kubeflow" in err) == (0, True)


def test_a_model_in_place_of_a_command_is_served(tmp_path: Path) -> None:
    with Service(COUNTS, "--port", "0", "--no-tracking", cwd=tmp_path) as service:
        assert service.status()["objectInfo"]["name"] == "Counts"
