"""What the README tells a newcomer to type, typed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from mistk_service import AbstractModel
from tests.service.conftest import Start

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SECTION = README[README.index("## A model in five minutes") : README.index("### Hooks")]
FIRST_URL = "http://127.0.0.1:8080"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.+?)```", SECTION, re.DOTALL)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_five_minutes_end_with_calls_that_use_the_model(start: Start, tmp_path: Path) -> None:
    model, client = blocks("python")
    prepare, use = blocks("sh")
    (tmp_path / "mean_model.py").write_text(model)
    (values,) = [line for line in prepare.splitlines() if line.startswith("echo")]
    subprocess.run(["bash", "-c", values], cwd=tmp_path, check=True, timeout=30)

    service = start(model="mean_model.py:MeanModel")
    done = subprocess.run([sys.executable, "-c", client.replace(FIRST_URL, service.url)], cwd=tmp_path, check=False,
                          capture_output=True, text=True, timeout=60)  # fmt: skip
    assert done.returncode == 0, done.stderr
    service.do("reset")

    calls = f"set -e\n{use}".replace(FIRST_URL, service.url)
    done = subprocess.run(["bash", "-c", calls], cwd=tmp_path, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert '{"a":3.0}' in done.stdout
    assert '"code":' not in done.stdout
    assert (tmp_path / "mean" / "mean.json").read_text() == "3.0"
    assert service.wait_exit() == 0


def test_every_hook_and_every_extra_is_in_the_readme() -> None:
    hooks = [name for name in vars(AbstractModel) if name.startswith("do_")]
    assert [name for name in hooks if f"`{name}(self" not in README] == []
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = set(project["optional-dependencies"]) - {"dev"}
    assert [name for name in extras if f"| `{name}` |" not in README] == []
