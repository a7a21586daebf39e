"""The source of a run: the user, and the commit of the model's code."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

#: Seconds that git may take.
_GIT_TIMEOUT = 5.0


def user_name() -> str:
    """Return the name of the user of this process, or the user's number if there is no name."""
    number = os.geteuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def git_commit(reference: str) -> str | None:
    """Return the commit of the model's code, or None if there is no git, no repository, or no commit.

    Args:
        reference: the model; for a module by its dotted name, the working directory is used.
    """
    git = shutil.which("git")
    module = Path(reference.rpartition(":")[0])
    file = module.absolute() if module.suffix == ".py" else Path.cwd()
    folder = file.parent if module.suffix == ".py" else file
    if git is None or not folder.is_dir():
        return None
    # A file that the repository ignores, such as one in a virtual environment, does not belong to a commit.
    if _output(git, folder, "check-ignore", str(file)):
        return None
    return _output(git, folder, "rev-parse", "--verify", "HEAD") or None


def _output(git: str, folder: Path, *arguments: str) -> str:
    """Return the output of git, or nothing if it fails or times out."""
    try:
        done = subprocess.run(
            [git, "-C", str(folder), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT,
            check=True,
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
    return done.stdout.strip()
