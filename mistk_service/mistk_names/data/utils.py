"""``mistk.data.utils``: the types of the contracts to and from plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mistk_service.kinds.evaluation.values import Metric
from mistk_service.kinds.values import Value

__all__ = ["PresumptiveJSONEncoder", "deserialize_model", "serialize_model"]


class PresumptiveJSONEncoder(json.JSONEncoder):
    """Encodes the types of the contracts, and what consists of them, as the wire has them."""

    def default(self, o: Any) -> Any:
        """Return a plain value for an object."""
        return o.to_wire() if hasattr(o, "to_wire") else super().default(o)


def deserialize_model(data: Any, cls: type[Any]) -> Any:
    """Return the object of a type that plain values are on the wire. An object info without a kind gets that of the type.

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
    """Return an object as plain values, as they are on the wire, without what is not set."""
    return json.loads(json.dumps(obj, cls=PresumptiveJSONEncoder))
