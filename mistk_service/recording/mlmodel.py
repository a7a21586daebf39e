"""The file ``MLmodel``, with which MLflow loads what a model has saved.

Its format: https://mlflow.org/docs/latest/ml/model/#storage-format. JSON is YAML, so no library is needed to write it.
"""

from __future__ import annotations

import platform
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from mistk_service.kinds.predictions import Signature, TensorSpec

#: The name of the file.
MLMODEL = "MLmodel"


def mlmodel(
    reference: str, signature: Signature, properties: Mapping[str, Any], hyperparameters: Mapping[str, Any], run_id: str,
    place: str,
) -> bytes:  # fmt: skip
    """Return the contents of the file.

    Args:
        reference: what the model class is loaded from.
        signature: what the class declares.
        properties: the model properties that it was initialized with.
        hyperparameters: the hyperparameters.
        run_id: the run that the model was saved in.
        place: the folder of the run's artifacts.
    """
    file, separator, name = reference.rpartition(":")
    own = {
        # The process that loads it may have another working folder.
        "reference": f"{Path(file).absolute()}{separator}{name}" if file.endswith(".py") else reference,
        "properties": properties,
        "hyperparameters": hyperparameters,
    }
    # Without "data", the loader gets the folder of this file.
    python = {"loader_module": "mistk_service.pyfunc", "python_version": platform.python_version()}
    content: dict[str, Any] = {
        "artifact_path": place,
        "flavors": {"python_function": python, "mistk_service": own},
        "model_uuid": uuid.uuid4().hex,
        "run_id": run_id,
        "utc_time_created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
    }
    # MLflow's tensors have no byte strings.
    if signature.inputs and all(spec.dtype != "bytes" for spec in (*signature.inputs, *signature.outputs)):
        content["signature"] = {"inputs": _schema(signature.inputs)}
        if signature.outputs:
            content["signature"]["outputs"] = _schema(signature.outputs)
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def _schema(specs: Sequence[TensorSpec]) -> str:
    tensors = [
        {"name": spec.name, "type": "tensor", "tensor-spec": {"dtype": spec.dtype, "shape": spec.shape}}
        for spec in specs
    ]
    return msgspec.json.encode(tensors).decode()
