"""Prompts, which MLflow stores as registered models with a tag."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, literal, select

from mistk_service.tracking.filters import Comparator, Comparison, Entity
from mistk_service.tracking.sql.tables import registered_model_tags, registered_models
from mistk_service.tracking.values import Tag

_TAG = "mlflow.prompt.is_prompt"


def without_prompts(comparisons: Sequence[Comparison]) -> tuple[list[Comparison], bool]:
    """Return the conditions without those that exclude prompts, and whether prompts are excluded.

    MLflow's client excludes them in every search with ``tags.`mlflow.prompt.is_prompt` != 'true'``. As an ordinary
    condition, that would only match models with the tag, which ordinary models do not have.
    """
    about = [c for c in comparisons if c.entity is Entity.TAG and c.key == _TAG]
    if any(_wants_prompts(comparison) for comparison in about):
        return list(comparisons), False
    return [comparison for comparison in comparisons if comparison not in about], True


def _wants_prompts(comparison: Comparison) -> bool:
    value = comparison.value.lower() if isinstance(comparison.value, str) else ""
    return (comparison.comparator, value) in ((Comparator.EQ, "true"), (Comparator.NE, "false"))


def is_prompt() -> ColumnElement[Any]:
    """Return the condition that a row of ``registered_models`` is a prompt."""
    table = registered_model_tags.alias("prompts")
    return (
        select(literal(1))
        .select_from(table)
        .where(table.c.name == registered_models.c.name, table.c.key == _TAG, table.c.value == "true")
        .exists()
    )


def has_prompt_tag(tags: Iterable[Tag]) -> bool:
    """Return whether tags with different keys mark a prompt."""
    return any(tag.key == _TAG and tag.value.lower() == "true" for tag in tags)
