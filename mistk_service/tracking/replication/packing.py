"""Packing the changes of a run into batches within the limits of a request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from mistk_service.tracking.values import Metric, Param, Tag
from mistk_service.tracking.values.changes import BatchLogged, Change
from mistk_service.tracking.values.limits import MAX_ENTITIES, MAX_METRICS, MAX_PARAMS, MAX_TAGS

#: Bytes of JSON that a batch may have, about; MLflow's documentation allows 1 MB.
_MAX_BYTES = 900_000
#: Bytes of JSON for a metric, and for a param or a tag, in addition to its texts.
_METRIC_BYTES, _PAIR_BYTES = 90, 24


@dataclass(slots=True)
class Batch:
    """Metrics, params and tags of a run."""

    metrics: list[Metric] = field(default_factory=list)
    params: list[Param] = field(default_factory=list)
    tags: list[Tag] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.metrics) + len(self.params) + len(self.tags)

    def halves(self) -> tuple[Batch, Batch]:
        """Return two batches with one half each."""
        items: list[Metric | Param | Tag] = [*self.metrics, *self.params, *self.tags]
        middle = len(items) // 2
        return Batch.of(items[:middle]), Batch.of(items[middle:])

    @classmethod
    def of(cls, items: Iterable[Metric | Param | Tag]) -> Batch:
        """Return a batch of the items."""
        batch = cls()
        for item in items:
            batch._add(item)
        return batch

    def pieces(self) -> Iterator[Batch]:
        """Yield batches with the same content in the same order, each within the limits of a single request."""
        piece, size = Batch(), 0
        items: list[Metric | Param | Tag] = [*self.params, *self.tags, *self.metrics]
        for item in items:
            length = _length(item)
            if piece and (piece._is_full(item) or size + length > _MAX_BYTES):
                yield piece
                piece, size = Batch(), 0
            piece._add(item)
            size += length
        if piece:
            yield piece

    def _add(self, item: Metric | Param | Tag) -> None:
        self._list_and_limit(item)[0].append(item)

    def _is_full(self, item: Metric | Param | Tag) -> bool:
        items, limit = self._list_and_limit(item)
        return len(self) >= MAX_ENTITIES or len(items) >= limit

    def _list_and_limit(self, item: Metric | Param | Tag) -> tuple[list[Any], int]:
        """Return the list for items of this kind, and how many of them a request may have."""
        if isinstance(item, Metric):
            return self.metrics, MAX_METRICS
        return (self.params, MAX_PARAMS) if isinstance(item, Param) else (self.tags, MAX_TAGS)


def merged(changes: Sequence[Change]) -> Iterator[Batch | Change]:
    """Yield the changes of one run in order, with successive batches merged.

    A param occurs once, since a request may not repeat it. Of several tags with one key, the last remains.
    """
    metrics: list[Metric] = []
    params: dict[str, str] = {}
    tags: dict[str, str] = {}
    for change in changes:
        if isinstance(change, BatchLogged):
            metrics.extend(Metric(*point) for point in change.points)
            params.update(change.params)
            tags.update(change.tags)
            continue
        if metrics or params or tags:
            yield _batch(metrics, params, tags)
            metrics, params, tags = [], {}, {}
        yield change
    if metrics or params or tags:
        yield _batch(metrics, params, tags)


def _batch(metrics: list[Metric], params: dict[str, str], tags: dict[str, str]) -> Batch:
    return Batch(metrics, [Param(*pair) for pair in params.items()], [Tag(*pair) for pair in tags.items()])


def _length(item: Metric | Param | Tag) -> int:
    if isinstance(item, Metric):
        return len(item.key) + _METRIC_BYTES
    # Where it is not ASCII, a character takes up to four bytes.
    return _PAIR_BYTES + sum(len(text) if text.isascii() else 4 * len(text) for text in (item.key, item.value))
