"""The errors of calls that an instance refuses. Each names the state, the running activity and the possible operations."""

from __future__ import annotations

from typing import Any

from mistk_service.core.view import InstanceView
from mistk_service.errors import OperationRefused, OperationUnsupported
from mistk_service.kinds.kind import Operation


def require(view: InstanceView, row: Operation) -> None:
    """Raise an error if the class does not implement an operation or the state does not allow it.

    Raises:
        OperationUnsupported: the class does not have the hook.
        OperationRefused: the state does not allow the operation.
    """
    if view.is_possible(row):
        return
    operation, facts = row.name, _facts(view, row.name)
    can = f"Possible now: {', '.join(facts['possible']) or 'nothing'}."
    if not view.supports(row):
        raise OperationUnsupported(
            f"The model {view.name} does not implement {operation}: its class has no {row.hook}. The state is "
            f"{view.state}. {can}",
            **facts,
        )
    runs = f": {view.running.operation} is running" if view.running else "; nothing is running"
    if view.running is None and view.in_flight and view.kind.prediction:
        runs = f": {view.in_flight} {view.kind.prediction.name} are in flight"
    raise OperationRefused(f"{operation} is not possible in the state {view.state}{runs}. {can}", **facts)


def unsupported(view: InstanceView, operation: str, reason: str) -> OperationUnsupported:
    """Return the error of an operation whose hook raised NotImplementedError."""
    message = f"The model does not support {operation}" + (f": {reason}" if reason else ".")
    return OperationUnsupported(message, **_facts(view, operation))


def _facts(view: InstanceView, operation: str) -> dict[str, Any]:
    """Return the attributes that all refusals of an operation share."""
    activity = view.running.operation if view.running else None
    return {"operation": operation, "state": view.state, "activity": activity, "possible": view.possible()}
