"""Models that MLflow saves, as a container serves them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mistk_service import RequestError

if TYPE_CHECKING:
    from mlflow_pyfunc import MlflowPyfunc

pytestmark = pytest.mark.filterwarnings("ignore")  # of MLflow


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model with a signature of columns and a parameter. It doubles ``x`` and names the row."""
    import mlflow.pyfunc
    import pandas

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow reads type hints
        factor = (params or {}).get("factor", 1)
        return pandas.DataFrame({"doubled": model_input["x"] * 2 * factor, "named": model_input["name"] + "!"})

    doubles = type("Doubles", (mlflow.pyfunc.PythonModel,), {"predict": predict})
    path = tmp_path_factory.mktemp("models") / "doubles"
    table = pandas.DataFrame({"x": [1.0], "name": ["a"]})
    signature = mlflow.models.infer_signature(table, params={"factor": 1})
    mlflow.pyfunc.save_model(str(path), python_model=doubles(), signature=signature, pip_requirements=[])
    return str(path)


def built(path: str, **params: Any) -> MlflowPyfunc:
    from mlflow_pyfunc import MlflowPyfunc
    from mlflow_pyfunc.model import Hyperparameters

    model = MlflowPyfunc()
    model.do_initialize([], {}, Hyperparameters(params))
    model.do_build_model(path)
    return model


def test_columns_go_in_and_come_out_by_name(saved: str) -> None:
    names = np.array([b"a", b"b"], dtype=object)
    outputs = built(saved).do_infer({"x": np.array([1.0, 2.0]), "name": names})
    assert outputs["doubled"].tolist() == [2.0, 4.0]
    assert outputs["named"].tolist() == ["a!", "b!"]


def test_records_are_json_as_text_or_in_base64(saved: str) -> None:
    record = json.dumps({"x": 1.5, "name": "a"})
    answers = built(saved, factor=2).do_stream_predict({"1": record, "2": base64.b64encode(record.encode()).decode()})
    assert answers["1"] == answers["2"] == {"doubled": 6.0, "named": "a!"}


def test_what_does_not_have_the_signature_is_refused(saved: str) -> None:
    model = built(saved)
    with pytest.raises(RequestError, match="missing inputs"):
        model.do_infer({"y": np.array([1.0]), "z": np.array([1.0])})
    with pytest.raises(RequestError, match="one value for each record"):
        model.do_infer({"x": np.zeros(2), "name": np.zeros(3)})
    for record in ("no json", "[1]"):
        with pytest.raises(RequestError, match="expected a JSON object"):
            model.do_stream_predict({"a": record if record == "no json" else base64.b64encode(b"[1]").decode()})


def test_a_model_without_a_signature_takes_a_matrix(tmp_path: Path) -> None:
    import mlflow.sklearn
    from sklearn.linear_model import LinearRegression

    features = np.arange(6.0).reshape(3, 2)
    estimator = LinearRegression().fit(features, features.sum(axis=1))
    mlflow.sklearn.save_model(estimator, str(tmp_path / "m"), pip_requirements=[])
    outputs = built(str(tmp_path / "m")).do_infer({"features": features})
    assert outputs["output"] == pytest.approx([1.0, 5.0, 9.0])


def test_it_is_saved_as_it_is(saved: str, tmp_path: Path) -> None:
    built(saved).do_save_model(str(tmp_path))
    assert (tmp_path / "MLmodel").read_text() == Path(saved, "MLmodel").read_text()


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    from mlflow_pyfunc import MlflowPyfunc

    for path in (str(tmp_path), None):
        with pytest.raises(RequestError, match="There is no file MLmodel"):
            MlflowPyfunc().do_build_model(path)
