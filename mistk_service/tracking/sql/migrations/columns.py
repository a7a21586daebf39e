"""Columns for the migrations.

They are independent of the package's tables, which may have changed since, and are frozen: a migration that needs
another column defines it itself.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_DOUBLE: sa.types.TypeEngine[float] = sa.REAL().with_variant(sa.DOUBLE_PRECISION(), "postgresql")

Columns = list[sa.Column[Any]]


def number(name: str) -> sa.Column[Any]:
    """Return the primary key of a table whose rows are numbered."""
    return sa.Column(name, _ID, sa.Identity(always=False), primary_key=True, nullable=False)


def ids(*names: str) -> Columns:
    """Return columns of numbers of rows."""
    return [sa.Column(name, _ID, nullable=False) for name in names]


def texts(*names: str, nullable: bool = False) -> Columns:
    """Return columns of text, which is compared by code points."""
    return [sa.Column(name, _TEXT, nullable=nullable) for name in names]


def longs(*names: str, nullable: bool = False) -> Columns:
    """Return columns of whole numbers of 64 bits."""
    return [sa.Column(name, sa.BigInteger(), nullable=nullable) for name in names]


def doubles(*names: str) -> Columns:
    """Return columns of numbers."""
    return [sa.Column(name, _DOUBLE, nullable=False) for name in names]


def small_integers(*names: str, nullable: bool = False) -> Columns:
    """Return columns of small integers, most of them 0 or 1."""
    return [sa.Column(name, sa.SmallInteger(), nullable=nullable) for name in names]


def refers(name: str, target: str, *, onupdate: str | None = None, ondelete: str | None = None) -> sa.Column[Any]:
    """Return a column that refers to a row of another table by its number, or by the name of a registered model."""
    kind = _TEXT if target.endswith(".name") else _ID
    return sa.Column(name, kind, sa.ForeignKey(target, onupdate=onupdate, ondelete=ondelete), nullable=False)


def head(name: str) -> Any:
    """Return the first characters of a column, for an index; a whole value may be too long."""
    return sa.literal_column(f"substr({name}, 1, 256)")


def descending(name: str) -> Any:
    """Return a column in the order of an index, the greatest first."""
    return sa.literal_column(f"{name} DESC")


def make_keyed(name: str, owner: sa.Column[Any]) -> None:
    """Make a table of keys and values that belong to rows of another table."""
    key = sa.PrimaryKeyConstraint(owner.name, "key")
    op.create_table(name, owner, *texts("key", "value"), key, sqlite_with_rowid=False)
    op.create_index(f"ix_{name}_value", name, ["key", head("value"), owner.name])
