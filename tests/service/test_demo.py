"""The demonstration shows the run that it has recorded."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.service.harness import run


@pytest.mark.timeout(200)
def test_the_demonstration_ends_with_its_run_and_the_command_that_lists_it(tmp_path: Path) -> None:
    pytest.importorskip("numpy")
    code, out, err = run("demo", "--port", "0", cwd=tmp_path, env={"COLUMNS": "200"}, limit=150)
    assert code == 0, err

    tracked = out.partition("All of it is tracked")[2]

    assert "FINISHED" in tracked
    shown_last = re.findall(r"ready +.*epochs +loss ([\d.]+) +accuracy ([\d.]+)", out)[-1]
    last = [re.search(rf"\W{key} +\W +([\d.]+)", tracked) for key in ("loss", "accuracy")]
    assert shown_last == tuple(found and found[1] for found in last)
    for shown in ("learning_rate", "test_accuracy", "model/digits.npz", "predictions/predictions.csv"):
        assert shown in tracked
    assert re.search(r"open http://127.0.0.1:5000/#/runs/\w{32}", tracked)
    command = shlex.split(next(line for line in tracked.splitlines() if " tracking show " in line))
    listed = run(*command[command.index("tracking") :], cwd=tmp_path, env={"COLUMNS": "200"})
    assert listed[0] == 0, listed
    assert "learning_rate" in listed[1]
    assert "test_accuracy" in listed[1]
    assert "model/digits.npz" in listed[1]
