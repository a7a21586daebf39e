"""Loads a saved model for MLflow: ``mlflow.pyfunc.load_model`` finds this module in the file ``MLmodel``.

MLflow is not needed to import it. The model's class has to be importable by the process that loads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from mistk_service.kinds.model import MODEL
from mistk_service.kinds.model.base import AbstractModel
from mistk_service.kinds.predictions import TensorSpec
from mistk_service.workers.child.declared import hyperparameters_of, signature_of
from mistk_service.workers.child.loader import construct_model, load_model_class


def _load_pyfunc(path: str) -> SavedModel:
    """Return the model in a folder. MLflow calls this."""
    import yaml

    flavors = yaml.safe_load(Path(path, "MLmodel").read_text(encoding="utf-8"))["flavors"]
    return SavedModel(path, flavors["mistk_service"])


class SavedModel:
    """A model that was saved in a container, with the interface that MLflow expects.

    Args:
        path: the folder.
        flavor: the reference to the class, and what it was initialized with.

    Raises:
        ModelLoadError: the class cannot be loaded here.
    """

    def __init__(self, path: str, flavor: Mapping[str, Any]) -> None:
        reference = flavor["reference"]
        self._model = cast(AbstractModel, construct_model(load_model_class(reference), reference))
        hyperparameters = flavor["hyperparameters"]
        if (declared := hyperparameters_of(self._model)) is not None:
            hyperparameters = msgspec.convert(hyperparameters, declared)
        self._model.do_initialize(["prediction"], flavor["properties"], hyperparameters)
        self._model.do_build_model(path)

    def predict(self, data: Any, params: Mapping[str, Any] | None = None) -> Any:  # noqa: ARG002 - MLflow passes it
        """Predict for a pandas DataFrame, a dict of name to array, or an array.

        A class with ``do_infer`` gets arrays, and the result has its outputs by name: a DataFrame if the data is one and every
        output has one value for each record, otherwise a dict. A class with ``do_stream_predict`` alone gets the records, one
        for each row, and the result is a list.
        """
        if MODEL.overrides(type(self._model), "do_infer"):
            from mistk_service.workers.child.codecs import decode
            from mistk_service.workers.child.tensors import as_declared

            signature = signature_of(self._model)
            inputs = decode(_arrays(data, signature.inputs), signature.inputs)
            outputs = as_declared(self._model.do_infer(inputs), signature.outputs)
            flat = all(getattr(each, "ndim", 0) == 1 for each in outputs.values())
            return type(data)(outputs, index=data.index) if _is_table(data) and flat else outputs
        records = (data.iloc[:, 0] if _is_table(data) else data).tolist()
        named = {str(number): record for number, record in enumerate(records)}
        answers = self._model.do_stream_predict(named)
        return [answers[name] for name in named]


def _is_table(data: Any) -> bool:
    return hasattr(data, "columns")


def _arrays(data: Any, declared: Sequence[TensorSpec]) -> dict[str, Any]:
    """Return the data as arrays by name, with the declared data types."""
    import numpy as np

    types = {spec.name: None if spec.dtype == "bytes" else spec.dtype for spec in declared}
    if isinstance(data, Mapping) or (_is_table(data) and (not types or set(types) <= set(data.columns))):
        names = [name for name in (types or data) if name in data]
        return {name: _with_bytes(np.asarray(data[name], types.get(name))) for name in names}
    (name,) = types or ("input",)  # the columns of a table are the second dimension of its only input
    return {name: _with_bytes(np.asarray(data, types.get(name)))}


def _with_bytes(array: Any) -> Any:
    """Return an array with texts as byte strings, as ``do_infer`` gets them."""
    import numpy as np

    if array.dtype.kind not in "OU":
        return array
    flat = np.empty(array.size, object)
    flat[:] = [each.encode() if isinstance(each, str) else each for each in array.ravel().tolist()]
    return flat.reshape(array.shape)
