"""The start under limits of the operating system that are too low."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.harness import reference


@pytest.mark.parametrize(("command", "code"), [(("serve",), 1), (("job", "--train", "data.csv"), 2)])
@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("n", 24, "Error: This process may have 24 open files; expected at least 64."),
        ("v", 300_000, "Error: This process may have 307200000 bytes of address space; expected at least 2147483648."),
    ],
)
def test_a_limit_that_is_too_low_is_named_in_one_line(
    tmp_path: Path, command: tuple[str, ...], code: int, limit: str, value: int, message: str
) -> None:
    options = ("--port", "0", "--log-format", "text")
    program = (sys.executable, "-m", "mistk_service", *command, *options, reference("nothing:Nothing"))
    limited = ("/bin/sh", "-c", f'ulimit -{limit} {value} && exec "$@"', "sh", *program)
    done = subprocess.run(limited, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    assert f"ulimit -{limit}" in done.stderr
