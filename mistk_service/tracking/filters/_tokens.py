"""Splits a filter into tokens with positions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto

from mistk_service.tracking.errors import FilterError

#: Characters; a longer filter is refused at once.
MAX_FILTER = 100_000
#: The characters of a filter that a message shows on each side of the problem.
_WINDOW = 40


class Kind(Enum):
    """The kinds of tokens."""

    NAME = auto()
    NUMBER = auto()
    STRING = auto()
    OPERATOR = auto()
    PUNCTUATION = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a filter.

    Attributes:
        kind: what it is.
        text: as it was written.
        position: where it starts, in characters from 0.
        parts: for a NAME: the text before the quoted part, and the quoted part or None; for a STRING: its content, and None.
    """

    kind: Kind
    text: str
    position: int
    parts: tuple[str, str | None] = ("", None)


_NAME_CHARACTER = r"[^\s'\"`=<>!(),]"
_TOKEN = re.compile(
    rf"""\s*(?:
        (?P<number>[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?!{_NAME_CHARACTER}|['"`]))
      | (?P<key>{_NAME_CHARACTER}+\.(?:`[^`]*`|"[^"]*"|'[^']*'))
      | (?P<name>{_NAME_CHARACTER}+)
      | (?P<ticks>`[^`]*`)
      | (?P<string>'[^']*'|"[^"]*")
      | (?P<operator>>=|<=|!=|=|<|>)
      | (?P<punctuation>[(),])
      | (?P<end>\Z)
    )""",
    re.VERBOSE,
)


def tokenize(text: str, field: str) -> list[Token]:
    """Return the tokens of a filter, the last of which is the end.

    Raises:
        FilterError: a quote is not closed, a character is invalid, or the filter is too long.
    """
    if len(text) > MAX_FILTER:
        raise error_at(text, MAX_FILTER, f"it is longer than {MAX_FILTER} characters", field)
    tokens: list[Token] = []
    position = 0
    while not tokens or tokens[-1].kind is not Kind.END:
        match = _TOKEN.match(text, position)
        if match is None:
            raise _lexical_error(text, position, field)
        tokens.append(_token(match))
        position = match.end()
    return tokens


#: The groups of the pattern whose tokens have no parts.
_PLAIN = {
    "number": Kind.NUMBER,
    "operator": Kind.OPERATOR,
    "punctuation": Kind.PUNCTUATION,
    "end": Kind.END,
}


def _token(match: re.Match[str]) -> Token:
    group = str(match.lastgroup)
    text, position = match[group], match.start(group)
    if group in _PLAIN:
        return Token(_PLAIN[group], text, position)
    if group == "string":
        return Token(Kind.STRING, text, position, (text[1:-1], None))
    if group == "key":
        quote = text[-1]
        head, key = text[:-1].split("." + quote, 1)
        return Token(Kind.NAME, text, position, (head, key))
    return Token(Kind.NAME, text, position, (text.strip("`"), None))


def _lexical_error(text: str, position: int, field: str) -> FilterError:
    while text[position].isspace():
        position += 1
    if text[position] in "'\"`":
        return error_at(text, position, f"the quote {text[position]} is never closed", field)
    return error_at(text, position, f"the character {text[position]!r} is not expected here", field)


def error_at(text: str, position: int, problem: str, field: str) -> FilterError:
    """Return the error for a problem at a position, which the message shows."""
    start, end = max(0, position - _WINDOW), position + _WINDOW
    line = re.sub(r"[\r\n\t]", " ", text[start:end])
    lead = "..." if start else ""
    caret = " " * (len(lead) + position - start) + "^"
    return FilterError(
        f"Invalid clause(s) in {field} string at column {position + 1}: {problem}.\n"
        f"  {lead}{line}{'...' if end < len(text) else ''}\n  {caret}",
        position=position,
        field=field,
    )
