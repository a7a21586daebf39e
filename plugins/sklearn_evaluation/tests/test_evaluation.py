"""The plugin measures what scikit-learn measures when it is called directly, and refuses what cannot be measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mistk_service import DetachedContext, Metric, RequestError

if TYPE_CHECKING:
    from sklearn_evaluation import SklearnEvaluation

Write = Callable[[str, str], Path]

BINARY, MULTICLASS, MULTILABEL, REGRESSION = (
    "BinaryClassification",
    "MulticlassClassification",
    "MultilabelClassification",
    "Regression",
)

DECLARED = json.loads(Path(__file__).parents[1].joinpath("metrics.json").read_text())


def declared(*names: str, kind: str = "") -> list[Metric]:
    """Return declared metrics, by name or by the type of assessment."""
    wires = [each for each in DECLARED if each["objectInfo"]["name"] in names or kind in each["assessmentTypes"]]
    return [Metric.from_wire(each, "metric") for each in wires]


def named(name: str) -> Metric:
    return Metric.from_wire({"objectInfo": {"name": name}}, "metric")


@pytest.fixture(scope="module")
def sk() -> Any:
    """The functions of scikit-learn."""
    from sklearn import metrics

    return metrics


def create() -> SklearnEvaluation:
    from sklearn_evaluation import SklearnEvaluation

    return SklearnEvaluation()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, text: str) -> Path:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


def evaluated(
    kind: str, predictions: Path, truth: Path, metrics: list[Metric]
) -> tuple[dict[str, Any], DetachedContext]:
    """Return the results and the context of an evaluation."""
    plugin, context = create(), DetachedContext()
    plugin.attach(context)
    plugin.do_evaluate(kind, metrics, str(predictions), "predictions", str(truth), None, {})
    return json.loads(context.texts["evaluation/eval_results.json"]), context


def per_label(labels: list[Any], values: Any) -> dict[str, float]:
    return {str(label): float(value) for label, value in zip(labels, values, strict=True)}


def test_a_binary_assessment_has_the_numbers_of_scikit_learn(sk: Any, write: Write) -> None:
    rng = np.random.default_rng(1)
    y = rng.choice(["ham", "spam"], 60)
    scores = np.round(rng.random(60) * 0.5 + np.where(y == "spam", 0.4, 0.1), 6)
    p = np.where(scores > 0.5, "spam", "ham")
    # The confidence is that of the predicted label, as a classifier's predictions have it.
    sure = np.where(p == "spam", scores, 1 - scores)
    lines = "".join(f"r{i:02},{p[i]},{sure[i]:.6f}\n" for i in range(60))
    truth = write("ground_truth.csv", "id,label\n" + "".join(f"r{i:02},{y[i]}\n" for i in reversed(range(60))))
    results, context = evaluated(
        BINARY, write("predictions.csv", "id,label,confidence\n" + lines), truth, declared(kind=BINARY)
    )

    labels, positive = ["ham", "spam"], (y == "spam").astype(int)
    fpr, tpr, _ = sk.roc_curve(positive, scores)
    assert results["roc_curve"][:2] == [pytest.approx(fpr), pytest.approx(tpr)]
    assert results["roc_curve"][2][0] is None  # infinity, for which JSON has no number
    assert results["confusion_matrix"] == sk.confusion_matrix(y, p).tolist()
    matrix = results.pop("confusion_matrix")
    del results["roc_curve"]
    expected = {
        "matthews_corrcoef": sk.matthews_corrcoef(y, p),
        "brier_score_loss": sk.brier_score_loss(positive, scores),
        "roc_auc_score": sk.roc_auc_score(positive, scores, average=None),
        "accuracy_score": sk.accuracy_score(y, p),
        "hamming_loss": sk.hamming_loss(y, p),
        "f1_score": per_label(labels, sk.f1_score(y, p, average=None)),
        "recall_score": per_label(labels, sk.recall_score(y, p, average=None)),
        "precision_score": per_label(labels, sk.precision_score(y, p, average=None)),
        "fbeta_score": per_label(labels, sk.fbeta_score(y, p, beta=0.5, average=None)),
        "log_loss": sk.log_loss(positive, scores),
    }
    assert results.keys() == expected.keys()
    assert {name: pytest.approx(value) for name, value in expected.items()} == results
    tracked = {key: value for key, value, _ in context.metrics}
    assert tracked["f1_score/spam"] == results["f1_score"]["spam"]
    assert tracked["confusion_matrix/ham/spam"] == matrix[0][1]
    assert set(context.figures) == {
        f"figures/{n}.png" for n in ("confusion_matrix", "roc_curve", "precision_recall_curve")
    }


def test_scores_below_one_half_are_those_of_the_positive_label(sk: Any, write: Write) -> None:
    predictions = write("predictions.csv", "a,0,0.1\nb,0,0.4\nc,1,0.35\nd,1,0.8\n")
    truth = write("ground_truth.csv", "a,0\nb,0\nc,1\nd,1\n")
    results, _ = evaluated(BINARY, predictions, truth, declared("roc_auc_score", "brier_score_loss"))
    assert results["roc_auc_score"] == sk.roc_auc_score([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    assert results["brier_score_loss"] == pytest.approx(sk.brier_score_loss([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]))


@pytest.mark.parametrize("form", ["csv", "json"])
def test_a_multiclass_assessment_has_the_numbers_of_scikit_learn(sk: Any, write: Write, form: str) -> None:
    rng = np.random.default_rng(2)
    y = rng.integers(0, 3, 50)
    p = np.where(rng.random(50) < 0.7, y, rng.integers(0, 3, 50))
    scores = np.full((50, 3), 0.1)
    scores[np.arange(50), p] = 0.8
    if form == "csv":
        predictions = write(
            "predictions.csv", "".join(f"r{i},{p[i]},{' '.join(map(str, scores[i]))}\n" for i in range(50))
        )
        truth = write("ground_truth.csv", "".join(f"r{i},{y[i]}\n" for i in range(50)))
    else:
        items = [{"recordId": f"r{i}", "values": [{"label": str(p[i]), "confidence": 0.8}]} for i in range(50)]
        predictions = write("predictions.json", json.dumps({"items": items}))
        items = [{"recordId": f"r{i}", "values": [{"label": str(y[i])}]} for i in range(50)]
        truth = write("ground_truth.json", json.dumps({"items": items}))
    results, context = evaluated(MULTICLASS, predictions, truth.parent, declared(kind=MULTICLASS))

    one_hot = np.eye(3, dtype=int)
    assert results == {
        "accuracy_score": pytest.approx(sk.accuracy_score(y, p)),
        "hamming_loss": pytest.approx(sk.hamming_loss(one_hot[y], one_hot[p])),
        "f1_score": pytest.approx(per_label([0, 1, 2], sk.f1_score(y, p, average=None))),
        "recall_score": pytest.approx(per_label([0, 1, 2], sk.recall_score(y, p, average=None))),
        "precision_score": pytest.approx(per_label([0, 1, 2], sk.precision_score(y, p, average=None))),
        "fbeta_score": pytest.approx(per_label([0, 1, 2], sk.fbeta_score(y, p, beta=0.5, average=None))),
        "log_loss": pytest.approx(sk.log_loss(y, scores)),
    }
    assert "figures/confusion_matrix.png" in context.figures


def test_a_multilabel_assessment_has_the_numbers_of_scikit_learn(sk: Any, write: Write) -> None:
    predictions = write("predictions.csv", "id,label\n1,a b\n2,c\n3,b c\n4,a\n")
    truth = write("ground_truth.csv", "id,label\n4,a b\n3,b c\n2,c\n1,a c\n")
    metrics = [each for each in declared(kind=MULTILABEL) if each.object_info.name != "log_loss"]
    results, context = evaluated(MULTILABEL, predictions, truth, metrics)
    y_true = np.array([[1, 0, 1], [0, 0, 1], [0, 1, 1], [1, 1, 0]])
    y_pred = np.array([[1, 1, 0], [0, 0, 1], [0, 1, 1], [1, 0, 0]])
    assert results["accuracy_score"] == sk.accuracy_score(y_true, y_pred) == 0.5
    assert results["hamming_loss"] == pytest.approx(sk.hamming_loss(y_true, y_pred))
    assert results["f1_score"] == pytest.approx(per_label(["a", "b", "c"], sk.f1_score(y_true, y_pred, average=None)))
    assert context.figures == {}


def test_a_regression_has_the_numbers_of_scikit_learn(sk: Any, write: Write) -> None:
    y, p = [0.5, 2.0, 7.25, 1.0], [0.75, 2.0, 6.0, 1.5]
    predictions = write("predictions.csv", "".join(f"{i},{p[i]}\n" for i in range(4)))
    truth = write("ground_truth.csv", "".join(f"{i},{y[i]}\n" for i in range(4)))
    results, context = evaluated(REGRESSION, predictions, truth, declared(kind=REGRESSION))
    assert results == {name: pytest.approx(getattr(sk, name)(y, p)) for name in (
        "explained_variance_score", "mean_absolute_error", "mean_squared_error", "mean_squared_log_error", "r2_score",
    )}  # fmt: skip
    assert list(context.figures) == ["figures/predictions.png"]


def test_truth_without_a_prediction_is_left_out_and_counted(write: Write) -> None:
    truth = write("ground_truth.csv", "label,weight,id\n1,x,a\n0,y,b\n1,z,c\n")  # in any order, with further columns
    results, context = evaluated(BINARY, write("p.csv", "a,1\nb,0\n"), truth, [named("accuracy_score")])
    assert results == {"accuracy_score": 1.0}
    assert context.params == {"records": 2, "records_without_prediction": 1, "labels": 2}


def test_the_results_are_written_to_a_file_of_their_own_each_time(write: Write, tmp_path: Path) -> None:
    predictions, truth = write("predictions.csv", "a,1\n"), write("ground_truth.csv", "a,1\n")
    for _ in range(2):
        create().do_evaluate(
            BINARY, [named("accuracy_score")], str(predictions), "predictions", str(truth), str(tmp_path / "out"), {}
        )
    files = sorted((tmp_path / "out").iterdir())
    assert [json.loads(file.read_text()) for file in files] == [{"accuracy_score": 1.0}] * 2
    assert all(file.name.removeprefix("eval_results_").removesuffix(".json").isdecimal() for file in files)


def test_any_function_of_scikit_learn_works_as_a_metric(sk: Any, write: Write) -> None:
    metric = Metric.from_wire(
        {
            "objectInfo": {"name": "balanced"},
            "package": "sklearn.metrics",
            "method": "balanced_accuracy_score",
            "dataParameters": {"truthLabels": "y_true", "predictionLabels": "y_pred"},
        },
        "metric",
    )
    results, _ = evaluated(BINARY, write("p.csv", "a,1\nb,0\nc,0\n"), write("t.csv", "a,1\nb,0\nc,1\n"), [metric])
    assert results == {"balanced": sk.balanced_accuracy_score([1, 0, 1], [1, 0, 0])}


@pytest.mark.parametrize(
    ("predictions", "truth", "field", "told"),
    [
        ("", "a,1\n", "input_data_path", "no records"),
        ("id,label\n", "a,1\n", "input_data_path", "no records"),
        ("a,1\n\nb\n", "a,1\n", "input_data_path", "line 3"),
        ("a,1\nb,0,0.5\n", "a,1\n", "input_data_path", "line 2 .* has 3 cells"),
        ("a\nb\n", "a,1\n", "input_data_path", "line 1 .* has 1 cells"),
        ("id,text\na,1\n", "a,1\n", "input_data_path", "line 1 .* without the column 'label'"),
        ("a,1\n,0\n", "a,1\n", "input_data_path", "line 2 .* has no id"),
        ("a,1\nb,\n", "a,1\n", "input_data_path", "line 2 .* has no label"),
        ("a,1\nb,0\na,0\n", "a,1\nb,0\n", "input_data_path", "line 3 .* repeats the id 'a' of line 1"),
        ("a,1\nz,0\n", "a,1\n", "input_data_path", "line 2 .* 'z' is not in the ground truth"),
        ("a,1,much\n", "a,1\n", "input_data_path", "line 1 .* confidence is 'much'"),
        ("a,1,nan\n", "a,1\n", "input_data_path", "line 1 .* confidence is 'nan'"),
        ("a,1,0.9\nb,0,\n", "a,1\nb,0\n", "input_data_path", "line 2 .* has 0 confidences"),
        ('a,"1\n', "a,1\n", "input_data_path", "not CSV"),
        ("a,1\n", 'a,"1\n', "ground_truth_path", "not CSV"),
        ("a,1 2\n", "a,1\n", "input_data_path", "line 1 .* has 2 labels"),
        ("a,1\n", "a,1 2\n", "ground_truth_path", "line 1 .* has 2 labels"),
        ("a,1\nb,2\nc,3\n", "a,1\nb,2\nc,3\n", "assessment_type", "3 labels"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_refused_with_its_line(
    write: Write, predictions: str, truth: str, field: str, told: str
) -> None:
    with pytest.raises(RequestError, match=told) as caught:
        evaluated(BINARY, write("p.csv", predictions), write("t.csv", truth), [named("accuracy_score")])
    assert caught.value.field == field
    assert str(caught.value).startswith(field)


@pytest.mark.parametrize(("encoded", "line"), [("a,1\nb,é\n".encode("latin-1"), 2), ("a,1\n".encode("utf-16"), 1)])
def test_another_encoding_is_refused_with_its_line(write: Write, tmp_path: Path, encoded: bytes, line: int) -> None:
    (tmp_path / "p.csv").write_bytes(encoded)
    with pytest.raises(RequestError, match=f"line {line} of .* is not UTF-8"):
        evaluated(BINARY, tmp_path / "p.csv", write("t.csv", "a,1\nb,1\n"), [named("accuracy_score")])


@pytest.mark.parametrize(
    ("wire", "told"),
    [
        ({"objectInfo": {"name": "wisdom"}}, "no metric 'wisdom'; expected one of matthews_corrcoef"),
        ({"objectInfo": {"name": "x"}, "package": "os", "method": "remove"}, "package: 'os'"),
        ({"objectInfo": {"name": "x"}, "package": "sklearn.metrics", "method": "no"}, "no function 'no'"),
        ({"objectInfo": {"name": "x"}, "package": "sklearn.metrics", "method": "RocCurveDisplay"}, "no function"),
        ({"objectInfo": {"name": "r2_score"}}, "r2_score is for Regression, not for BinaryClassification"),
        ({"objectInfo": {"name": "roc_auc_score"}}, "needs confidences"),
        (DECLARED[0] | {"defaultArgs": {"wrong": 1}}, "cannot be computed: .*wrong"),
    ],
)
def test_a_metric_that_cannot_be_computed_is_refused_and_nothing_is_reported(
    write: Write, wire: dict[str, Any], told: str
) -> None:
    plugin, context = create(), DetachedContext()
    plugin.attach(context)
    files = str(write("p.csv", "a,1\nb,0\n")), "predictions", str(write("t.csv", "a,1\nb,0\n"))
    with pytest.raises(RequestError, match=told):
        plugin.do_evaluate(BINARY, [named("accuracy_score"), Metric.from_wire(wire, "m")], *files, None, {})
    assert (context.metrics, context.texts, context.figures) == ([], {}, {})


def test_an_unknown_assessment_and_an_empty_list_and_folder_are_refused(tmp_path: Path) -> None:
    plugin, nowhere = create(), str(tmp_path)
    with pytest.raises(RequestError, match="assessment_type: 'Taste'"):
        plugin.do_evaluate("Taste", [named("r2_score")], nowhere, "predictions", nowhere, None, {})
    with pytest.raises(RequestError, match="metrics: the list is empty"):
        plugin.do_evaluate(BINARY, [], nowhere, "predictions", nowhere, None, {})
    with pytest.raises(RequestError, match=r"neither predictions\.csv nor predictions\.json"):
        plugin.do_evaluate(BINARY, [named("accuracy_score")], nowhere, "predictions", nowhere, None, {})
