"""What is secret stays with the service: its environment, and the files that it keeps."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.service.conftest import Start
from tests.service.harness import Service

MODEL = """
import os
from pathlib import Path
from mistk_service import AbstractModel

class Model(AbstractModel):
    def do_train(self):
        self.update_status(dict(os.environ))
        Path("kept.txt").write_text("by the model")
        self.log_artifact(Path("kept.txt"))
        Path("weights").mkdir()
        Path("weights/layer.txt").write_text("by the model")
        self.log_artifact(Path("weights"))

    def do_save_model(self, path):
        (Path(path) / "model.txt").write_text("by the model")
"""

SECRETS = {
    "MLFLOW_TRACKING_TOKEN": "a token",
    "MLFLOW_TRACKING_PASSWORD": "a password",
    "AWS_ACCESS_KEY_ID": "a key",
    "AWS_SECRET_ACCESS_KEY": "a secret",
    "AWS_SESSION_TOKEN": "a token",
    "MLFLOW_S3_ENDPOINT_URL": "https://ann:secret@storage",
}
PLAIN = {"AWS_REGION": "eu-central-1", "MLFLOW_RUN_NAME": "a run", "HF_TOKEN": "the model's own"}


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "private_model.py").write_text(MODEL)
    return f"{tmp_path / 'private_model.py'}:Model"


def trained(service: Service) -> dict[str, str]:
    """Train, and return the environment that the model saw."""
    service.make_ready()
    seen: dict[str, str] = service.do("train")["payload"]
    return seen


def test_the_model_does_not_see_the_services_secrets(start: Start, model: str) -> None:
    seen = trained(start(model=model, env={**SECRETS, **PLAIN}))
    assert SECRETS.keys() & seen.keys() == set()
    assert PLAIN.items() <= seen.items()


def test_the_model_sees_a_secret_that_is_listed(start: Start, model: str) -> None:
    options = ("--worker-env", "AWS_ACCESS_KEY_ID", "--worker-env", "AWS_SECRET_ACCESS_KEY")
    seen = trained(start(*options, model=model, env=SECRETS))
    assert SECRETS.keys() & seen.keys() == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_the_service_keeps_is_for_its_own_user_and_what_the_model_saves_is_not(
    start: Start, model: str, tmp_path: Path
) -> None:
    given = os.umask(0o022)
    try:
        service = start(model=model)
    finally:
        os.umask(given)
    tmp_path.chmod(0o755)
    trained(service)
    service.do("saveModel", modelPath=str(tmp_path / "out" / "model"))
    service.post("shutdown")
    assert service.wait_exit() == 0
    kept = [tmp_path / "mistk-state", *(tmp_path / "mistk-state").rglob("*")]
    assert {"tracking.db", "kept.txt", "layer.txt"} <= {path.name for path in kept}
    assert {(path.is_dir(), oct(mode(path))) for path in kept} == {(True, "0o700"), (False, "0o600")}
    assert [mode(tmp_path / "out" / "model"), mode(tmp_path / "out" / "model" / "model.txt")] == [0o755, 0o644]
