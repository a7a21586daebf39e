"""Runs a pipeline: each step is a call of a client, and ends when the container has done it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from mistk_service.client import CLIENTS, ContainerClient, ModelStatus
from mistk_service.errors import InvalidRequest, RequestRefused, ValidationFailed, WaitFailed
from mistk_service.harness.containers import Start, opened
from mistk_service.harness.pipeline import Pipeline, Step
from mistk_service.harness.prediction_files import compare, read_labels

#: Shows an event: an object with the key ``event``, which :mod:`mistk_service.harness.display` describes.
Show = Callable[[Mapping[str, Any]], None]

_CLIENTS = {blocking.kind.name: blocking for blocking, _ in CLIENTS}


@dataclasses.dataclass(frozen=True)
class Options:
    """How a run treats the containers that it starts.

    Attributes:
        port: the port of the first one; 0 for a free one.
        keep: whether they keep running after the run.
        logs: whether to show what they print.
    """

    port: int = 0
    keep: bool = False
    logs: bool = False


class Runner:
    """One run of a pipeline. Use it as a context manager, which ends the containers that it started."""

    def __init__(self, pipeline: Pipeline, options: Options, show: Show) -> None:
        self._pipeline = dataclasses.replace(
            pipeline, steps=tuple(step.with_paths(os.path.abspath) for step in pipeline.steps)
        )
        self._options = options
        self._show = show
        self._clients: dict[str, ContainerClient] = {}
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    def run(self) -> None:
        """Run all steps.

        Raises:
            MistkError: a step failed. The steps after it are not run.
        """
        started = time.monotonic()
        for step in self._pipeline.steps:
            self._run(step)
        self._show({"event": "completed", "message": "Validation completed", "seconds": _since(started)})

    def _run(self, step: Step) -> None:
        client = self._client(step.component) if step.component else None
        started = time.monotonic()
        self._show({"event": "step", "step": step.name, "component": step.component})
        try:
            result = _call(client, step)
        except ValidationFailed as error:
            if "model" in self._pipeline.components:
                raise
            raise InvalidRequest(str(error)) from error  # the file is the user's own
        done: dict[str, Any] = {}
        if isinstance(result, ModelStatus):
            assert client is not None
            ended = _wait_done(client, result, step.name, self._show)
            metrics = {name: value for name, value in ended.metrics.items() if value != result.metrics.get(name)}
            done = {"state": str(ended.state), "metrics": metrics}
        else:
            self._show({"event": "result", "step": step.name, **result})
        self._show({"event": "done", "step": step.name, **done, "seconds": _since(started)})

    def _client(self, component: str) -> ContainerClient:
        """Return the client of a component, whose container is started when the first step needs it."""
        if component not in self._clients:
            paths = [path for step in self._pipeline.steps if step.component == component for path in step.paths()]
            start = Start(
                0 if self._clients else self._options.port, self._options.keep, partial(self._log, component), paths
            )
            found = opened(self._pipeline.components[component], _CLIENTS[component], start)
            client, url = self._open.enter_context(found)
            client.status()  # fails early if it cannot be reached
            self._clients[component] = client
            self._show({"event": "container", "component": component, "url": url})
        return self._clients[component]

    def _log(self, component: str, line: str) -> None:
        if self._options.logs:
            self._show({"event": "log", "component": component, "line": line})


def _call(client: ContainerClient | None, step: Step) -> Any:
    """Return what a step returns: the status of an operation that was accepted, or its result."""
    if step.name in _SPECIAL:
        return _SPECIAL[step.name](client, step.parameters)
    defaults = {"objectives": ()} if step.name == "initialize" else {}
    return getattr(client, step.name)(**{**defaults, **step.parameters})


def _wait_done(client: ContainerClient, accepted: ModelStatus, step: str, show: Show) -> ModelStatus:
    """Wait until an operation has ended, and return the status then.

    Raises:
        WaitFailed: the component failed.
        RequestRefused: its hook refused the request after the service had accepted it.
    """
    rows = client.kind.operations.values()
    running = {row.running for row in rows}
    settled = {client.kind.initial, *(row.then for row in rows if row.then)} - running
    try:
        status = client.wait_for(
            settled, since=accepted, on_status=lambda each: show({"event": "status", **_described(each)})
        )
    except WaitFailed as error:
        if error.failure is None:
            raise
        raise WaitFailed(f"{step} failed: {error.failure}", status=error.status, failure=error.failure) from error
    last = status.last_activity
    if last is not None and last.outcome == "refused":
        raise RequestRefused(
            status.notice or f"{step} was refused.", code=400, operation=last.operation, state=status.state
        )
    if last is not None and last.outcome != "completed":
        raise WaitFailed(f"{step} was not done: {status.notice or last.outcome}", status=status)
    return status


def _described(status: ModelStatus) -> dict[str, Any]:
    progress = status.progress
    return {
        "state": str(status.state),
        "progress": dataclasses.asdict(progress) if progress else None,
        "metrics": status.metrics,
    }


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)


# --- steps that are more than one call ----------------------------------------------------------------------------------


def _stream_predict(client: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    records = parameters["records"] if "records" in parameters else read_object(Path(parameters["file"]))
    answers = client.stream_predict(records, details=parameters.get("details", False))
    missing = [key for key in records if key not in answers]
    if missing:
        raise ValidationFailed(f"The answer lacks {len(missing)} of the records, such as {missing[0]!r}.")
    return {"answers": answers}


def _stream_predict_source(client: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Read the predictions until the source ends, or cancel it after some updates."""
    given = {name: value for name, value in parameters.items() if name != "cancel_after"}
    limit = parameters.get("cancel_after")
    answers: dict[str, Any] = {}
    updates = 0
    for update in client.stream_predict_source(**given):
        updates += 1
        answers.update(update)
        if updates == limit:
            client.cancel_stream_predict_source()
    client.wait_for(client.kind.ready)
    return {"updates": updates, "answers": answers}


def _evaluate(client: Any, parameters: Mapping[str, Any]) -> ModelStatus:
    """Choose the metrics by their names, or all for the type of assessment."""
    known = {str(metric.object_info.name): metric for metric in client.metrics()}
    kind = parameters["assessment_type"]
    suited = [name for name, metric in known.items() if kind in (metric.assessment_types or ())]
    chosen = parameters.get("metrics") or suited
    unknown = [name for name in chosen if name not in known]
    if unknown or not chosen:
        types = sorted({each for metric in known.values() for each in metric.assessment_types or ()})
        raise InvalidRequest(
            f"There is no metric {unknown[0]!r}; expected one of {', '.join(known) or 'none'}."
            if unknown
            else f"There are no metrics for the assessment type {kind!r}; expected one of {', '.join(types)}.",
            field="metrics" if unknown else "assessment_type",
        )
    given = {name: value for name, value in parameters.items() if name != "metrics"}
    status: ModelStatus = client.evaluate(metrics=[known[name] for name in chosen], **given)
    return status


def _check_predictions(_client: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Check predictions, and compare them with the truth."""
    truth_path = parameters.get("ground_truth")
    truth = read_labels(Path(truth_path), "ground_truth", scores=False) if truth_path else None
    try:
        predicted = read_labels(Path(parameters["predictions"]), "predictions", scores=True)
        agreement = compare(predicted, truth) if truth else None
    except InvalidRequest as error:
        raise ValidationFailed(str(error)) from error
    figures = dataclasses.asdict(agreement) if agreement else {}
    return {"records": len(predicted), **figures}


_SPECIAL: Mapping[str, Callable[[Any, Mapping[str, Any]], Any]] = {
    "stream_predict": _stream_predict,
    "stream_predict_source": _stream_predict_source,
    "check_predictions": _check_predictions,
    "evaluate": _evaluate,
}


def read_object(file: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        InvalidRequest: the file cannot be read, or holds something else.
    """
    try:
        value = json.loads(file.read_bytes())
    except OSError as error:
        raise InvalidRequest(f"{file} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise InvalidRequest(f"{file} is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise InvalidRequest(f"{file} holds {type(value).__name__}; expected a JSON object.")
    return value
