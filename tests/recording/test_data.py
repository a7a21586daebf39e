"""The data of a run: datasets as inputs, and saved files as artifacts."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mistk_service.core.events import ActivityBegan
from mistk_service.kinds.values import MistkDataset
from mistk_service.recording.datasets import dataset_inputs
from tests.recording.conftest import FAILURE, Story

# --- datasets ---------------------------------------------------------------------------------------------------------


def test_datasets_are_inputs(story: Story, tmp_path: Path) -> None:
    table = tmp_path / "train.csv"
    table.write_text("id,age,size\na,1,0.5\nb,2,1\n")
    datasets = {
        "train": {"dataPath": str(table), "objectInfo": {"name": "people", "kind": "MistkDataset"}, "format": "csv"},
        "test": {"dataPath": str(tmp_path / "missing")},
        "generate": {"datastashId": "7", "modality": "text"},
    }
    story.initialize().did("loadData", datasets).did("train")

    train, test, generate = (use.dataset for use in story.run.inputs.dataset_inputs)
    assert (train.name, train.source_type, json.loads(train.source)) == ("people", "local", {"uri": str(table)})
    columns = json.loads(train.schema or "")["mlflow_colspec"]
    assert [(column["name"], column["type"]) for column in columns] == [
        ("id", "string"),
        ("age", "long"),
        ("size", "double"),
    ]
    assert json.loads(train.profile or "") == {"files": 1, "bytes": table.stat().st_size}
    assert test.name == "missing"
    assert (generate.name, generate.source_type) == ("generate", "mistk")
    contexts = [{tag.key: tag.value for tag in use.tags} for use in story.run.inputs.dataset_inputs]
    assert contexts == [
        {"mlflow.data.context": "training", "mistk.format": "csv"},
        {"mlflow.data.context": "testing"},
        {"mlflow.data.context": "generation", "mistk.modality": "text"},
    ]
    assert all(len(use.dataset.digest) <= 36 for use in story.run.inputs.dataset_inputs)


def test_data_elsewhere_is_known_by_its_address(story: Story) -> None:
    addresses = ("s3://one/x.csv", "https://ann:secret@two.example/x.csv?part=1", "hdfs://three/x.csv")
    story.initialize()
    for role, address in zip(("train", "test", "generate"), addresses, strict=True):
        story.did("loadData", {role: {"dataPath": address, "format": "csv"}})
    story.did("train")

    found = [use.dataset for use in story.run.inputs.dataset_inputs]
    assert [dataset.name for dataset in found] == ["x.csv"] * 3
    assert [(dataset.source_type, json.loads(dataset.source)) for dataset in found] == [
        ("s3", {"uri": "s3://one/x.csv"}),
        ("http", {"url": "https://two.example/x.csv?part=1"}),
        ("hdfs", {"uri": "hdfs://three/x.csv"}),
    ]
    assert len({dataset.digest for dataset in found}) == 3


def test_places_without_files_are_not_taken_for_the_same_data(story: Story, tmp_path: Path) -> None:
    story.initialize()
    for role, folder in (("train", tmp_path / "a" / "data"), ("test", tmp_path / "b" / "data")):
        folder.mkdir(parents=True)
        story.did("loadData", {role: {"dataPath": str(folder)}})
    story.did("train")

    first, second = (use.dataset for use in story.run.inputs.dataset_inputs)
    assert (first.name, second.name) == ("data", "data")
    assert first.digest != second.digest


def test_of_a_table_no_more_is_read_than_its_columns_take(story: Story, tmp_path: Path) -> None:
    table, endless, pipe = tmp_path / "table.csv", tmp_path / "endless.csv", tmp_path / "pipe.csv"
    long = "," + ",".join(["x" * 100_000] * 4) + "\n"
    table.write_text("a,b,c,d,e,f\n" + f"1,2{long}" * 10 + f"3,word{long}" * 10)  # cut off in the first row with a word
    endless.write_text(",".join(f"{number:0100000}" for number in range(50)))
    os.truncate(endless, 1 << 36)
    os.mkfifo(pipe)
    story.initialize()
    for place in (table, endless, pipe):
        story.did("loadData", {"train": {"dataPath": str(place), "objectInfo": {"name": place.name}}})
    story.did("train")

    schemas = {use.dataset.name: use.dataset.schema for use in story.run.inputs.dataset_inputs}
    columns = json.loads(schemas["table.csv"] or "")["mlflow_colspec"]
    assert [(column["name"], column["type"]) for column in columns[:2]] == [("a", "long"), ("b", "long")]
    assert (schemas["endless.csv"], schemas["pipe.csv"]) == (None, None)


def test_a_digest_is_that_of_the_content(story: Story, tmp_path: Path) -> None:
    one, same, other = tmp_path / "one", tmp_path / "same", tmp_path / "other"
    for folder, text in ((one, "x"), (same, "x"), (other, "y")):
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / "file").write_text(text)
    story.initialize()
    for folder in (one, same, other):
        story.did("loadData", {"train": {"dataPath": str(folder), "objectInfo": {"name": folder.name}}})
    story.did("train")

    digests = {use.dataset.name: use.dataset.digest for use in story.run.inputs.dataset_inputs}
    assert digests["one"] == digests["same"] != digests["other"]


def test_a_dataset_that_is_loaded_later_is_an_input_too_and_one_that_failed_is_none(story: Story) -> None:
    story.initialize().did("train").did("loadData", {"test": {"objectInfo": {"name": "late"}}})
    story.did("loadData", {"test": {"objectInfo": {"name": "broken"}}}, outcome="unsupported")

    assert [use.dataset.name for use in story.run.inputs.dataset_inputs] == ["late"]


@pytest.mark.parametrize(
    "place", ["/proc/self/environ", "/proc/self/pagemap", "/proc/cpuinfo", "/sys/kernel/uevent_seqnum", "/dev/zero"]
)
def test_nothing_is_read_of_what_the_system_shows_about_itself(story: Story, tmp_path: Path, place: str) -> None:
    link, folder = tmp_path / "link.csv", tmp_path / "folder"
    link.symlink_to(place)
    folder.mkdir()
    (folder / "link").symlink_to(place)
    story.initialize()
    for number, path in enumerate((place, str(link), str(folder))):
        story.did("loadData", {"train": {"dataPath": path, "format": "csv", "objectInfo": {"name": str(number)}}})
    story.did("train")

    found = [use.dataset for use in story.run.inputs.dataset_inputs]
    assert [dataset.schema for dataset in found] == [None, None, None]
    assert [json.loads(dataset.profile or "") for dataset in found] == [{"files": 0, "bytes": 0}] * 3


def test_what_has_nul_in_it_is_not_a_table(story: Story, tmp_path: Path) -> None:
    (tmp_path / "environ").write_bytes(b"TOKEN=secret\0HOME=/root\0")
    story.initialize().did("loadData", {"train": {"dataPath": str(tmp_path / "environ"), "format": "csv"}}).did("train")

    (use,) = story.run.inputs.dataset_inputs
    assert use.dataset.schema is None


def test_data_that_cannot_be_looked_at_in_time_is_known_by_its_path_and_a_note_says_so(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    notes: list[str] = []

    (use,) = dataset_inputs({"train": MistkDataset(data_path=str(tmp_path / "table.csv"))}, notes.append, seconds=0)

    assert (use.dataset.name, use.dataset.schema) == ("table.csv", None)
    assert notes == [f"The dataset {tmp_path / 'table.csv'} could not be examined in time; the run has its path only."]


# --- files ------------------------------------------------------------------------------------------------------------


def test_what_is_saved_becomes_artifacts(story: Story, tmp_path: Path) -> None:
    for name in ("m", "p", "g"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / f"{name}.txt").write_text(name)
    story.initialize().did("train").did("saveModel", str(tmp_path / "m"))
    story.did("savePredictions", str(tmp_path / "p")).did("saveGenerations", str(tmp_path / "g"))

    assert story.files(story.run) == {
        "model/deep/m.txt": "m",
        "predictions/deep/p.txt": "p",
        "generations/deep/g.txt": "g",
    }
    assert story.statuses == ["FINISHED"]


def test_a_link_to_a_folder_is_left_out_of_what_is_saved_with_a_word(story: Story, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    (folder / "weights").mkdir(parents=True)
    (folder / "weights" / "first").write_text("w")
    (folder / "latest").symlink_to(folder / "weights")
    story.initialize().did("train").did("saveModel", str(folder))

    assert story.files(story.run) == {"model/weights/first": "w"}
    assert story.notes == [f"The artifact {folder / 'latest'} was not stored: links are not followed"]


def test_of_a_folder_only_what_the_save_wrote_becomes_artifacts(story: Story, tmp_path: Path) -> None:
    folder, secret = tmp_path / "home", tmp_path / "secret"
    (folder / ".ssh").mkdir(parents=True)
    (folder / ".ssh" / "id_rsa").write_text("key")
    (folder / "old-model").write_text("of an earlier save by somebody else")
    secret.write_text("secret")
    (folder / "link-that-lay-there").symlink_to(secret)
    story.looks = True
    story.initialize().began("saveModel", str(folder))
    (folder / "weights").mkdir()
    (folder / "weights" / "first").write_text("w")
    (folder / "old-model").write_text("new")
    (folder / "link").symlink_to(secret)
    story.ended("saveModel")

    assert story.files(story.run) == {"model/weights/first": "w", "model/old-model": "new"}
    assert story.notes == [f"The artifact {folder / 'link'} was not stored: links are not followed"]


def test_what_an_earlier_save_wrote_and_the_next_one_leaves_as_it_is_belongs_to_both(
    story: Story, tmp_path: Path
) -> None:
    (tmp_path / "m").mkdir()
    story.looks = True
    story.initialize().began("saveModel", str(tmp_path / "m"))
    (tmp_path / "m" / "tokens").write_text("t")
    story.ended("saveModel").began("saveModel", str(tmp_path / "m"))
    (tmp_path / "m" / "weights").write_text("w")
    story.ended("saveModel")

    assert story.files(story.run) == {"model/tokens": "t", "model/weights": "w"}


def test_a_folder_with_too_much_in_it_is_not_handed_out(story: Story, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    story.initialize().tell(ActivityBegan("saveModel", (str(tmp_path),), before=None)).ended("saveModel")

    assert story.files(story.run) == {}
    assert any("Save to a folder of its own" in note for note in story.notes)


def test_what_is_saved_again_replaces_what_was_saved_before(story: Story, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "old").write_text("1")
    story.initialize().did("saveModel", str(folder))
    (folder / "old").rename(folder / "new")

    story.did("saveModel", str(folder))

    assert story.files(story.run) == {"model/new": "1"}


def test_what_failed_to_be_saved_is_not_an_artifact(story: Story, tmp_path: Path) -> None:
    (tmp_path / "half").write_text("x")
    story.initialize().began("saveModel", str(tmp_path)).ended("saveModel", "failed", FAILURE)

    assert story.files(story.run) == {}
    assert story.statuses == ["FAILED"]


def test_the_services_own_folder_is_nobodys_artifact(story: Story, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "tracking.db").write_text("the store")
    (tmp_path / "model.txt").write_text("x")

    story.initialize().did("saveModel", str(tmp_path))

    assert "model/model.txt" in story.files(story.run)
    assert not any("tracking.db" in path for path in story.files(story.run))

    story.did("saveModel", str(tmp_path / "state"))

    assert not any("tracking.db" in path for path in story.files(story.run))
    assert any("Save elsewhere" in note for note in story.notes)


def test_artifacts_are_moved_from_where_they_are_kept_and_copied_from_where_they_are_not(
    story: Story, tmp_path: Path
) -> None:
    kept, folder, plain = tmp_path / "3f7a", tmp_path / "9b1c", tmp_path / "plain.txt"
    kept.write_text("kept")
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "file").write_text("below")
    plain.write_text("plain")
    story.initialize().began("train").artifact(Path("/gone/report.txt"), "texts", str(kept))
    story.artifact(Path("/gone/plots"), None, str(folder)).artifact(plain)

    assert story.files(story.run) == {"texts/report.txt": "kept", "plots/sub/file": "below", "plain.txt": "plain"}
    assert plain.exists()
    assert not kept.exists()
    assert not folder.exists()


@pytest.mark.parametrize("path", ["missing.txt", "folder/../../x"])
def test_an_artifact_that_cannot_be_kept_is_reported_and_harms_nothing(story: Story, tmp_path: Path, path: str) -> None:
    there = tmp_path / "there.txt"
    there.write_text("x")
    story.initialize().began("train").artifact(tmp_path / path).artifact(there, "../up").artifact(there, "ok")

    assert story.files(story.run) == {"ok/there.txt": "x"}
    assert len(story.notes) == 2
