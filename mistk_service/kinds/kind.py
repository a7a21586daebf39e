"""Describes a kind of container as one value: base class, contract, states and operations, and how they are recorded.

The controller, the worker, the recorder, the client, the doors and the documentation read it, so none of them contains the
name of an operation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from functools import cached_property
from operator import itemgetter
from typing import Any, Literal

from mistk_service.kinds.call import Call
from mistk_service.kinds.predictions import Inputs, Prompt, Records, Tensors

#: The states that all kinds have, by their names on the wire.
PAUSING, PAUSED = "pausing", "paused"
RESETTING, TERMINATING, TERMINATED, FAILED = "resetting", "terminating", "terminated", "failed"

#: The environment variable with the token that clients of containers send.
LOGIN_VARIABLE = "MISTK_CLIENT_TOKEN"

#: What an operation means for replicas, workers that only predict: they repeat it, they build the model by repeating it, or
#: it changes the model in a way that they cannot repeat.
ReplicaEffect = Literal["repeated", "builds", "changes"]


class Role(Enum):
    """How an operation is carried out."""

    #: A hook runs on the worker's main thread, one at a time, and the state shows it.
    ACTIVITY = "activity"
    #: Any number may be in flight, each with its own answer.
    PREDICTION = "prediction"
    PAUSE = "pause"
    RESUME = "resume"
    #: Ends an activity early. It is accepted in every state.
    CANCEL = "cancel"
    #: The worker and the instance are replaced by new ones.
    RESET = "reset"
    SHUTDOWN = "shutdown"


#: The arguments of a hook, by position.
Arguments = tuple[Any, ...]


@dataclass(frozen=True)
class RunSettings:
    """What the arguments of an operation say about its run.

    Attributes:
        params: the params of the run.
        tags: the tags of the run.
        properties: options of the run by their names in MLflow (``mlflow.runName``); others become tags too.
        made_from: the kind of files that another run has saved (``predictions``) and their folder, if this run reads them;
            the runs are linked.
    """

    params: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)
    made_from: tuple[str, str] | None = None


@dataclass(frozen=True)
class Operation:
    """One operation of a kind.

    Attributes:
        name: the last part of its path, which errors and clients use as its name (``loadData``).
        hook: the method of the class that does the work.
        followed_by: a method that is called after the hook, with the first argument of the hook, as a part of the activity.
        tensor_hook: the method that does it for named tensors, of an operation with the role PREDICTION.
        prompt_hook: the method that does it for a prompt, likewise.
        allowed: the states in which it is accepted.
        running: the state while it runs; None for an operation that takes effect at once.
        then: the state after it; None for the previous state.
        running_from: the state while it runs, by the state in which it began; ``running`` for the others.
        alternatives: other states after it, one of which its ``call`` may return.
        call: calls the hook, given the component and the arguments; by default, the hook gets the arguments by position.
        role: how it is carried out.
        resumes: the activity that a RESUME continues.
        cancels: the activity that a CANCEL ends.
        streams: whether its response is a stream of what its hook publishes. It ends when the client disconnects.
        has_default: whether it works for a class that does not override the hook.
        default_needs: the hook that the default of its hook calls; a class that has it can do without its own.
        may_decline: whether a hook that raises NotImplementedError leads to the previous state instead of to ``failed``.
        affects_predictions: whether predictions that wait for it fail with it.
        replicas: what it means for replicas; None for nothing.
        copied_by: for an operation that changes the model, the hooks that save a copy to a folder and load it from there.
        parameters: the types of the hook's arguments, by position, if they are more than plain data.
        configures_run: returns what the hook's arguments say about the run; the operation then begins a new run.
        takes_hyperparameters: whether its last argument is the hyperparameters, which have to be as the class declares them.
        inputs: returns the datasets, by role, that become the inputs of the run.
        is_work: whether it opens a run, is counted and is timed.
        is_step: whether it is one of many short steps, of which the run only shows failures.
        saves: the folder of the run's artifacts for the files that it wrote to a folder.
        saved_to: returns that folder; None if nothing was to be written.
    """

    name: str
    hook: str
    allowed: frozenset[str]
    running: str | None
    then: str | None
    role: Role = Role.ACTIVITY
    followed_by: str | None = None
    running_from: Mapping[str, str] = field(default_factory=dict)
    alternatives: frozenset[str] = frozenset()
    call: Callable[..., Any] | None = None
    tensor_hook: str | None = None
    prompt_hook: str | None = None
    resumes: str | None = None
    cancels: str | None = None
    streams: bool = False
    has_default: bool = False
    default_needs: str | None = None
    may_decline: bool = False
    affects_predictions: bool = False
    replicas: ReplicaEffect | None = None
    copied_by: tuple[str, str] | None = None
    parameters: tuple[Any, ...] = ()
    configures_run: Callable[[Arguments], RunSettings] | None = None
    takes_hyperparameters: bool = False
    inputs: Callable[[Arguments], Mapping[str, Any]] | None = None
    is_work: bool = False
    is_step: bool = False
    saves: str | None = None
    saved_to: Callable[[Arguments], str | None] = itemgetter(0)

    @property
    def hooks(self) -> tuple[str, ...]:
        """All its hooks."""
        return tuple(name for name in (self.hook, self.tensor_hook, self.prompt_hook) if name is not None)

    def taking(self, form: type[Inputs]) -> Operation:
        """Return the variant of the operation for a form of inputs: ``infer`` for tensors, ``generate`` for a prompt.

        Raises:
            ValueError: it has no hook for them.
        """
        taking = self._by_form.get(form)
        if taking is None:
            raise ValueError(f"{self.name} takes no {form.__name__.lower()}.")
        return taking

    @cached_property
    def _by_form(self) -> Mapping[type[Inputs], Operation]:
        found: dict[type[Inputs], Operation] = {Records: self}
        if self.tensor_hook is not None:
            found[Tensors] = replace(self, name="infer", hook=self.tensor_hook)
        if self.prompt_hook is not None:
            found[Prompt] = replace(self, name="generate", hook=self.prompt_hook)
        return found

    def running_in(self, origin: str) -> str | None:
        """Return the state while it runs, for an operation that began in the state ``origin``."""
        return self.running_from.get(origin, self.running)

    @property
    def running_states(self) -> frozenset[str]:
        """The states in which it may be running."""
        return frozenset({self.running, *self.running_from.values()} - {None})  # type: ignore[arg-type]

    @property
    def opens_run(self) -> bool:
        """Whether it belongs to a run. It opens one if there is none yet."""
        return self.is_work or self.saves is not None


def row(name: str, hook: str, allowed: Set[str], running: str | None, then: str | None, **more: Any) -> Operation:
    """Return an operation as a row of a table of states."""
    return Operation(name, hook, frozenset(allowed), running, then, **more)


def table(*rows: Operation) -> dict[str, Operation]:
    """Return operations by their names, in order."""
    return {row.name: row for row in rows}


def reset_and_shutdown(states: type[StrEnum], initial: str) -> tuple[Operation, Operation]:
    """Return reset and shutdown, which end an instance of any kind. After a reset, a new one is in the state ``initial``."""
    resetting, terminating, terminated = (states(name) for name in (RESETTING, TERMINATING, TERMINATED))
    active = frozenset(states) - {terminating, terminated}
    return (
        row("reset", "do_reset", active, resetting, initial, role=Role.RESET, has_default=True),
        row("shutdown", "do_terminate", active | {terminating}, terminating, terminated, role=Role.SHUTDOWN,
            has_default=True),
    )  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A kind of container.

    Attributes:
        name: the name of the kind (``model``).
        base: the class that authors subclass.
        contract: the file name of its API contract.
        base_path: the base path of its API in the contract.
        states: all states.
        initial: the state of a new instance.
        ready: the state in which the instance can accept work.
        operations: the operations, by name, in the order in which they are listed.
        bodies: functions that convert request bodies, by operation, for operations with more than simple parameters.
        documents: functions that read what a class declares, by the path of the API that returns it.
        secrets: the environment variables with secrets of the service that its components need.
    """

    name: str
    base: type[Any]
    contract: str
    base_path: str
    states: type[StrEnum]
    initial: str
    ready: str
    operations: Mapping[str, Operation] = field(repr=False)
    bodies: Mapping[str, Callable[[Any], Call]] = field(default_factory=dict, repr=False)
    documents: Mapping[str, Callable[[type[Any]], Any]] = field(default_factory=dict, repr=False)
    secrets: frozenset[str] = frozenset()

    def of_role(self, role: Role) -> tuple[Operation, ...]:
        """Return the operations that have a role."""
        return tuple(row for row in self.operations.values() if row.role is role)

    @property
    def work_states(self) -> frozenset[str]:
        """The states in which work can begin."""
        begins = {state for row in self.operations.values() if row.is_work for state in row.allowed}
        return frozenset(begins | {row.then for row in self.of_role(Role.PREDICTION) if row.then is not None})

    def documents_of(self, subclass: type[Any]) -> dict[str, Any]:
        """Return what a subclass declares, by path.

        Raises:
            InvalidRequest: a declaration is not usable.
        """
        return {path: read(subclass) for path, read in self.documents.items()}

    @property
    def status_name(self) -> str:
        """The kind of its status objects on the wire (``ModelInstanceStatus``)."""
        return f"{self.name.capitalize()}InstanceStatus"

    @cached_property
    def prediction(self) -> Operation | None:
        """The operation that answers predictions, if the kind has one."""
        return next(iter(self.of_role(Role.PREDICTION)), None)

    @cached_property
    def hooks(self) -> frozenset[str]:
        """The hooks of all its operations."""
        return frozenset(hook for row in self.operations.values() for hook in row.hooks)

    def resume_of(self, activity: str) -> Operation:
        """Return the operation that resumes an activity."""
        return next(row for row in self.of_role(Role.RESUME) if row.resumes == activity)

    def overrides(self, subclass: type[Any], hook: str) -> bool:
        """Return whether a subclass overrides a hook of the base class."""
        return getattr(subclass, hook, None) is not getattr(self.base, hook, None)

    @property
    def has_replicas(self) -> bool:
        """Whether further workers can answer its predictions."""
        return any(row.replicas == "builds" for row in self.operations.values())

    def hooks_of(self, subclass: type[Any]) -> tuple[str, ...]:
        """Return the hooks that a subclass has: those that it overrides, and those that have a default."""
        rows = self.operations.values()
        own = {name for name in self.hooks if self.overrides(subclass, name)}
        return tuple(sorted(own | {row.hook for row in rows if row.has_default or row.default_needs in own}))
