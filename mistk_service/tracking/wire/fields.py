"""Reads the fields of a request strictly, with MLflow's messages.

As in MLflow, names may be in snake case or camel case, numbers may be text, enumerations may be given by name or number, and
null means absent. MLflow silently accepts some wrong values: a fractional timestamp, an unknown status, a step beyond 64 bits.
Here such a request is refused, which a conforming client never sends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from mistk_service.tracking.errors import InvalidParameter
from mistk_service.web.json_limits import JsonLimits, JsonTooLarge, check_json

if TYPE_CHECKING:
    from mistk_service.web.access import Principal

__all__ = ["Fields"]

E = TypeVar("E", bound=Enum)
T = TypeVar("T")

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
#: A whole number as text: R's client writes 100000 as 1e+05. Longer text is beyond 64 bits, or slow to parse.
_INTEGER = re.compile(r"[+-]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})([eE][+-]?\d{1,3})?", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NOT_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
#: How much of a wrong value a message repeats, in characters.
_SHOWN = 200


@lru_cache(maxsize=256)
def camel(name: str) -> str:
    """Return a name such as ``run_id`` in camel case."""
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


def _shown(value: Any) -> str:
    try:
        text = msgspec.json.encode(value).decode()
    except (TypeError, ValueError, UnicodeError):
        text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


class Fields:
    """The fields of a request, or of an object inside one.

    Every reader takes the name as the protocol's definition spells it (``run_id``) and also finds its camelCase form.
    An absent field and null are the same; unknown fields are ignored. All readers raise ``InvalidParameter``.

    Attributes:
        principal: who sends the request; None if no log-in is required.
        visible: returns whether the sender may see an experiment, by its id, or a registered model, by its name; None if the
            sender may see all.
    """

    __slots__ = ("_path", "_query", "_values", "principal", "visible")

    def __init__(self, values: Mapping[str, Any], path: str = "", *, query: bool = False) -> None:
        self._values = values
        self._path = path
        self._query = query
        self.principal: Principal | None = None
        self.visible: Callable[[str], bool] | None = None

    @classmethod
    def from_body(cls, body: bytes | bytearray, limits: JsonLimits | None = None) -> Fields:
        """Read a JSON object; an empty body counts as an empty object.

        Text that itself contains a JSON object is decoded once more, since very old clients send that.

        Args:
            body: the text.
            limits: the limits.

        Raises:
            InvalidParameter: the body is not JSON in UTF-8, or not an object, or exceeds the limits.
        """
        if not body:
            return cls({})
        value = _decode(body, limits)
        if isinstance(value, str):
            value = _decode(value.encode(), limits)
        if not isinstance(value, dict):
            raise InvalidParameter(f"The body of the request must be a JSON object, got {_shown(value)}.")
        return cls(value)

    @classmethod
    def from_query(cls, pairs: Iterable[tuple[str, str]]) -> Fields:
        """Read query parameters; a repeated one is a list."""
        values: dict[str, list[str]] = {}
        for key, value in pairs:
            values.setdefault(key, []).append(value)
        return cls(values, query=True)

    def has(self, name: str) -> bool:
        """Return whether the field is present and not null."""
        return self._get(name) is not None

    def text(self, name: str) -> str | None:
        """Return a string, or None where it is absent."""
        value = self._scalar(name)
        if value is not None and not isinstance(value, str):
            raise self._wrong(name, value, "a string")
        return value

    def required_text(self, name: str) -> str:
        """Return a required string, which is not empty."""
        return self.required(name, self.text(name) or None)

    def identifier(self, name: str) -> str | None:
        """Return an id, given as text or, as GitLab's clients do, as a whole number, or None where it is absent."""
        value = self._scalar(name)
        return str(value) if type(value) is int else self.text(name)

    def required_identifier(self, name: str) -> str:
        """Return a required id."""
        return self.required(name, self.identifier(name) or None)

    def int64(self, name: str) -> int | None:
        """Return a whole number of 64 bits, given as a number or as text (``1e+05`` too), or None where it is absent."""
        value = self._scalar(name)
        if value is None or (type(value) is int and _INT64_MIN <= value <= _INT64_MAX):
            return value
        number = _whole(value)
        if number is None or not _INT64_MIN <= number <= _INT64_MAX:
            raise self._wrong(name, value, "a whole number of 64 bits")
        return number

    def required_int64(self, name: str) -> int:
        """Return a required whole number."""
        return self.required(name, self.int64(name))

    def double(self, name: str) -> float | None:
        """Return a number, given as a number or as text (NaN and the infinities too), or None where it is absent."""
        value = self._scalar(name)
        if value is None or type(value) is float:
            return value
        number = _real(value)
        if number is None:
            raise self._wrong(name, value, "a number, or one of the strings NaN, Infinity, -Infinity")
        return number

    def required_double(self, name: str) -> float:
        """Return a required number."""
        return self.required(name, self.double(name))

    def boolean(self, name: str) -> bool | None:
        """Return true or false, or None where it is absent; a query has them as words in any letter case."""
        value = self._scalar(name)
        if self._query and isinstance(value, str):
            value = {"true": True, "false": False}.get(value.lower(), value)
        if value is None or isinstance(value, bool):
            return value
        raise self._wrong(name, value, "true or false")

    def enum(self, name: str, kind: type[E]) -> E | None:
        """Return a member of an enumeration, given by its name or its number, or None where it is absent."""
        value = self._scalar(name)
        if value is None:
            return None
        number = _whole(value) if not isinstance(value, float) else None
        if number is not None and number in kind._value2member_map_:
            return kind(number)
        if isinstance(value, str) and value in kind.__members__:
            return kind[value]
        raise self._wrong(name, value, "one of " + ", ".join(f"{m.name} ({m.value})" for m in kind))

    def texts(self, name: str) -> list[str]:
        """Return a list of strings, empty where it is absent."""
        values = self.raw_list(name)
        if not all(isinstance(value, str) for value in values):
            raise self._wrong(name, values, "a list of strings")
        return values

    def texts_by_name(self, name: str) -> dict[str, str]:
        """Return an object whose values are strings, empty where it is absent."""
        found = self.object(name)
        return {} if found is None else {each: found.text(each) or "" for each in found._values}

    def objects(self, name: str) -> list[Fields]:
        """Return a list of objects, empty where it is absent."""
        path = self.place(name)
        found = []
        for i, value in enumerate(self.raw_list(name)):
            if not isinstance(value, dict):
                raise self._wrong(f"{name}[{i}]", value, "an object")
            found.append(Fields(value, f"{path}[{i}]"))
        return found

    def object(self, name: str) -> Fields | None:
        """Return an object, or None where it is absent."""
        value = self._get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self._wrong(name, value, "an object")
        return Fields(value, self.place(name))

    def required_object(self, name: str) -> Fields:
        """Return a required object."""
        return self.required(name, self.object(name))

    def raw_list(self, name: str) -> list[Any]:
        """Return a list unchanged, empty where it is absent, for a caller that reads many objects fast."""
        value = self._get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._wrong(name, value, "a list")
        return value

    def place(self, name: str) -> str:
        """Return the name of a field in messages, such as ``metrics[3].value``."""
        return f"{self._path}.{name}" if self._path else name

    def required(self, name: str, value: T | None) -> T:
        """Return the value that was read from a field, unless that was absent."""
        if value is None:
            raise self.missing(name)
        return value

    def missing(self, name: str) -> InvalidParameter:
        """Return the error for a required field that is absent."""
        place = self.place(name)
        return InvalidParameter(f"Missing value for required parameter '{place}'.", field=place)

    def _get(self, name: str) -> Any:
        value, other = self._values.get(name), camel(name)
        if other == name or other not in self._values:
            return value
        if name in self._values:
            place = self.place(name)
            raise InvalidParameter(
                f"Parameter '{place}' is given twice, as '{name}' and as '{other}'; give it once.", field=place
            )
        return self._values[other]

    def _scalar(self, name: str) -> Any:
        value = self._get(name)
        if self._query and value is not None:
            # The last one counts, as it does where a JSON object repeats a key.
            return value[-1]
        return value

    def _wrong(self, name: str, value: Any, expected: str) -> InvalidParameter:
        place = self.place(name)
        return InvalidParameter(
            f"Invalid value {_shown(value)} for parameter '{place}' supplied: expected {expected}.", field=place
        )


def _decode(body: bytes | bytearray, limits: JsonLimits | None) -> Any:
    try:
        if limits is not None:
            check_json(body, limits)
        return msgspec.json.decode(body)
    except JsonTooLarge as error:
        raise InvalidParameter(f"The body of the request is invalid: {error}.") from error
    except RecursionError as error:
        raise InvalidParameter("The body of the request is nested too deeply.") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:  # what it raises for bad UTF-8 depends on its version
        raise InvalidParameter(f"The body of the request is not valid JSON: {error}.") from error


def _whole(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if not isinstance(value, str) or not _INTEGER.fullmatch(value.strip()):
        return None
    number = Decimal(value.strip())
    return int(number) if number == number.to_integral_value() else None


def _real(value: Any) -> float | None:
    if isinstance(value, str):
        if value in _NOT_FINITE:
            return _NOT_FINITE[value]
        if not _NUMBER.fullmatch(value.strip()):
            return None
    elif isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    # Text such as "1e999" is a finite number that no double can hold.
    return number if number not in (float("inf"), float("-inf")) else None
