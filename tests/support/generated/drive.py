"""Drives a container of the digits model through its lifecycle with a generated client.

To be run, in the folder of the package ``generated``, with the API's base URL, a file of digits and a folder to write to, and
with a token in ``TOKEN``. The generators name classes, methods and arguments alike.
"""

from __future__ import annotations

import base64
import os
import struct
import sys
import threading
from typing import Any

import generated  # type: ignore[import-not-found]


def main(url: str, data: str, folder: str) -> None:
    """Call every operation of a usual life, and look at what comes back as typed objects."""
    configuration = generated.Configuration()
    configuration.host = url
    # OpenAPI 3 calls it a token, and Swagger 2 can only describe the header.
    configuration.access_token = configuration.api_key["Authorization"] = os.environ["TOKEN"]
    configuration.api_key_prefix["Authorization"] = "Bearer"
    api = generated.ModelInstanceEndpointApi(generated.ApiClient(configuration))
    info = generated.ObjectInfo(name="digits", kind="MistkDataset", project="tests", sharable=True)
    dataset = generated.MistkDataset(object_info=info, data_path=data, modality="image", format="csv")
    record = base64.b64encode(struct.pack("<64f", *[0.0] * 64)).decode()
    settings = generated.ModelInstanceInitParams(
        objectives=["training", "prediction", "streaming_prediction"], hyperparameters={"epochs": 2}
    )

    wait_for(api, "started")
    api.initialize_model(settings)
    wait_for(api, "initialized")
    api.build_model(model_path=None)
    wait_for(api, "ready")
    api.load_data({"train": dataset, "test": dataset})
    wait_for(api, "ready")
    api.train()
    trained = wait_for(api, "ready")
    assert trained.payload.last_activity.outcome == "completed", trained
    assert trained.payload.metrics["loss"].value > 0, trained
    api.save_model(f"{folder}/model")
    wait_for(api, "ready")
    api.predict()
    wait_for(api, "ready")
    api.save_predictions(f"{folder}/predictions")
    wait_for(api, "ready")
    api.build_model(model_path=f"{folder}/model")
    wait_for(api, "ready")
    api.update_stream_properties({"any": 1})
    answer = api.stream_predict({"a": record}, details=True)
    assert "explanation" in answer["a"], answer
    assert api.get_api_version() == "1.4.0"
    # A client that was generated with 204 as the answer gets no status.
    print(getattr(api.terminate(), "state", None))


def wait_for(api: Any, state: str) -> Any:
    """Ask for the status until the model is in a state, and return it."""
    nobody = threading.Event()
    while (status := api.get_status()).state != state:
        assert status.state != "failed", status
        nobody.wait(0.02)
    return status


if __name__ == "__main__":
    main(*sys.argv[1:])
