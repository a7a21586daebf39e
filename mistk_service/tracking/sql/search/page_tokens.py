"""Page tokens: the sort keys of the last row of a page."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence

from mistk_service.tracking.errors import InvalidPageToken

#: A value that rows are sorted by.
SortValue = str | int | float

_INT64_MAX = 2**63 - 1


def encode(search: str, values: Sequence[SortValue]) -> str:
    """Return the token for a page whose last row has these values.

    Args:
        search: identifies the search and its order.
        values: of the last row, in the order of the sort keys.
    """
    return base64.urlsafe_b64encode(json.dumps([_digest(search), *values]).encode()).decode()


def decode(token: str, search: str, kinds: Sequence[type]) -> list[SortValue]:
    """Return the values in a token.

    Args:
        token: the token from the client.
        search: as for :func:`encode`.
        kinds: the type of each value: str, int or float.

    Raises:
        InvalidPageToken: the token is damaged, or belongs to a search with another order.
    """
    try:
        content = json.loads(base64.urlsafe_b64decode(token.encode("ascii")))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise InvalidPageToken(
            "Invalid page token, could not base64-decode it. Pass a next_page_token unchanged, or none.",
            field="page_token",
        ) from error
    if not isinstance(content, list) or not content or content[0] != _digest(search):
        raise InvalidPageToken(
            "Invalid page token: it belongs to another search. A token is valid only for the search that returned it, "
            "in the same order.",
            field="page_token",
        )
    values = content[1:]
    if len(values) != len(kinds) or not all(map(_fits, values, kinds)):
        raise InvalidPageToken("Invalid page token: it is damaged.", field="page_token")
    return values


def _digest(search: str) -> str:
    return hashlib.blake2b(search.encode(), digest_size=6).hexdigest()


def _fits(value: object, kind: type) -> bool:
    if kind is str:
        return isinstance(value, str) and "\0" not in value
    if isinstance(value, bool):
        return False
    if kind is int:
        return isinstance(value, int) and -_INT64_MAX - 1 <= value <= _INT64_MAX
    return isinstance(value, float)
