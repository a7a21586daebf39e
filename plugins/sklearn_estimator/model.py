"""The hooks of the model."""

from __future__ import annotations

import base64
import binascii
import csv
import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import joblib
import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.utils import all_estimators

from mistk_service import AbstractModel, MistkDataset, RequestError

from .table import Table, read_table

__all__ = ["Hyperparameters", "SklearnEstimator"]


class Hyperparameters(msgspec.Struct, frozen=True):
    """The estimator, and how it is trained."""

    estimator: Annotated[str, Meta(description="A classifier or regressor of scikit-learn, by name.")] = "SGDClassifier"
    params: Annotated[dict[str, Any], Meta(description="The arguments of the estimator.")] = {}
    target: Annotated[str, Meta(min_length=1, description="The column to predict.")] = "label"
    epochs: Annotated[int, Meta(ge=1, description="Passes over the data, for estimators with partial_fit.")] = 10
    batch_size: Annotated[int, Meta(ge=1, description="Rows in a step, for estimators with partial_fit.")] = 256
    seed: Annotated[int, Meta(ge=0, le=2**32 - 1, description="Of the order of the rows and the estimator.")] = 0


class SklearnEstimator(AbstractModel):
    """Trains any classifier or regressor of scikit-learn and predicts with it.

    An estimator with ``partial_fit`` is trained in epochs and batches: it shows its progress, pauses, and continues where it
    was saved. Any other is fitted at once.
    """

    max_batch_size = 256
    record_encoding = "base64"
    hyperparameters = Hyperparameters
    inputs = (("features", "float64", (-1, -1)),)

    def __init__(self) -> None:
        self._settings = Hyperparameters()
        self._data: dict[str, Table] = {}
        self._estimator: Any = None
        self._epoch = 0
        self._predictions: list[tuple[str, Any]] | None = None

    # --- hooks ------------------------------------------------------------------------------------------------------

    def do_initialize(self, objectives: list[str], props: dict[str, Any], hparams: Hyperparameters) -> None:  # noqa: ARG002
        """Take the hyperparameters.

        Raises:
            RequestError: there is no such estimator, or it has no such argument.
        """
        new_estimator(hparams)  # refuses unknown estimators and arguments
        self._settings = hparams

    def do_load_data(self, dataset_map: dict[str, MistkDataset]) -> None:
        """Read the datasets ``train`` and ``test``, CSV files with a header.

        Raises:
            RequestError: a file cannot be read, or ``train`` has no column to predict.
        """
        target = self._settings.target
        loaded = {name: read_table(dataset.data_path or "", target) for name, dataset in dataset_map.items()}
        if "train" in loaded and loaded["train"].target is None:
            raise RequestError(f"The dataset train has no column {target!r}; name another one with 'target'.")
        self._data |= loaded

    def do_build_model(self, path: str | None = None) -> None:
        """Make a new estimator, or load the one in the folder ``path``, which has to be from a source that you trust."""
        self._estimator, self._epoch = new_estimator(self._settings), 0
        if path is not None:
            saved = joblib.load(Path(path, "estimator.joblib"))
            self._estimator, self._epoch = saved["estimator"], saved["epoch"]

    def do_train(self) -> None:
        """Fit the estimator to the dataset ``train``.

        Raises:
            RequestError: the dataset is not loaded.
        """
        data = self._loaded("train")
        assert data.target is not None
        if hasattr(self._estimator, "partial_fit"):
            self._train_in_steps(data.features, data.target)
        else:
            self._estimator.fit(data.features, data.target)
            self.report_metrics({"train_score": self._estimator.score(data.features, data.target)})

    def do_save_model(self, path: str) -> None:
        """Write the estimator and the number of epochs to ``estimator.joblib``."""
        joblib.dump({"estimator": self._estimator, "epoch": self._epoch}, Path(path, "estimator.joblib"))

    def do_predict(self) -> None:
        """Predict for the dataset ``test``; with its target, report the score.

        Raises:
            RequestError: the dataset is not loaded, or nothing was trained.
        """
        data = self._loaded("test")
        self._predictions = list(zip(data.ids, self._predict(data.features).tolist(), strict=True))
        if data.target is not None:
            self.report_metrics({"test_score": self._estimator.score(data.features, data.target)})

    def do_save_predictions(self, dataPath: str) -> None:  # noqa: N803 - MISTK's name
        """Write the predictions to ``predictions.csv``.

        Raises:
            RequestError: nothing was predicted.
        """
        if self._predictions is None:
            raise RequestError("There are no predictions to save: call predict first.")
        with Path(dataPath, "predictions.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("id", "label"), *self._predictions])

    def do_stream_predict(self, data_map: dict[str, str], details: bool = False) -> dict[str, Any]:  # noqa: ARG002
        """Predict for rows: base64 of numbers with commas between, in the order of the columns of ``train``."""
        rows = [_row(name, record) for name, record in data_map.items()]
        if len({len(row) for row in rows}) > 1:
            raise RequestError("The records do not have the same number of features.")
        return dict(zip(data_map, self._predict(np.array(rows)).tolist(), strict=True))

    def do_infer(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Predict for ``features``. Classifiers with probabilities return ``probabilities`` too."""
        features = inputs["features"]
        outputs = {"prediction": self._predict(features)}
        if hasattr(self._estimator, "predict_proba"):
            outputs["probabilities"] = self._estimator.predict_proba(features)
        return outputs

    # --- what they share --------------------------------------------------------------------------------------------

    def _train_in_steps(self, features: NDArray[np.float64], target: NDArray[Any]) -> None:
        first = self._epoch % self._settings.epochs  # an interrupted training continues
        for _ in self.steps(range(first, self._settings.epochs), "epochs", total=self._settings.epochs, initial=first):
            for rows in self._batches(len(target)):
                self.pause_point()
                self._partial_fit(features[rows], target[rows], np.unique(target))
            self._epoch += 1
            self.report_metrics({"train_score": self._estimator.score(features, target)}, step=self._epoch)

    def _batches(self, count: int) -> Iterator[NDArray[np.int64]]:
        """Yield the rows of each batch of an epoch, whose order depends on the seed and the epoch alone."""
        order = np.random.default_rng((self._settings.seed, self._epoch)).permutation(count)
        for start in range(0, count, self._settings.batch_size):
            yield order[start : start + self._settings.batch_size]

    def _partial_fit(self, features: NDArray[np.float64], target: NDArray[Any], classes: NDArray[Any]) -> None:
        if is_classifier(self._estimator):
            self._estimator.partial_fit(features, target, classes=classes)
        else:
            self._estimator.partial_fit(features, target)

    def _predict(self, features: NDArray[Any]) -> NDArray[Any]:
        expected = getattr(self._estimator, "n_features_in_", None)
        if expected is None:
            raise RequestError("The estimator is not trained: call train, or build a saved one.")
        if features.shape[-1] != expected:
            raise RequestError(f"A record has {features.shape[-1]} features; expected {expected}.")
        predicted: NDArray[Any] = self._estimator.predict(features)
        return predicted

    def _loaded(self, name: str) -> Table:
        if name not in self._data:
            raise RequestError(f"There is no dataset {name!r} yet: call loadData with it first.")
        return self._data[name]


def new_estimator(settings: Hyperparameters) -> Any:
    """Return an untrained estimator.

    Raises:
        RequestError: there is no such estimator, or it has no such argument.
    """
    known = dict(all_estimators(type_filter=["classifier", "regressor"]))
    if settings.estimator not in known:
        raise _unknown("estimator", settings.estimator, known)
    kind = known[settings.estimator]
    arguments = kind().get_params()
    for name in settings.params:
        if name not in arguments:
            raise _unknown(f"params.{name}", name, arguments)
    seed = {"random_state": settings.seed} if "random_state" in arguments else {}
    return kind(**{**seed, **settings.params})


def _unknown(field: str, name: str, known: dict[str, Any]) -> RequestError:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"expected one of {', '.join(known)}."
    return RequestError(f"hyperparameters.{field}: {name!r} is not known; {hint}", field=f"hyperparameters.{field}")


def _row(name: str, record: str) -> list[float]:
    try:
        return [float(value) for value in base64.b64decode(record, validate=True).decode().split(",")]
    except (binascii.Error, ValueError) as error:
        raise RequestError(f"{name}: expected base64 of numbers with commas between.") from error
