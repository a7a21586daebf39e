"""The estimators, as a container uses them."""

from __future__ import annotations

import base64
import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mistk_service import DetachedContext, MistkDataset, RequestError

if TYPE_CHECKING:
    from sklearn_estimator import SklearnEstimator
    from sklearn_estimator.model import Hyperparameters


@pytest.fixture(scope="module")
def iris(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The iris data as a CSV file."""
    from sklearn.datasets import load_iris

    file = tmp_path_factory.mktemp("data") / "iris.csv"
    data = load_iris()
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*data.feature_names, "label"])
        writer.writerows([*row, data.target_names[label]] for row, label in zip(data.data, data.target, strict=True))
    return str(file)


def create() -> SklearnEstimator:
    from sklearn_estimator import SklearnEstimator

    return SklearnEstimator()


def settings(**hyperparameters: Any) -> Hyperparameters:
    from sklearn_estimator.model import Hyperparameters

    return Hyperparameters(**hyperparameters)


def trained(iris: str, **hyperparameters: Any) -> tuple[SklearnEstimator, DetachedContext]:
    model, context = create(), DetachedContext()
    model.attach(context)
    model.do_initialize([], {}, settings(**hyperparameters))
    model.do_load_data({name: MistkDataset(data_path=iris) for name in ("train", "test")})
    model.do_build_model()
    model.do_train()
    return model, context


@pytest.mark.parametrize(
    ("estimator", "params"),
    [
        ("RandomForestClassifier", {"n_estimators": 10}),
        ("SGDClassifier", {"loss": "log_loss"}),
        ("GaussianNB", {}),
        ("LogisticRegression", {"max_iter": 1000}),
        ("Perceptron", {}),
    ],
)
def test_classifiers_learn_and_their_results_are_saved(
    iris: str, tmp_path: Path, estimator: str, params: dict[str, Any]
) -> None:
    model, context = trained(iris, estimator=estimator, params=params, epochs=20, batch_size=30)
    model.do_predict()
    assert {key: value for key, value, _ in context.metrics}["test_score"] > 0.6
    model.do_save_predictions(str(tmp_path))
    rows = list(csv.reader((tmp_path / "predictions.csv").read_text().splitlines()))
    assert rows[0] == ["id", "label"]
    assert {label for _, label in rows[1:]} <= {"setosa", "versicolor", "virginica"}
    outputs = model.do_infer({"features": np.array([[5.1, 3.5, 1.4, 0.2], [7.0, 3.2, 4.7, 1.4]])})
    assert outputs["prediction"].shape == (2,)


def test_a_regressor_learns_numbers(tmp_path: Path) -> None:
    file = tmp_path / "line.csv"
    file.write_text("x,y\n" + "".join(f"{x / 10},{x / 5 + 1}\n" for x in range(50)))
    model, _ = trained(str(file), estimator="LinearRegression", target="y")
    assert model.do_infer({"features": np.array([[100.0]])})["prediction"] == pytest.approx([201.0])
    model, _ = trained(str(file), estimator="SGDRegressor", target="y", epochs=50)
    assert model.do_infer({"features": np.array([[2.0]])})["prediction"] == pytest.approx([5.0], abs=1)


def test_a_training_in_epochs_shows_progress_and_continues_where_it_was_saved(
    iris: str, tmp_path: Path, interrupt: Any
) -> None:
    whole, context = trained(iris, epochs=4, batch_size=50)
    assert context.done == (4, 4, "epochs")
    assert [step for key, _, step in context.metrics if key == "train_score"] == [1, 2, 3, 4]

    broken = create()
    broken.do_initialize([], {}, settings(epochs=4, batch_size=50))
    broken.do_load_data({"train": MistkDataset(data_path=iris)})
    broken.do_build_model()
    # An epoch has a pause point before it and one before each of its three batches.
    interrupt(broken, 8, lambda: broken.do_save_model(str(tmp_path)))
    with pytest.raises(BaseException):  # noqa: B017, PT011 - StopActivity
        broken.do_train()

    resumed, context = create(), DetachedContext()
    resumed.attach(context)
    resumed.do_initialize([], {}, settings(epochs=4, batch_size=50))
    resumed.do_load_data({"train": MistkDataset(data_path=iris)})
    resumed.do_build_model(str(tmp_path))
    resumed.do_train()
    assert [step for key, _, step in context.metrics if key == "train_score"] == [3, 4]
    features = {"features": np.loadtxt(iris, delimiter=",", skiprows=1, usecols=range(4))}
    assert (resumed.do_infer(features)["prediction"] == whole.do_infer(features)["prediction"]).all()


def test_records_are_rows_of_numbers(iris: str) -> None:
    model, _ = trained(iris, estimator="GaussianNB")
    record = base64.b64encode(b"5.1,3.5,1.4,0.2").decode()
    assert model.do_stream_predict({"a": record, "b": record}) == {"a": "setosa", "b": "setosa"}
    for wrong, message in ((b"1,2", "A record has 2 features; expected 4"), (b"1,x", "a: expected base64 of numbers")):
        with pytest.raises(RequestError, match=message):
            model.do_stream_predict({"a": base64.b64encode(wrong).decode()})


@pytest.mark.parametrize(
    ("hyperparameters", "field", "message"),
    [
        ({"estimator": "RandomForest"}, "estimator", "did you mean"),
        ({"params": {"alfa": 1}}, "params.alfa", "did you mean alpha"),
    ],
)
def test_an_unknown_name_is_refused_with_the_name_that_is_meant(
    hyperparameters: dict[str, Any], field: str, message: str
) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        create().do_initialize([], {}, settings(**hyperparameters))
    assert caught.value.field == f"hyperparameters.{field}"


def test_data_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    model = create()
    model.do_initialize([], {}, settings())
    for text, message in (("a,b\n1,2\n", "no column 'label'"), ("a,label\nx,1\n", "row 1: a is 'x'"), ("", "no rows")):
        (tmp_path / "data.csv").write_text(text)
        with pytest.raises(RequestError, match=message):
            model.do_load_data({"train": MistkDataset(data_path=str(tmp_path / "data.csv"))})
    with pytest.raises(RequestError, match="no dataset 'train'"):
        model.do_train()
    model.do_build_model()
    with pytest.raises(RequestError, match="not trained"):
        model.do_infer({"features": np.zeros((1, 2))})
