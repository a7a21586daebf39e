"""The hooks of the model."""

from __future__ import annotations

import base64
import binascii
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import pandas as pd
from msgspec import Meta
from numpy.typing import NDArray

from mistk_service import AbstractModel, RequestError

__all__ = ["Hyperparameters", "MlflowPyfunc"]


class Hyperparameters(msgspec.Struct, frozen=True):
    """How the model predicts."""

    params: Annotated[dict[str, Any], Meta(description="The inference parameters of the model's signature.")] = {}


class MlflowPyfunc(AbstractModel):
    """Serves a model that MLflow has saved, of any flavor with ``python_function``.

    Tensors are the columns of a table, or the named tensors of the model's signature.
    """

    max_batch_size = 256
    hyperparameters = Hyperparameters

    def __init__(self) -> None:
        self._params: dict[str, Any] = {}
        self._model: Any = None
        self._path = Path()

    def do_initialize(self, objectives: list[str], props: dict[str, Any], hparams: Hyperparameters) -> None:  # noqa: ARG002
        """Take the inference parameters."""
        self._params = hparams.params

    def do_build_model(self, path: str | None = None) -> None:
        """Load the model in the folder ``path``, which has to be from a source that you trust.

        Raises:
            RequestError: there is no model of MLflow.
        """
        if path is None or not Path(path, "MLmodel").is_file():
            raise RequestError(f"There is no file MLmodel in {path}; expected the folder of a model of MLflow.")
        import mlflow.pyfunc  # late, since it takes seconds, during which the container would wait for the class

        self._model, self._path = mlflow.pyfunc.load_model(path), Path(path)

    def do_save_model(self, path: str) -> None:
        """Copy the model to the folder ``path``."""
        shutil.copytree(self._path, path, dirs_exist_ok=True)

    def do_infer(self, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Predict for columns or tensors by name.

        Returns:
            The columns of the result by name; ``output`` if they have no names.
        """
        texts = {name: _as_text(array) for name, array in inputs.items()}
        schema = self._model.metadata.get_input_schema()
        if schema is not None and schema.is_tensor_spec():
            data: Any = texts if schema.has_input_names() else next(iter(texts.values()))
        else:
            data = _table(texts)
        return _arrays(self._predict(data))

    def do_stream_predict(self, data_map: dict[str, str], details: bool = False) -> dict[str, Any]:  # noqa: ARG002
        """Predict for rows: JSON objects of values by column, as text or in base64."""
        rows = [_row(name, record) for name, record in data_map.items()]
        result = self._predict(pd.DataFrame(rows))
        answers = result.to_dict("records") if isinstance(result, pd.DataFrame) else list(result)
        return dict(zip(data_map, answers, strict=True))

    def _predict(self, data: Any) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return self._model.predict(data, params=self._params or None)
        except MlflowException as error:  # the data does not have the model's signature
            raise RequestError(str(error)) from error


def _as_text(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array whose byte strings are decoded."""
    if array.dtype != object:
        return np.array(array)  # a copy, since some models write to their input
    flat = np.empty(array.size, object)
    flat[:] = [each.decode() for each in array.ravel()]
    return flat.reshape(array.shape)


def _table(arrays: Mapping[str, NDArray[Any]]) -> pd.DataFrame:
    """Return arrays as a table. The second dimension of a single array is its columns."""
    only = next(iter(arrays.values()))
    if len(arrays) == 1 and only.ndim == 2:
        return pd.DataFrame(only)
    wrong = [name for name, array in arrays.items() if array.ndim != 1 or len(array) != len(only)]
    if wrong:
        raise RequestError(f"{', '.join(wrong)}: expected one value for each record.")
    return pd.DataFrame(dict(arrays))


def _arrays(result: Any) -> dict[str, NDArray[Any]]:
    if isinstance(result, pd.DataFrame | Mapping):
        return {str(name): np.asarray(result[name]) for name in result}
    return {"output": np.asarray(result)}


def _row(name: str, record: str) -> dict[str, Any]:
    try:
        text = record if record.lstrip().startswith("{") else base64.b64decode(record, validate=True).decode()
        row = json.loads(text)
    except (binascii.Error, ValueError) as error:
        raise RequestError(f"{name}: expected a JSON object of values by column, as text or in base64.") from error
    if not isinstance(row, dict):
        raise RequestError(f"{name}: expected a JSON object of values by column.")
    return row
