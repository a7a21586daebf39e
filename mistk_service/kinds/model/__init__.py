"""The kind ``model``: one machine-learning model."""

from mistk_service.kinds.kind import Kind
from mistk_service.kinds.model import bodies
from mistk_service.kinds.model.base import AbstractModel
from mistk_service.kinds.model.operations import OPERATIONS
from mistk_service.kinds.model.states import State

__all__ = ["MODEL"]

MODEL = Kind(
    name="model",
    base=AbstractModel,
    contract="mistk-api.yaml",
    base_path="/v1/mistk",
    states=State,
    initial=State.STARTED,
    ready=State.READY,
    operations=OPERATIONS,
    bodies={"initialize": bodies.initialize, "loadData": bodies.load_data},
)
