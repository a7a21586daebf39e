"""A client of the model container service: typed calls, and a status stream that survives broken connections.

::

    with ModelClient("http://localhost:8080") as model:
        model.initialize(["training"], hyperparameters={"epochs": 20})
        model.wait_for("initialized")
        ...
        model.wait_for("ready", since=model.train())
"""

from mistk_service.client.container import ContainerClient
from mistk_service.client.model import ModelClient
from mistk_service.client.status import LastActivity, ModelStatus, Progress, WatchEvent

__all__ = ["ContainerClient", "LastActivity", "ModelClient", "ModelStatus", "Progress", "WatchEvent"]
