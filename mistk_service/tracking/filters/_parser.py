"""The parser of filters and orders: recursive descent over the tokens, one method for each rule.

::

    filter      = [ comparison { AND comparison } [ AND ] ]
    comparison  = identifier ( comparator value | [ NOT ] IN "(" value { "," value } [ "," ] ")" | IS [ NOT ] NULL )
    comparator  = "=" | "!=" | "<" | "<=" | ">" | ">=" | LIKE | ILIKE
    order       = identifier [ ASC | DESC ]
    identifier  = [ prefix "." ] key
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from mistk_service.tracking.errors import FilterError, InvalidParameter
from mistk_service.tracking.filters._grammars import Grammar
from mistk_service.tracking.filters._syntax import Comparator, Comparison, Entity, Order, Value
from mistk_service.tracking.filters._tokens import Kind, Token, error_at, tokenize

T = TypeVar("T")

#: Each condition costs the database a join, and SQLite allows 64 of them.
MAX_CONDITIONS = 40
MAX_ORDERS = 10
MAX_MEMBERS = 10_000
#: Characters; SQLite refuses patterns of more than 50,000 bytes.
MAX_PATTERN = 12_000

#: Characters of a whole number that a column can hold.
_MAX_DIGITS = 18


def parse_filter(text: str, grammar: Grammar) -> tuple[Comparison, ...]:
    """Return the conditions of a filter, which must all hold; an empty filter has none.

    Raises:
        FilterError: the filter is not in the language, or contains something that this search does not support.
    """
    parser = _Parser(text, grammar, "filter")
    conditions = parser.filter()
    if len(conditions) > MAX_CONDITIONS:
        raise InvalidParameter(
            f"The filter has {len(conditions)} conditions; at most {MAX_CONDITIONS} are allowed.", field="filter"
        )
    return tuple(conditions)


def parse_order(clauses: Sequence[str], grammar: Grammar) -> tuple[Order, ...]:
    """Parse a list of order_by clauses.

    Raises:
        FilterError: a clause is not in the language, or names something that results cannot be ordered by.
        InvalidParameter: a key is named twice, or there are too many clauses.
    """
    if len(clauses) > MAX_ORDERS:
        raise InvalidParameter(
            f"order_by has {len(clauses)} clauses; at most {MAX_ORDERS} are allowed.", field="order_by"
        )
    orders = [_Parser(clause, grammar, "order_by").order() for clause in clauses]
    seen: set[tuple[Entity, str]] = set()
    for order in orders:
        if (order.entity, order.key) in seen:
            raise InvalidParameter(f"order_by contains the key '{order.entity}.{order.key}' twice.", field="order_by")
        seen.add((order.entity, order.key))
    return tuple(orders)


class _Parser:
    def __init__(self, text: str, grammar: Grammar, field: str) -> None:
        self._text = text
        self._grammar = grammar
        self._field = field
        self._tokens = tokenize(text, field)
        self._next = 0

    def filter(self) -> list[Comparison]:
        found: list[Comparison] = []
        while not self._at(Kind.END):
            found.append(self._comparison())
            if self._at(Kind.END):
                break
            if self._peek().text == ",":
                raise self._unexpected("conditions are joined by AND, not by commas")
            if not self._word("AND"):
                raise self._unexpected("expected AND or the end; OR, NOT, BETWEEN and parentheses are not supported")
        return found

    def order(self) -> Order:
        token = self._name("the name of an attribute, metric, param or tag")
        entity, key = self._order_key(token)
        ascending = True
        if not self._at(Kind.END):
            if self._word("DESC"):
                ascending = False
            elif not self._word("ASC"):
                raise self._unexpected("expected ASC, DESC or the end")
        if not self._at(Kind.END):
            raise self._unexpected("expected the end; each key is a separate clause")
        return Order(entity, key, ascending)

    def _comparison(self) -> Comparison:
        token = self._name("the name of an attribute, metric, param or tag on the left of a comparator")
        entity, key, allowed = self._filter_key(token)
        operator = self._peek()
        comparator = self._comparator()
        if comparator not in allowed:
            names = ", ".join(c.value for c in Comparator if c in allowed)
            raise self._error(operator, f"{comparator.value} cannot be used with '{token.text}'; use one of {names}")
        if entity is Entity.ATTRIBUTE and key in self._grammar.quoted_numbers and self._at(Kind.STRING):
            return Comparison(entity, key, comparator, self._quoted_number(token))
        is_number = self._grammar.is_number(entity, key)
        return Comparison(entity, key, comparator, self._operand(comparator, token, is_number=is_number))

    def _comparator(self) -> Comparator:
        token = self._peek()
        if token.kind is Kind.OPERATOR:
            self._next += 1
            if self._at(Kind.OPERATOR) and self._peek().position == token.position + len(token.text):
                both = token.text + self._peek().text
                raise self._error(token, f"{both} is not a comparator; equality is written with one =")
            return Comparator(token.text)
        for comparator in (Comparator.LIKE, Comparator.ILIKE, Comparator.IN):
            if self._word(comparator):
                return comparator
        if self._word("NOT"):
            if not self._word("IN"):
                raise self._unexpected("expected IN after NOT")
            return Comparator.NOT_IN
        if self._word("IS"):
            negated = self._word("NOT")
            if not self._word("NULL"):
                raise self._unexpected("expected NULL")
            return Comparator.IS_NOT_NULL if negated else Comparator.IS_NULL
        raise self._unexpected("expected a comparator such as =, !=, <, >, LIKE, IN or IS NULL")

    def _operand(self, comparator: Comparator, name: Token, *, is_number: bool) -> Value:
        if comparator in (Comparator.IS_NULL, Comparator.IS_NOT_NULL):
            return None
        if comparator in (Comparator.IN, Comparator.NOT_IN):
            return tuple(self._members())
        if is_number:
            return self._number(name)
        token = self._peek()
        value = self._string(f"a string in quotes, because '{name.text}' is text")
        if comparator in (Comparator.LIKE, Comparator.ILIKE) and len(value) > MAX_PATTERN:
            raise self._error(token, f"the pattern has {len(value)} characters; at most {MAX_PATTERN} are allowed")
        return value

    def _members(self) -> list[str]:
        if self._peek().text != "(":
            raise self._unexpected("expected a list such as ('a', 'b')")
        self._next += 1
        members = [self._string("a string in quotes")]
        while self._peek().text == ",":
            self._next += 1
            if self._peek().text == ")":
                break
            members.append(self._string("a string in quotes"))
        if self._peek().text != ")":
            raise self._unexpected("expected a comma or the closing parenthesis")
        if len(members) > MAX_MEMBERS:
            raise self._error(self._peek(), f"the list has {len(members)} members; at most {MAX_MEMBERS} are allowed")
        self._next += 1
        return members

    def _string(self, expected: str) -> str:
        token = self._take(Kind.STRING, expected)
        value = token.parts[0]
        if "\0" in value:
            raise self._error(token, "the string contains the character NUL")
        return value

    def _number(self, name: Token) -> int | float:
        token = self._take(Kind.NUMBER, f"a number without quotes, because '{name.text}' is a number")
        if token.text.lstrip("+-").isdigit() and len(token.text) <= _MAX_DIGITS:
            return int(token.text)
        value = float(token.text)
        if value in (float("inf"), float("-inf")):
            raise self._error(token, "the number is too large")
        return value

    def _quoted_number(self, name: Token) -> int:
        token = self._take(Kind.STRING, "a number")
        text = token.parts[0].strip()
        if not text.lstrip("+-").isdecimal() or len(text) > _MAX_DIGITS:
            raise self._error(token, f"expected a whole number, because '{name.text}' is one")
        return int(text)

    def _filter_key(self, token: Token) -> tuple[Entity, str, frozenset[Comparator]]:
        entity, key = self._split(token)
        if entity is Entity.ATTRIBUTE:
            name = self._grammar.aliases.get(key, key)
            return entity, name, self._known(token, name, self._grammar.attributes, "attribute")
        if entity is Entity.DATASET:
            return entity, key, self._known(token, key, self._grammar.datasets, "dataset field")
        return entity, key, self._grammar.keyed[entity]

    def _order_key(self, token: Token) -> tuple[Entity, str]:
        entity, key = self._split(token)
        if entity is Entity.ATTRIBUTE:
            return entity, self._known(token, key, self._grammar.order, "order key")
        if entity not in self._grammar.order_entities:
            raise self._error(token, f"{self._grammar.thing} cannot be ordered by {entity.value}")
        return entity, key

    def _known(self, token: Token, name: str, table: Mapping[str, T], what: str) -> T:
        if name in table:
            return table[name]
        near = difflib.get_close_matches(name, table, n=1)
        hint = f"did you mean '{near[0]}'?" if near else "use one of " + ", ".join(sorted(table))
        raise self._error(token, f"{self._grammar.thing} have no {what} '{name[:60]}'; {hint}")

    def _split(self, token: Token) -> tuple[Entity, str]:
        head, quoted = token.parts
        prefix, dot, key = (head, ".", quoted) if quoted is not None else head.partition(".")
        if not dot:
            return Entity.ATTRIBUTE, head
        entity = self._grammar.prefixes.get(prefix)
        if entity is None:
            known = ", ".join(sorted({e.value for e in self._grammar.prefixes.values()}))
            raise self._error(token, f"{self._grammar.thing} do not have '{prefix}'; use {known}")
        if not key:
            raise self._error(token, f"there is no key after '{prefix}.'")
        if "\0" in key:
            raise self._error(token, "the key contains the character NUL")
        return entity, key

    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _at(self, kind: Kind) -> bool:
        return self._peek().kind is kind

    def _word(self, word: str) -> bool:
        """Take the next token if it is this word, in any letter case."""
        token = self._peek()
        if token.kind is Kind.NAME and token.text.upper() == word:
            self._next += 1
            return True
        return False

    def _name(self, expected: str) -> Token:
        """Take a name. As in SQL, it may be in double quotes."""
        token = self._peek()
        if token.kind is Kind.STRING and token.text.startswith('"'):
            self._next += 1
            return replace(token, kind=Kind.NAME)
        return self._take(Kind.NAME, expected)

    def _take(self, kind: Kind, expected: str) -> Token:
        token = self._peek()
        if token.kind is not kind:
            raise self._unexpected(f"expected {expected}")
        self._next += 1
        return token

    def _unexpected(self, problem: str) -> FilterError:
        token = self._peek()
        found = "it ends here" if token.kind is Kind.END else f"found {token.text[:60]}"
        return self._error(token, f"{problem}; {found}")

    def _error(self, token: Token, problem: str) -> FilterError:
        return error_at(self._text, token.position, problem, self._field)
