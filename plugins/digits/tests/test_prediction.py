"""Predictions: of the test set, into a file, and of records that come with a request."""

from __future__ import annotations

import base64
import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from digits.errors import BadRecord, CannotWrite, NotReady, UnreadableData
from digits.images import PIXELS, Images
from digits.model import Digits
from digits.predictions import picture
from digits.reader import read_images
from digits.records import decode_records, encode_record
from hypothesis import given, settings
from hypothesis import strategies as st

from mistk_service import DetachedContext, MistkDataset

DATA = Path(__file__).parent.parent / "data"

Interrupt = Callable[..., Any]


@pytest.fixture(scope="module")
def context() -> DetachedContext:
    """What the model has reported."""
    return DetachedContext()


@pytest.fixture(scope="module")
def model(context: DetachedContext) -> Digits:
    """A model that has learned a little."""
    model = Digits()
    model.attach(context)
    model.do_initialize(["training", "prediction"], {}, {"epochs": 5})
    model.do_load_data({role: MistkDataset(data_path=str(DATA)) for role in ("train", "test")})
    model.do_build_model()
    model.do_train()
    return model


@pytest.fixture(scope="module")
def images() -> Images:
    return read_images(DATA / "test.csv")


def test_predictions_are_written_as_id_label_confidence(
    model: Digits, context: DetachedContext, images: Images, tmp_path: Path
) -> None:
    labels = images.labels
    assert labels is not None
    model.do_predict()
    model.do_save_predictions(str(tmp_path / "new"))
    with (tmp_path / "new" / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "label", "confidence"]
    assert [row["id"] for row in rows] == list(images.ids)
    assert all(0.1 <= float(row["confidence"]) <= 1 for row in rows)
    right = np.mean([int(row["label"]) == label for row, label in zip(rows, labels, strict=True)])
    assert right == pytest.approx(context.status["test_accuracy"])
    assert right > 0.9


def test_stream_predictions_agree_with_the_batch(model: Digits, images: Images, tmp_path: Path) -> None:
    model.do_predict()
    model.do_save_predictions(str(tmp_path))
    with (tmp_path / "predictions.csv").open(newline="", encoding="utf-8") as file:
        expected = {row["id"]: row for row in csv.DictReader(file)}
    answers = model.do_stream_predict({i: encode_record(p) for i, p in zip(images.ids, images.pixels, strict=True)})
    assert list(answers) == list(images.ids)
    for identifier, answer in answers.items():
        assert set(answer) == {"label", "confidence"}
        assert answer["label"] == int(expected[identifier]["label"])
        assert answer["confidence"] == pytest.approx(float(expected[identifier]["confidence"]), abs=2e-6)


def test_an_answer_does_not_depend_on_what_else_is_in_the_request(model: Digits, images: Images) -> None:
    records = {i: encode_record(p) for i, p in zip(images.ids, images.pixels, strict=True)}
    together = model.do_stream_predict(records)
    for identifier in images.ids[::20]:
        alone = model.do_stream_predict({identifier: records[identifier]})[identifier]
        assert alone["label"] == together[identifier]["label"]
        assert alone["confidence"] == pytest.approx(together[identifier]["confidence"], abs=2e-6)


def test_details_explain_the_answer_in_markdown(model: Digits, images: Images) -> None:
    answer = model.do_stream_predict({"a": encode_record(images.pixels[0])}, details=True)["a"]
    assert answer["label"] == int(np.argmax(answer["probabilities"]))
    assert sum(answer["probabilities"]) == pytest.approx(1, abs=1e-5)
    lines = answer["explanation"].splitlines()
    assert lines[0].startswith(f"**{answer['label']}** with probability")
    rows = [line for line in lines if line.startswith("| ") and line[2].isdigit()]
    assert sorted(row[2] for row in rows) == list("0123456789")
    assert rows[0].startswith(f"| {answer['label']} | ")
    assert picture(images.pixels[0]) in answer["explanation"]


def test_the_picture_is_as_dark_as_the_pixels() -> None:
    pixels = np.zeros(PIXELS)
    pixels[1], pixels[8] = 16, 8
    assert picture(pixels).split("\n") == ["  @@", "==", *[""] * 6]


def test_an_empty_request_has_an_empty_answer(model: Digits) -> None:
    assert model.do_stream_predict({}) == {}
    assert model.do_stream_predict({}, details=True) == {}


def encoded(values: object, kind: str = "<f4") -> str:
    return base64.b64encode(np.asarray(values, dtype=kind).tobytes()).decode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%%%", "it is not base64"),
        ("abc", "it is not base64"),
        ("", "it has 0 bytes instead of 256"),
        (encoded(np.zeros(63)), "it has 252 bytes instead of 256"),
        (encoded(np.zeros(64), "<f8"), "it has 512 bytes instead of 256, which would be 64 numbers of float64"),
        (encoded(np.zeros(64), "u1"), "it has 64 bytes instead of 256, which would be 64 numbers of uint8"),
        (encoded([0, np.nan, *[0] * 62]), "pixel 1 is nan"),
        (encoded([*[0] * 63, np.inf]), "pixel 63 is inf"),
        (encoded([255, *[0] * 63]), r"pixel 0 is 255, which is not in 0\.\.16"),
        (encoded([-1, *[0] * 63]), "pixel 0 is -1"),
        (None, "it is not base64"),
    ],
)
def test_a_record_that_is_not_an_image_is_named_with_what_is_wrong(model: Digits, text: Any, expected: str) -> None:
    good = encoded(np.zeros(64))
    with pytest.raises(BadRecord, match=f"'bad one' is not an image: {expected}") as caught:
        model.do_stream_predict({"good": good, "bad one": text})
    assert caught.value.identifier == "bad one"


@settings(max_examples=30)
@given(
    st.dictionaries(st.text(), st.lists(st.floats(0, 16, width=32), min_size=64, max_size=64), max_size=4),
    st.booleans(),
)
def test_records_come_back_as_they_were_encoded(records: dict[str, list[float]], wrapped: bool) -> None:
    texts = {identifier: encode_record(np.array(values)) for identifier, values in records.items()}
    if wrapped:
        texts = {i: "\r\n".join(text[k : k + 76] for k in range(0, len(text), 76)) for i, text in texts.items()}
    np.testing.assert_array_equal(decode_records(texts), np.array(list(records.values())).reshape(-1, 64))


def test_a_test_set_without_labels_is_predicted_without_an_accuracy(
    model: Digits, images: Images, tmp_path: Path, interrupt: Interrupt
) -> None:
    np.savez(tmp_path / "unlabelled.npz", images=images.pixels)
    own = Digits()
    context = interrupt(own, None)
    own.do_load_data({"test": MistkDataset(data_path=str(tmp_path))})
    model.do_save_model(str(tmp_path / "model"))
    own.do_build_model(str(tmp_path / "model"))
    own.do_predict()
    own.do_save_predictions(str(tmp_path))
    assert "test_accuracy" not in context.status
    assert context.metrics == []
    assert context.done == (6, 6, "batches")


def test_an_accuracy_does_not_outlive_what_it_was_measured_on(interrupt: Interrupt) -> None:
    model = Digits()
    context = interrupt(model, None)
    model.do_initialize(["training"], {}, {"epochs": 1})
    model.do_load_data({role: MistkDataset(data_path=str(DATA)) for role in ("train", "test")})
    model.do_build_model()
    model.do_train()
    model.do_predict()
    assert "test_accuracy" in context.status
    model.do_load_data({"test": MistkDataset(data_path=str(DATA / "train.csv"))})
    assert "test_accuracy" not in context.status
    model.do_predict()
    model.do_train()
    assert "test_accuracy" not in context.status


def test_there_is_nothing_to_save_before_predict(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="call predict first"):
        Digits().do_save_predictions(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_for_predictions_that_cannot_be_made_is_named(model: Digits, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    model.do_predict()
    with pytest.raises(CannotWrite, match=r"Cannot write predictions\.csv to .*is a file and not a folder"):
        model.do_save_predictions(str(tmp_path / "file"))


@pytest.mark.parametrize(
    ("datasets", "expected"),
    [
        ({"generate": MistkDataset(data_path=str(DATA))}, "does not use a dataset 'generate'"),
        ({"test": MistkDataset()}, "'test' has no dataPath"),
        ({"test": MistkDataset(data_path=str(DATA / "SOURCE.md"))}, "SOURCE.md"),
    ],
)
def test_a_dataset_that_is_none_leaves_the_others_as_they_were(
    interrupt: Interrupt, datasets: dict[str, MistkDataset], expected: str
) -> None:
    model = Digits()
    context = interrupt(model, None)
    model.do_load_data({"train": MistkDataset(data_path=str(DATA))})
    with pytest.raises(UnreadableData, match=expected):
        model.do_load_data(datasets)
    model.do_build_model()
    assert context.status["images"] == {"train": 1442}


def test_training_data_without_labels_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "train.npz", images=np.zeros((3, 64)))
    with pytest.raises(UnreadableData, match="has no labels"):
        Digits().do_load_data({"train": MistkDataset(data_path=str(tmp_path))})
