"""``mistk.data.utils``: converts the types of the contracts to plain values and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mistk_service.kinds.evaluation.values import Metric
from mistk_service.kinds.values import Value

__all__ = ["PresumptiveJSONEncoder", "deserialize_model", "serialize_model"]


class PresumptiveJSONEncoder(json.JSONEncoder):
    """Encodes the types of the contracts, and containers of them, in the form of the wire."""

    def default(self, o: Any) -> Any:
        """Return a plain value for an object."""
        return o.to_wire() if hasattr(o, "to_wire") else super().default(o)


def deserialize_model(data: Any, cls: type[Any]) -> Any:
    """Return an object of a type from its plain values on the wire. An object info without a kind gets that of the type.

    Raises:
        InvalidRequest: a value that has to be an object is not one.
    """
    if not isinstance(data, Mapping):
        return data
    if issubclass(cls, Metric):
        return cls.from_wire(data, "metric")
    if not issubclass(cls, Value):
        return data
    found: Any = cls.from_wire(data)
    if hasattr(found, "object_info"):
        found.object_info.kind = found.object_info.kind or cls.__name__
    return found


def serialize_model(obj: Any) -> Any:
    """Return an object as plain values in the form of the wire, without unset fields."""
    return json.loads(json.dumps(obj, cls=PresumptiveJSONEncoder))
