"""Limits on the content of a JSON document, checked in its text before it is decoded.

A decoder turns every three characters of ``[],[],...`` into an object of dozens of bytes, and holds the GIL until it is done.
Counting the characters takes a fraction of that time and almost no memory.
"""

from __future__ import annotations

from dataclasses import dataclass

#: The contents of arrays and objects without brackets.
_NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))


@dataclass(frozen=True)
class JsonLimits:
    """Limits on a document.

    Attributes:
        size: bytes of its text.
        values: members of all arrays and objects together, where an empty one counts as one.
        containers: arrays and objects.
        depth: the maximum nesting of arrays and objects.
    """

    size: int
    values: int = 50_000
    containers: int = 5_000
    depth: int = 100


#: For a document of any form, such as hyperparameters.
FREE_JSON = JsonLimits(size=1024 * 1024)


class JsonTooLarge(ValueError):
    """A document exceeds a limit; the message names it."""


def check_json(body: bytes | bytearray, limits: JsonLimits) -> None:
    """Count the items of a document. The decoder checks whether it is JSON, and the reader of the body has limited its size.

    Raises:
        JsonTooLarge: it exceeds ``limits``.
    """
    # Most documents are within the limits even if all characters of their strings are counted too.
    containers = body.count(b"[") + body.count(b"{")
    if (
        containers <= limits.depth
        and containers <= limits.containers
        and (len(body) <= limits.values or containers + body.count(b",") <= limits.values)
    ):
        return
    structure = _without_strings(body, limits)
    _check_containers(structure, limits)
    if structure.count(b"[") + structure.count(b"{") + structure.count(b",") > limits.values:
        raise _too_many_values(limits)


def strings_in(body: bytes | bytearray) -> int:
    """Return the number of strings in a document, keys included."""
    return _unescaped(body).count(b'"') // 2


def _unescaped(body: bytes | bytearray) -> bytes | bytearray:
    """Return a document in which every quotation mark is the beginning or the end of a string."""
    if b"\\" not in body:
        return body
    return body.replace(b"\\\\", b"").replace(b'\\"', b"")


def _without_strings(body: bytes | bytearray, limits: JsonLimits) -> bytes:
    plain = _unescaped(body)
    # Every value and every key is one string at most.
    if plain.count(b'"') > 4 * (limits.values + 1):
        raise _too_many_values(limits)
    return b"".join(plain.split(b'"')[::2])


def _too_many_values(limits: JsonLimits) -> JsonTooLarge:
    return JsonTooLarge(f"it holds more than {limits.values} values")


def _check_containers(structure: bytes, limits: JsonLimits) -> None:
    depth = containers = 0
    for bracket in structure.translate(None, _NO_BRACKET):
        if bracket not in b"[{":
            depth -= 1
            continue
        depth += 1
        containers += 1
        if depth > limits.depth:
            raise JsonTooLarge(
                f"it is nested too deeply; at most {limits.depth} levels of arrays and objects are allowed"
            )
        if containers > limits.containers:
            raise JsonTooLarge(f"it holds more than {limits.containers} arrays and objects")
