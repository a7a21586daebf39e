"""Conversion of the keys and values of a model or an orchestrator to those that a store accepts."""

from __future__ import annotations

import json
import re
from typing import Any

from mistk_service.logs import encodable

_LIMIT = 250
_NOT_ALLOWED = re.compile(r"[^/\w.\- :]")


class Names:
    """Gives every key a spelling that the store accepts, and never the same one to two keys."""

    def __init__(self) -> None:
        self._spelling: dict[str, str] = {}
        self._owner: dict[str, str] = {}

    def spelled(self, key: str) -> str:
        """Return the spelling of ``key``, which is the key itself if possible."""
        known = self._spelling.get(key)
        if known is not None:
            return known
        spelling = base = _acceptable(key)
        number = 1
        while self._owner.get(spelling, key) != key:
            number += 1
            spelling = f"{base[: _LIMIT - 10]}_{number}"
        self._spelling[key] = spelling
        self._owner[spelling] = key
        return spelling


def _acceptable(key: str) -> str:
    parts = _NOT_ALLOWED.sub("_", key)[:_LIMIT].split("/")
    # Read as a path, a key must not go up, begin at the root or have empty parts.
    kept = [part if part.strip(".") else "_" * len(part) for part in parts if part]
    return "/".join(kept) or "_"


def text_of(value: Any) -> str:
    """Return a value as the text of a param or a tag: strings unchanged, lists and objects as JSON."""
    if isinstance(value, str):
        return encodable(value.replace("\0", "\\0"))
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def same_value(one: str, other: str) -> bool:
    """Return whether two texts are the same value of a param, as ``1`` and ``1.0`` are."""
    if one == other:
        return True
    try:
        return float(one) == float(other)
    except ValueError:
        return False
