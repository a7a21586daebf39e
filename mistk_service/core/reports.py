"""Converts the reports of a model, as its worker sends them, to events."""

from __future__ import annotations

from collections.abc import Iterator

from mistk_service.core import events
from mistk_service.workers import messages as m


def reported(message: m.Report) -> Iterator[events.Event]:
    """Yield the events of a report, in order."""
    match message:
        case m.StatusUpdated():
            yield events.StatusUpdated(message.payload)
        case m.Progressed():
            yield events.ProgressReported(message.done, message.total, message.unit, message.rate, message.left)
        case m.Reported():
            if message.metrics:
                yield events.MetricsReported(message.metrics)
            if message.params:
                yield events.ParamsReported(message.params)
            if message.tags:
                yield events.TagsSet(message.tags)
            for path, folder, kept in message.artifacts:
                yield events.ArtifactLogged(path, folder, kept)
