"""The spool keeps logged files as they were at the call; failures are logged and harm nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mistk_service.core.events import ArtifactLogged
from mistk_service.workers.child.context import WorkerContext
from mistk_service.workers.child.spool import artifact_folder, split_artifact_file
from mistk_service.workers.messages import FromWorker, Reported
from tests.support.harness import of_type


class Kept:
    """A context with a spool, and what it has sent."""

    def __init__(self, folder: Path) -> None:
        self.spool = folder / "new" / "spool"
        self.sent: list[FromWorker] = []
        self.context = WorkerContext(self.sent.append, lambda: False, lambda _: None, lambda: None, str(self.spool))

    def taken(self) -> list[tuple[str, str | None, str | None]]:
        """Return the artifacts that were sent, without any flush."""
        return [artifact for message in self.sent if isinstance(message, Reported) for artifact in message.artifacts]

    def one(self) -> tuple[str, str | None, Path]:
        """Return the only artifact."""
        ((path, folder, kept),) = self.taken()
        assert kept is not None
        return path, folder, Path(kept)

    def entries(self) -> list[str]:
        """Return what lies in the spool."""
        return os.listdir(self.spool) if self.spool.exists() else []


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with a file, and with another in a folder."""
    folder = tmp_path / "files"
    (folder / "sub" / "empty").mkdir(parents=True)
    (folder / "a.txt").write_text("first")
    (folder / "sub" / "b.bin").write_bytes(b"\0\1")
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    """Return the files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_file_is_kept_as_it_was_at_the_call(kept: Kept, files: Path):
    kept.context.log_artifact(files / "a.txt", "folder//of/./runs/")
    (files / "a.txt").write_text("second")
    path, folder, copy = kept.one()
    assert (path, folder, copy.read_text()) == (str(files / "a.txt"), "folder/of/runs", "first")
    assert copy.parent == kept.spool


def test_a_folder_is_kept_with_all_that_is_in_it(kept: Kept, files: Path):
    before = tree(files)
    kept.context.log_artifact(files, None)
    shutil.rmtree(files)
    path, folder, copy = kept.one()
    assert (path, folder, tree(copy)) == (str(files), None, before)


def test_an_empty_folder_is_an_artifact_too(kept: Kept, files: Path):
    kept.context.log_artifact(files / "sub" / "empty", None)
    assert tree(kept.one()[2]) == {}


def test_an_artifact_is_sent_at_once_and_metrics_that_are_held_stay(kept: Kept, files: Path):
    kept.context.hold(True)
    kept.context.report_metrics({"m": 1.0}, 1, 0)
    kept.context.log_artifact(files / "a.txt", None)
    assert [len(message.metrics) for message in kept.sent if isinstance(message, Reported)] == [0]
    assert len(kept.taken()) == 1


@pytest.mark.parametrize("relative", [".", "..", "sub/.."])
def test_the_artifact_of_a_relative_path_has_a_name(
    kept: Kept, files: Path, relative: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(files / "sub" if relative == ".." else files)
    kept.context.log_artifact(Path(relative), None)
    path, _, copy = kept.one()
    assert Path(path) == files
    assert "a.txt" in tree(copy)


@pytest.mark.parametrize(
    ("path", "words"),
    [("missing.txt", "No such file"), ("a\udcff", "surrogate"), ("pipe", "neither a file"), ("/", "has no name")],
)
def test_what_cannot_be_had_is_reported_and_leaves_nothing_behind(
    kept: Kept, tmp_path: Path, caplog: pytest.LogCaptureFixture, path: str, words: str
):
    os.mkfifo(tmp_path / "pipe")
    kept.context.log_artifact(tmp_path / path, None)
    kept.context.flush()
    assert (kept.taken(), kept.entries()) == ([], [])
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert words in record.getMessage()


@pytest.mark.parametrize("folder", ["/abs", "..", "a/../b", "a\\b", "a\nb", "\ud800"])
def test_a_folder_outside_the_run_is_refused_in_the_log(
    kept: Kept, files: Path, caplog: pytest.LogCaptureFixture, folder: str
):
    kept.context.log_artifact(files / "a.txt", folder)
    kept.context.log_text("x", f"{folder}/a.txt")
    kept.context.flush()
    assert (kept.taken(), kept.entries()) == ([], [])
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


def test_in_a_folder_what_is_not_a_file_is_left_out_with_a_word(
    kept: Kept, files: Path, caplog: pytest.LogCaptureFixture
):
    os.mkfifo(files / "pipe")
    (files / "to a file").symlink_to(files / "a.txt")
    (files / "to nothing").symlink_to("/nowhere")
    (files / "to a folder").symlink_to(files)
    kept.context.log_artifact(files, None)
    assert tree(kept.one()[2]) == {"a.txt": b"first", "to a file": b"first", "sub/b.bin": b"\0\1"}
    for name in ("pipe", "to nothing", "to a folder"):
        assert name in caplog.text


def test_a_file_that_vanishes_while_its_folder_is_copied_harms_no_other(
    kept: Kept, files: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    copyfile = shutil.copyfile

    def copy(source: Path, target: Path) -> None:
        if source.name == "a.txt":
            source.unlink()
        copyfile(source, target)

    monkeypatch.setattr(shutil, "copyfile", copy)
    kept.context.log_artifact(files, None)
    assert tree(kept.one()[2]) == {"sub/b.bin": b"\0\1"}
    assert "a.txt was left out" in caplog.text


def refuse_to_list(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a folder be one that may not be read, which for root there is none."""
    scandir = os.scandir

    def look(path: Any = ".") -> Any:
        if str(path) == str(folder):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", look)


def test_a_folder_that_may_not_be_read_is_reported_and_leaves_nothing_behind(
    kept: Kept, files: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    with monkeypatch.context() as closed:
        refuse_to_list(files, closed)
        kept.context.log_artifact(files, None)
    assert (kept.taken(), kept.entries()) == ([], [])
    assert "Permission denied" in caplog.text


def test_in_a_folder_another_that_may_not_be_read_harms_no_file(
    kept: Kept, files: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    with monkeypatch.context() as closed:
        refuse_to_list(files / "sub", closed)
        kept.context.log_artifact(files, None)
    assert tree(kept.one()[2]) == {"a.txt": b"first"}
    assert "Permission denied" in caplog.text


@contextlib.contextmanager
def little_room(size: int) -> Iterator[None]:
    """Let no file become larger than so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("what", ["a.txt", "."])
def test_a_full_spool_is_reported_and_nothing_of_the_copy_is_left(
    kept: Kept, files: Path, caplog: pytest.LogCaptureFixture, what: str
):
    (files / "a.txt").write_bytes(b"x" * 100_000)
    with little_room(50_000):
        kept.context.log_artifact(files / what, None)
    assert (kept.taken(), kept.entries()) == ([], [])
    assert "File too large" in caplog.text
    kept.context.log_artifact(files / what, None)
    assert len(kept.taken()) == 1


def test_a_spool_that_cannot_be_made_is_reported(kept: Kept, files: Path, caplog: pytest.LogCaptureFixture):
    kept.spool.parent.parent.mkdir(exist_ok=True)
    kept.spool.parent.write_text("no folder")
    kept.context.log_artifact(files / "a.txt", None)
    kept.context.log_text("x", "x.txt")
    assert kept.taken() == []
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


def test_a_text_is_kept_just_as_it_is(kept: Kept):
    kept.context.log_text("é☃\r\nline\n", "notes/epoch 3.md")
    path, folder, copy = kept.one()
    assert (path, folder, copy.read_bytes()) == ("epoch 3.md", "notes", "é☃\r\nline\n".encode())


@pytest.mark.parametrize(
    ("text", "file"), [(b"bytes", "a.txt"), (None, "a.txt"), ("\ud800", "a.txt"), ("x", ""), ("x", "a/"), ("x", None)]
)
def test_a_text_that_cannot_be_kept_is_reported(kept: Kept, caplog: pytest.LogCaptureFixture, text: Any, file: Any):
    kept.context.log_text(text, file)
    kept.context.flush()
    assert (kept.taken(), kept.entries()) == ([], [])
    assert "log_text" in caplog.text


@pytest.mark.parametrize(
    ("file", "head"),
    [("plots/loss.png", b"\x89PNG"), ("loss.pdf", b"%PDF"), ("loss", b"\x89PNG"), ("a.b.svg", b"<?xml")],
)
def test_a_figure_of_matplotlib_is_drawn_in_the_format_that_its_name_tells(kept: Kept, file: str, head: bytes):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    figure.subplots().plot([0, 1], [1, 0])
    kept.context.log_figure(figure, file, {"dpi": 40})
    path, _, copy = kept.one()
    assert path == file.rpartition("/")[2]
    assert copy.read_bytes().startswith(head)
    assert kept.entries() == [copy.name]


class Plotly:
    """Behaves as a figure of plotly does."""

    def write_html(self, file: Path, **options: Any) -> None:
        file.write_text(f"html {options}")

    def write_image(self, file: Path, **options: Any) -> None:
        file.write_text(f"image {options}")


@pytest.mark.parametrize(
    ("file", "drawn"),
    [
        ("a.html", "html {'include_plotlyjs': 'cdn', 'auto_open': False, 'scale': 2}"),
        ("a.svg", "image {'scale': 2}"),
    ],
)
def test_a_figure_of_plotly_is_drawn_as_page_or_image(kept: Kept, file: str, drawn: str):
    kept.context.log_figure(Plotly(), file, {"scale": 2})
    assert kept.one()[2].read_text() == drawn


class Broken:
    def savefig(self, target: Path) -> None:
        target.write_text("a part")
        raise LookupError("no such font")


@pytest.mark.parametrize(
    ("figure", "file", "words"),
    [(object(), "a.png", "got object"), (Plotly(), "a.xyz", r".xyz"), (Broken(), "a.png", "no such font")],
)
def test_a_figure_that_cannot_be_drawn_is_reported_and_leaves_nothing_behind(
    kept: Kept, caplog: pytest.LogCaptureFixture, figure: Any, file: str, words: str
):
    kept.context.log_figure(figure, file, {})
    assert (kept.taken(), kept.entries()) == ([], [])
    assert words in caplog.text


def test_a_figure_is_drawn_without_any_library_being_imported_for_it():
    code = "import sys, mistk_service.workers.child.main; print({'matplotlib', 'plotly', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("path", [None, "", ".", "./"])
def test_the_uppermost_folder_of_a_run_has_no_name(path: str | None):
    assert artifact_folder(path) is None


def test_an_artifact_file_is_split_into_name_and_folder():
    assert split_artifact_file("a/./b//c.txt") == ("c.txt", "a/b")
    assert split_artifact_file("c.txt") == ("c.txt", None)


# --- over the whole container ------------------------------------------------------------------------------------------


def content(event: ArtifactLogged) -> bytes:
    """Return what was kept."""
    assert event.kept is not None
    return Path(event.kept).read_bytes()


@pytest.mark.anyio
async def test_what_a_worker_keeps_reaches_the_observers(launch: Callable[..., Any], kind: str, tmp_path: Path):
    source = tmp_path / f"hands_over_{kind}.py"
    source.write_text(
        "import os\n"
        "from mistk_service import AbstractModel\n"
        "class Model(AbstractModel):\n"
        "    def do_train(self):\n"
        f"        os.chdir({str(tmp_path) if kind == 'process' else '.'!r})\n"
        "        self.log_text('text', 'notes/a.txt')\n"
        "        self.log_artifact(__file__)\n"
        "        self.log_artifact('/nowhere/at/all')\n"
    )
    relative = str(Path("..", *([".."] * len(Path.cwd().parts)), *tmp_path.parts[1:], "spool"))
    instance = await (await launch(f"{source}:Model", kind, spool=relative)).ready()
    ended = await instance.run("train")
    assert ended["payload"]["lastActivity"]["outcome"] == "completed"
    text, copy = of_type(instance.events, ArtifactLogged)
    assert (text.path, text.artifact_path, content(text)) == ("a.txt", "notes", b"text")
    assert (copy.path, copy.artifact_path, content(copy)) == (str(source), None, source.read_bytes())
    assert {Path(text.kept).parent, Path(copy.kept).parent} == {tmp_path / "spool"}
    assert ended["payload"]["artifacts"][1] == {"path": str(source), "artifactPath": None}
