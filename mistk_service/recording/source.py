"""Where a run comes from: who runs it, and the commit of the model's code."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

__all__ = ["git_commit", "user_name"]

#: Seconds that git may take.
_PATIENCE = 5.0


def user_name() -> str:
    """Return the name of the user that this process belongs to, or its number where it has no name."""
    number = os.geteuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def git_commit(reference: str) -> str | None:
    """Return the commit that the model's code is at, or None where there is no git, no repository, or no commit.

    Args:
        reference: the model; of a module by its dotted name, the working directory is looked at.
    """
    git = shutil.which("git")
    module = Path(reference.rpartition(":")[0])
    file = module.absolute() if module.suffix == ".py" else Path.cwd()
    folder = file.parent if module.suffix == ".py" else file
    if git is None or not folder.is_dir():
        return None
    # A file that the repository ignores, as an environment inside of it is, does not belong to any of its commits.
    if _answer(git, folder, "check-ignore", str(file)):
        return None
    return _answer(git, folder, "rev-parse", "--verify", "HEAD") or None


def _answer(git: str, folder: Path, *arguments: str) -> str:
    """Return what git says; nothing where it fails or does not answer."""
    try:
        done = subprocess.run(
            [git, "-C", str(folder), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=True,
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
    return done.stdout.strip()
