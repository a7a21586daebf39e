"""The source of a run: the user and the commit, if they are known."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from mistk_service.recording.source import git_commit, user_name


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a model in it and one that it ignores."""
    git = shutil.which("git")
    if git is None:
        pytest.skip("there is no git")
    (tmp_path / "model.py").write_text("class Model: ...")
    (tmp_path / "ignored.py").write_text("class Model: ...")
    (tmp_path / ".gitignore").write_text("ignored.py")
    settings = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    for arguments in (["init", "-q"], ["add", "."], [*settings, "commit", "-q", "-m", "A model"]):
        subprocess.run([git, "-C", str(tmp_path), *arguments], check=True)
    return tmp_path


def test_the_commit_is_that_of_the_models_file(repository: Path) -> None:
    commit = git_commit(f"{repository / 'model.py'}:Model")

    head = subprocess.run(
        ["git", "-C", str(repository), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    assert commit == head.stdout.strip() != ""


def test_of_a_module_it_is_that_of_the_working_directory(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)

    assert git_commit("model:Model") == git_commit(f"{repository / 'model.py'}:Model") is not None


def test_a_file_that_a_repository_ignores_belongs_to_none_of_its_commits(repository: Path) -> None:
    assert git_commit(f"{repository / 'ignored.py'}:Model") is None


@pytest.mark.parametrize("reference", ["nowhere/model.py:Model", "model.py:Model"])
def test_where_there_is_no_repository_there_is_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: str
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)

    assert git_commit(reference) is None


def test_without_git_there_is_no_commit(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    assert git_commit(f"{repository / 'model.py'}:Model") is None


def test_a_user_without_a_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    assert user_name() != ""
    monkeypatch.setattr("os.geteuid", lambda: 987_654)

    assert user_name() == "987654"
