"""Classes that are no models, or none that could be made."""

from abc import ABC, abstractmethod
from typing import Any

from mistk_service import AbstractModel

a_function = print


class NoModel:
    pass


class Good(AbstractModel):
    pass


class RaisesInConstructor(AbstractModel):
    def __init__(self) -> None:
        raise RuntimeError("no instance of this one")


class ExitsInConstructor(AbstractModel):
    def __init__(self) -> None:
        raise SystemExit(4)


class WantsArguments(AbstractModel):
    def __init__(self, size: int) -> None:
        self.size = size


class Abstract(AbstractModel, ABC):
    @abstractmethod
    def what_is_left_open(self) -> None: ...


class BadBatchSize(AbstractModel):
    max_batch_size = "many"

    def do_stream_predict(self, data_map: dict[str, str], details: bool = False) -> dict[str, str]:
        return data_map


class NoBatchSize(AbstractModel):
    max_batch_size = None


class HookIsNoMethod(AbstractModel):
    do_stream_predict = 5


class UnknownEncoding(AbstractModel):
    record_encoding = "hex"


class NoFlag(AbstractModel):
    serve_while_training = "no"


class OneNameTwice(AbstractModel):
    inputs = (("a", "int8", (-1,)), ("a", "int8", (-1,)))

    def do_infer(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return inputs
