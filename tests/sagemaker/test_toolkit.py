"""SageMaker's training toolkit and ``mistk-service train`` run the same job in the same folder.

`make sagemaker` makes the environment of the toolkit, which is large, and runs these tests.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.preloaded import clean_environment
from tests.test_docker import ROOT, sagemakers_folder

TOOLKIT = os.environ.get("SAGEMAKER_TOOLKIT", "")

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.timeout(180),
    pytest.mark.skipif(not TOOLKIT, reason="needs the toolkit: make sagemaker"),
]

#: What the toolkit runs for a user: it tells what the toolkit has read, and hands the job over.
PROGRAM = """
import json, os, subprocess, sys
from pathlib import Path
Path(os.environ["TOLD"]).write_text(json.dumps(dict(os.environ)))
command = [os.environ["SERVICE_PYTHON"], "-m", "mistk_service", "train"]
sys.exit(subprocess.call(command, env=json.loads(os.environ["SERVICE_ENV"])))
"""


def train(ml: Path, model: str) -> tuple[int, dict[str, str]]:
    """Have the toolkit run the job; return its exit code, and the environment that it gave to the program."""
    code = ml.parent / "code"
    code.mkdir()
    (code / "program.py").write_text(PROGRAM)
    config = ml / "input" / "config"
    own = {"sagemaker_program": '"program.py"', "sagemaker_submit_directory": json.dumps(str(code))}
    file = config / "hyperparameters.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | own))
    channels = {each.name: {"TrainingInputMode": "File"} for each in (ml / "input" / "data").iterdir()}
    (config / "inputdataconfig.json").write_text(json.dumps(channels))
    # The toolkit waits until the names of all hosts are known.
    host = {"current_host": "localhost", "hosts": ["localhost"], "network_interface_name": "lo"}
    (config / "resourceconfig.json").write_text(json.dumps(host))
    service = {**clean_environment(), "SAGEMAKER_BASE_DIR": str(ml), "MISTK_MODEL": model, "MISTK_TRACKING": "false"}
    env = {
        "PATH": f"{Path(TOOLKIT).parent}{os.pathsep}{os.environ['PATH']}",
        "SAGEMAKER_BASE_DIR": str(ml),
        "SERVICE_PYTHON": sys.executable,
        "SERVICE_ENV": json.dumps(service | {"PYTHONPATH": str(ROOT)}),
        "TOLD": str(ml.parent / "told.json"),
    }
    done = subprocess.run([TOOLKIT], env=env, cwd=ml.parent, capture_output=True, text=True, check=False, timeout=150)
    assert (ml.parent / "told.json").exists(), done.stdout + done.stderr
    return done.returncode, json.loads((ml.parent / "told.json").read_text())


def test_the_toolkit_reads_the_job_as_the_service_does(tmp_path: Path) -> None:
    ml = sagemakers_folder(tmp_path)
    (ml / "output" / "data").mkdir(parents=True)
    code, told = train(ml, f"{ROOT / 'plugins' / 'digits' / 'model.py'}:Digits")
    assert code == 0
    assert json.loads(told["SM_HPS"]) == {"epochs": 2}
    assert json.loads(told["SM_CHANNELS"]) == ["test", "training"]
    assert Path(told["SM_MODEL_DIR"], "digits.npz").is_file()
    assert Path(told["SM_OUTPUT_DATA_DIR"], "predictions.csv").is_file()
    assert (ml / "output" / "success").exists()
    assert not (ml / "output" / "failure").exists()


def test_a_job_that_fails_for_the_service_fails_for_the_toolkit(tmp_path: Path) -> None:
    ml = sagemakers_folder(tmp_path)
    (ml / "input" / "config" / "hyperparameters.json").write_text('{"fail": "true", "steps": "2"}')
    code, told = train(ml, f"{ROOT / 'tests' / 'models' / 'counts.py'}:Counts")
    assert code == 1
    assert json.loads(told["SM_HPS"]) == {"fail": True, "steps": 2}
    assert (ml / "output" / "failure").read_text().startswith("The model failed in train: ValueError: told to fail")
