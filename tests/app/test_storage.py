"""Models and data in other storages are fetched, archives are unpacked, and errors name the remedy."""

from __future__ import annotations

import io
import json
import random
import shutil
import tarfile
from pathlib import Path

import fsspec
import pytest
from click.testing import CliRunner
from starlette.responses import PlainTextResponse

from mistk_service.app.autostart import read_values
from mistk_service.app.cli import main
from mistk_service.app.exit_codes import ExitCode, exit_code_of
from mistk_service.app.platforms import model_folder
from mistk_service.app.storage import UnusableStorage, fetched, store
from mistk_service.errors import Failure, HookFailed, InvalidRequest, MistkError, StorageUnreachable
from mistk_service.tracking.errors import StoreUnavailable
from tests.support.serving import served


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with a file and a folder."""
    folder = tmp_path / "model"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "deep" / "b.txt").write_text("b")
    return folder


def contents(folder: str | Path) -> dict[str, str]:
    """Return the files below a folder with their texts."""
    files = (each for each in Path(folder).rglob("*") if each.is_file())
    return {file.relative_to(folder).as_posix(): file.read_text() for file in files}


SAME = {"a.txt": "a", "deep/b.txt": "b"}


def test_a_path_stays_where_it_is(model: Path, tmp_path: Path) -> None:
    assert fetched(str(model), tmp_path / "scratch", "--build-from") == str(model)
    assert fetched(str(model / "a.txt"), tmp_path / "scratch", "--train") == str(model / "a.txt")
    assert not (tmp_path / "scratch").exists()


def test_a_model_of_the_store_is_left_to_the_store(tmp_path: Path) -> None:
    for uri in ("models:/kept@best", "runs:/abc/model"):
        assert fetched(uri, tmp_path, "--build-from") == uri


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar", "xztar"])
@pytest.mark.parametrize("inside", ["", "model"], ids=["of files", "of one folder"])
def test_an_archive_is_unpacked(model: Path, tmp_path: Path, kind: str, inside: str) -> None:
    root = model.parent if inside else model
    archive = shutil.make_archive(str(tmp_path / "packed"), kind, root, inside or None)
    assert contents(fetched(archive, tmp_path / "scratch", "--build-from")) == SAME


def test_an_archive_cannot_write_outside_of_its_folder(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("../outside"), io.BytesIO())
    with pytest.raises(InvalidRequest, match=r"--build-from: the archive .* cannot be unpacked"):
        fetched(str(tmp_path / "bad.tar"), tmp_path / "scratch" / "deep", "--build-from")
    assert not (tmp_path / "scratch" / "outside").exists()


def test_a_broken_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.zip").write_text("no archive")
    with pytest.raises(InvalidRequest, match="cannot be unpacked"):
        fetched(str(tmp_path / "broken.zip"), tmp_path / "scratch", "--build-from")


@pytest.mark.parametrize("kind", ["gztar", "xztar", "bztar"])
def test_an_archive_whose_data_have_changed_is_refused(model: Path, tmp_path: Path, kind: str) -> None:
    (model / "weights").write_bytes(random.Random(1).randbytes(200_000))
    archive = Path(shutil.make_archive(str(tmp_path / "packed"), kind, model))
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.write_bytes(data)
    with pytest.raises(InvalidRequest, match=r"--build-from: the archive .* cannot be unpacked"):
        fetched(str(archive), tmp_path / "scratch", "--build-from")


def test_an_archive_that_asks_for_a_password_is_refused(model: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", model))
    data = bytearray(archive.read_bytes())
    for header, flags in (b"PK\x03\x04", 6), (b"PK\x01\x02", 8):
        data[data.index(b"a.txt", data.index(header)) - (30 if flags == 6 else 46) + flags] |= 1
    archive.write_bytes(data)
    with pytest.raises(InvalidRequest, match=r"cannot be unpacked: .*password"):
        fetched(str(archive), tmp_path / "scratch", "--build-from")


def test_a_folder_travels_through_a_storage(model: Path, tmp_path: Path) -> None:
    store(model, "memory://bucket/model", "--save-model")
    assert contents(fetched("memory://bucket/model", tmp_path / "scratch", "--build-from")) == SAME
    single = fetched("memory://bucket/model/a.txt", tmp_path / "scratch", "--train")
    assert Path(single).read_text() == "a"


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    for place in ("", "nowhere", "memory://bucket/nothing"):
        with pytest.raises(InvalidRequest, match=f"--train: '{place}' does not exist"):
            fetched(place, tmp_path / "scratch", "--train")


def test_a_path_that_cannot_be_looked_at_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"--train: 'x+' cannot be read \(File name too long\)"):
        fetched("x" * 5000, tmp_path / "scratch", "--train")


def test_an_unknown_kind_of_url_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="--build-from: 'odd://place' cannot be used"):
        fetched("odd://place", tmp_path / "scratch", "--build-from")


class Broken(fsspec.AbstractFileSystem):  # type: ignore[misc]
    """A storage that does not answer."""

    protocol = "broken"

    def info(self, path: str, **kwargs: object) -> object:
        raise ConnectionError("the network is down")


def test_a_storage_that_does_not_answer_can_be_tried_again_and_no_password_is_shown(tmp_path: Path) -> None:
    fsspec.register_implementation("broken", Broken, clobber=True)
    with pytest.raises(StorageUnreachable, match="network is down") as caught:
        fetched("broken://user:secret@place/model", tmp_path / "scratch", "--build-from")
    assert "secret" not in str(caught.value)


class Forbidden(Broken):
    def info(self, path: str, **kwargs: object) -> object:
        raise PermissionError("Access Denied")


def test_a_storage_that_refuses_the_credentials_is_wrong_input(tmp_path: Path) -> None:
    fsspec.register_implementation("forbidden", Forbidden, clobber=True)
    with pytest.raises(InvalidRequest, match=r"--train: 'forbidden://host/x' cannot be used: Access Denied. Give the"):
        fetched("forbidden://host/x", tmp_path, "--train")


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (401, UnusableStorage, "cannot be used: the server answered 401. Give the service credentials"),
        (403, UnusableStorage, "cannot be used: the server answered 403. Give the service credentials"),
        (404, InvalidRequest, "does not exist"),
        (503, StorageUnreachable, "cannot be reached"),
    ],
)
def test_the_status_of_a_web_server_tells_whether_another_attempt_makes_sense(
    tmp_path: Path, status: int, error: type[MistkError], said: str
) -> None:
    with served(PlainTextResponse("no", status)) as url, pytest.raises(error, match=said):
        fetched(f"{url}/model.zip", tmp_path, "--build-from")


def test_values_are_read_from_json_and_yaml(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"epochs": 3}))
    (tmp_path / "a.yaml").write_text("epochs: 3\n")
    assert read_values(str(tmp_path / "a.json"), "--properties") == {"epochs": 3}
    assert read_values(str(tmp_path / "a.yaml"), "--properties") == {"epochs": 3}
    assert read_values(None, "--properties") == {}


@pytest.mark.parametrize("text", ["[1]", "{1: 2}", "{a: [", "\x00", "a: &a [*a]", f"a: {2**70}"])
def test_a_file_without_values_by_name_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(InvalidRequest, match=r"--properties: .*file"):
        read_values(str(tmp_path / "file"), "--properties")


def test_the_exit_code_tells_whether_another_attempt_makes_sense() -> None:
    assert exit_code_of(InvalidRequest("no")) is ExitCode.BAD_INPUT
    assert exit_code_of(HookFailed("train", Failure("ValueError", "no"))) is ExitCode.FAILED
    assert exit_code_of(StorageUnreachable("no")) is exit_code_of(StoreUnavailable("no")) is ExitCode.STORAGE


def test_the_folder_of_a_platform_counts_if_it_has_files(tmp_path: Path) -> None:
    environ = {"SAGEMAKER_BASE_DIR": str(tmp_path)}
    assert model_folder(environ) is None
    (tmp_path / "model").mkdir()
    assert model_folder(environ) is None
    (tmp_path / "model" / "weights").touch()
    assert model_folder(environ) == str(tmp_path / "model")


def test_the_variables_of_platforms_name_the_model() -> None:
    help = CliRunner().invoke(main, ["serve", "--help"]).output
    assert "MISTK_BUILD_FROM, AIP_STORAGE_URI, AZUREML_MODEL_DIR" in " ".join(help.split())
