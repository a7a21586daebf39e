"""Predictions and ground truth are read in MISTK's formats, and errors name the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from mistk_service.errors import InvalidRequest
from mistk_service.harness.prediction_files import compare, read_labels


def write(folder: Path, text: str | bytes, name: str = "predictions.csv") -> Path:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


@pytest.mark.parametrize(
    "text",
    [
        "id,label\na,7\nb,1\n",
        "a,7\nb,1\n",
        "a,7,0.5\nb,1,0.25\n",
        "rowid,label,confidence,bounds\na,7,0.9,1 2 3 4\nb,1,,\n",
        "\ufeffID, Label \r\na,7\r\n\r\nb,1\r\n",
    ],
)
def test_a_file_may_have_a_header_confidences_and_bounds(tmp_path: Path, text: str) -> None:
    write(tmp_path, text)
    assert read_labels(tmp_path, "predictions", scores=True) == {"a": ("7",), "b": ("1",)}


def test_a_list_of_records_in_json_is_read_too(tmp_path: Path) -> None:
    write(tmp_path, '{"items": [{"recordId": "a", "values": [{"label": "x"}, {"label": "y"}]}]}', "ground_truth.json")
    assert read_labels(tmp_path, "ground_truth", scores=False) == {"a": ("x", "y")}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no records"),
        ("id,label\n", "has no records"),
        ("id,label\na,7,8\n", "line 2: 3 columns; expected 2, as in the first line"),
        ("a\n", "line 1: 1 columns; expected id,label"),
        ("a,7\n,8\n", "line 2: the id is missing"),
        ("a,7\na,8\n", "line 2: the id 'a' occurs twice"),
        ("a,7\nb,\n", "line 2: the label is missing"),
        ("a,7,high\n", "line 1: 'high' is not valid as confidence; expected 1 numbers"),
        ("a,7 8,0.5 0.5,1 2 3 4\n", "line 1: '1 2 3 4' is not valid as bounds; expected 8 numbers"),
        ("a,7\n\xe9,8\n".encode("latin-1"), "is not a text in UTF-8"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str | bytes, said: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(InvalidRequest, match=said) as caught:
        read_labels(file, "predictions", scores=True)
    assert str(file) in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"ground_truth\.csv cannot be read: No such file"):
        read_labels(tmp_path, "ground_truth", scores=False)


def test_the_figures_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score, classification_report, confusion_matrix

    true, guessed = list("aabbccddabcd"), list("aabccbdaabbe")
    predicted = {str(number): (label,) for number, label in enumerate(guessed)}
    truth = {str(number): (label,) for number, label in enumerate(true)} | {"more": ("a",)}
    found = compare(predicted, truth)
    assert found is not None
    labels = list("abcde")
    assert found.accuracy == accuracy_score(true, guessed)
    assert [list(row) for row in found.confusion] == confusion_matrix(true, guessed, labels=labels).tolist()
    report = classification_report(true, guessed, output_dict=True, zero_division=0)
    for each in found.classes:
        expected = report[each.label]
        assert (each.precision or 0, each.recall or 0) == (expected["precision"], expected["recall"])
        assert each.f1 == pytest.approx(expected["f1-score"])
        assert each.support == expected["support"]


def test_numbers_and_several_labels_are_not_compared_as_classes() -> None:
    assert compare({"a": ("0.25",)}, {"a": ("0.5",)}) is None
    assert compare({"a": ("x", "y")}, {"a": ("x",)}) is None


def test_a_prediction_without_truth_is_an_error() -> None:
    with pytest.raises(InvalidRequest, match="1 records without ground truth, such as 'b'"):
        compare({"a": ("x",), "b": ("x",)}, {"a": ("x",)})
