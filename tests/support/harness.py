"""A container without HTTP, a gate that controls models, and waits for events instead of sleeps."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest

from mistk_service.core.controller import Controller
from mistk_service.core.events import Event, Observer
from mistk_service.core.shutdown import Shutdown
from mistk_service.core.status_log import StatusEvent
from mistk_service.doors.mistk.record_codec import answer_body
from mistk_service.doors.mistk.status import status_encoder
from mistk_service.errors import Failure, OperationRefused
from mistk_service.kinds import Kind
from mistk_service.kinds.call import Call
from mistk_service.kinds.model import MODEL, load_data
from mistk_service.kinds.predictions import Answer, Records
from mistk_service.workers.host.process import ProcessWorker
from mistk_service.workers.host.socket_worker import LINGER
from mistk_service.workers.host.thread import ThreadWorker
from mistk_service.workers.messages import FromWorker, Pause, PauseOvertaken, Predicted, ToWorker
from mistk_service.workers.protocol import Worker, WorkerListener
from tests.support.forked_worker import fork_worker

MODELS = Path(__file__).parents[1] / "models"

#: The timeout of every wait in seconds: far above what anything takes, and below the time limit of a test.
TIMEOUT = 30.0

SAVES = {"saveModel": "modelPath", "savePredictions": "dataPath", "saveGenerations": "dataPath"}


def reference(model: str) -> str:
    """Return the reference of ``file:Class`` in the library of models."""
    file, name = model.split(":")
    return f"{MODELS / file}.py:{name}"


def make_worker(
    kind: str, model: str, listener: WorkerListener, spool: str | None = None, linger: float = LINGER
) -> Worker:
    """Return a worker of the kind ``thread``, ``process``, ``new interpreter`` or ``ray``.

    A process is forked by one that has loaded what a worker loads, which takes a tenth of the processor time of a new
    interpreter.
    """
    if kind == "ray":
        from mistk_service.workers.host.ray_worker import RayWorker, connect

        connect(None)
        return RayWorker(model, listener, cpus=0, spool=spool, linger=linger)
    kinds: dict[str, Callable[..., Worker]] = {
        "thread": ThreadWorker,
        "process": partial(ProcessWorker, popen=fork_worker),
        "new interpreter": ProcessWorker,
    }
    return kinds[kind](model, listener, spool=spool, linger=linger)


#: The id of no activity.
_NOBODY = 0


class Gate:
    """A named pipe from which a model reads what it is to do next, a byte a time.

    Both ends are held here, so that neither side ever waits for the other one to open it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._fd: int | None = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def tell(self, commands: str) -> None:
        """Let a model go on; see ``models/steered.py`` for the commands."""
        assert self._fd is not None
        os.write(self._fd, commands.encode())

    def close(self) -> None:
        """Whoever still waits at the gate gets an end of the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Faults(logging.Handler):
    """Keeps what is logged as critical: mistakes of the service."""

    def __init__(self) -> None:
        super().__init__(logging.CRITICAL)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.records.append(self.format(record))


class Instance:
    """A controller and its worker, driven as the web's handlers drive it.

    Attributes:
        events: what the observers were told, in order.
        workers: every worker that was made, the present one last.
    """

    def __init__(
        self,
        model: str,
        kind: str = "process",
        *,
        grace: float = TIMEOUT,
        spool: str | None = None,
        linger: float = LINGER,
        observers: Sequence[Observer] = (),
        component: Kind = MODEL,
        **options: Any,
    ) -> None:
        self.events: list[Event] = []
        self._spool, self._linger = spool, linger
        self._observers = observers
        self.workers: list[Worker] = []
        self._reference = model if ".py" in model else reference(model)
        self._kind = kind
        self._component = component
        self._options = {"shutdown": Shutdown(grace), **options}
        self.controller: Controller
        self._faults = Faults()

    def _make_worker(self, listener: WorkerListener, slot: int | None) -> Worker:
        self.workers.append(make_worker(self._kind, self._reference, listener, self._spool, self._linger))
        return self.workers[-1]

    async def start(self, *, loaded: bool = True) -> None:
        """Start the first worker, and wait until it has its model unless ``loaded`` is false."""
        logging.getLogger().addHandler(self._faults)
        self.controller = Controller(
            self._component,
            self._reference,
            self._make_worker,
            status_encoder(self._component.status_name, str(uuid.uuid4())),
            observers=[self.events.append, *self._observers],
            **self._options,
        )
        await self.controller.start()
        if loaded:
            async with asyncio.timeout(TIMEOUT):
                await self.controller.wait_loaded()

    async def close(self) -> None:
        """End the instance and its workers; a worker thread that hangs is left to itself."""
        self.controller.shutdown()
        for worker in self.workers:
            worker.kill()
            async with asyncio.timeout(TIMEOUT):
                await worker.wait_exited()
        async with asyncio.timeout(TIMEOUT):
            await self.controller.terminated.wait()
        logging.getLogger().removeHandler(self._faults)
        assert self._faults.records == []  # such as a reset that went wrong

    @property
    def pid(self) -> int:
        """The process id of the present worker."""
        pid = self.workers[-1].pid
        assert pid is not None
        return pid

    # --- what is true now -----------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """The state."""
        return str(self.controller.state)

    @property
    def version(self) -> int:
        """The version of the latest status."""
        return self.controller.log.latest().version

    @property
    def payload(self) -> dict[str, Any]:
        """The payload of the latest status."""
        return decode(self.controller.log.latest())["payload"]

    # --- calls ----------------------------------------------------------------------------------------------------

    async def call(self, operation: str, *arguments: Any) -> dict[str, Any]:
        """Call an operation and return the status that answers it. Other kinds than models take the hook's arguments.

        Arguments: of ``initialize`` the properties and hyperparameters, of the savings and ``buildModel`` the path, of
        ``loadData`` the datasets, of ``updateStreamProperties`` the properties. All but the path of a saving may be left out.
        """
        call = _call(operation, arguments) if self._component is MODEL else Call(arguments)
        event = await self.controller.call(operation, call)
        return decode(event)

    async def heard(self) -> None:
        """Wait until the worker has taken in everything that was begun: its control thread takes one message after another."""
        await asyncio.sleep(0)  # what was begun is sent
        heard = asyncio.get_running_loop().create_future()
        controller = self.controller
        tell = controller.on_message

        def listen(message: FromWorker) -> None:
            if message == PauseOvertaken(_NOBODY):
                heard.set_result(None)
            tell(message)

        controller.on_message = listen
        try:
            self.workers[-1].send(Pause(_NOBODY, "do_pause"))
            async with asyncio.timeout(TIMEOUT):
                await heard
        finally:
            controller.on_message = tell

    async def stream(self, data: dict[str, str], *, details: bool = False) -> Any:
        """Predict for records and return the predictions."""
        async with asyncio.timeout(TIMEOUT):
            answer = await self.controller.predict(records_of(data), details)
            assert isinstance(answer, Answer), "an answer in parts"
            return json.loads(await answer_body(answer))

    async def run(self, operation: str, *arguments: Any) -> dict[str, Any]:
        """Call an operation and return the status in which it has ended."""
        begun = await self.call(operation, *arguments)
        return await self.until(lambda status: "activity" not in status["payload"], after=version_of(begun))

    async def ready(self, *arguments: Any) -> Self:
        """Initialize with ``arguments`` and build; the instance is ready then."""
        initialized = await self.run("initialize", *arguments)
        assert initialized["state"] == "initialized", initialized
        built = await self.run("buildModel")
        assert built["state"] == "ready", built
        return self

    async def until(self, wanted: str | Callable[[dict[str, Any]], Any], *, after: int | None = None) -> dict[str, Any]:
        """Wait for a status that is wanted, a state or what a condition holds for, and return it.

        Args:
            wanted: a state, or a condition.
            after: look at what was published after this version; unless given, at the present status and what follows it.
        """
        condition = wanted if callable(wanted) else lambda status: status["state"] == wanted
        status: dict[str, Any] = {}
        try:
            async with asyncio.timeout(TIMEOUT):
                async for item in self.controller.log.watch(self.version - 1 if after is None else after):
                    assert item is not None
                    status = decode(item[0])
                    if condition(status):
                        return status
        except TimeoutError:
            raise AssertionError(f"still waiting for {wanted} at {status}") from None
        raise AssertionError(f"terminated without having been {wanted}: {status}")

    async def step_until(self, gate: Gate, wanted: str = "paused", *, tell: bool = True) -> dict[str, Any]:
        """Let a steered model go from pause point to pause point until a state is reached, and return that status.

        A pause, or an end, that was asked for a moment ago need not have reached the model before its next pause point; that
        the model has gone past one shows in the steps of its status.

        Args:
            gate: where the model waits.
            wanted: the state.
            tell: whether the model waits at the gate now; else it is left to come there.
        """
        steps = self.payload.get("steps", 0)
        while True:
            if tell:
                gate.tell("s")
            status = await self.until(
                partial(lambda steps, s: s["state"] == wanted or s["payload"].get("steps", 0) > steps, steps)
            )
            if status["state"] == wanted:
                return status
            tell, steps = True, status["payload"]["steps"]


def _call(operation: str, arguments: tuple[Any, ...]) -> Call:
    if operation == "initialize":
        properties, hyperparameters = (*arguments, {}, {})[:2]
        return Call(([], properties, hyperparameters))
    if operation == "loadData":
        return load_data(*(arguments or ({},)))
    if operation == "buildModel":
        (path,) = arguments or (None,)
        return Call((path,), reads={} if path is None else {"modelPath": path})
    if operation == "streamPredict/source":
        return Call((*arguments, None, {}))
    if operation == "miniaturize":
        return Call((*arguments, True), writes={"dataPath": arguments[0]})
    if operation in SAVES:
        return Call(arguments, writes={SAVES[operation]: arguments[0]})
    return Call(arguments)


def records_of(data: Mapping[str, str]) -> Records:
    """Return records as a prediction carries them."""
    return Records(tuple(data), tuple(data.values()))


def predicted(number: int, answer: bytes) -> Predicted:
    """Return the worker's answer to a request, given as JSON."""
    return Predicted(number, msgspec.Raw(msgspec.msgpack.encode(json.loads(answer))))


def arguments(operation: str, folder: Path) -> tuple[Any, ...]:
    """Return what an operation has to be given."""
    if operation.startswith("save"):
        return (str(folder),)
    return ({"a": 1},) if operation == "updateStreamProperties" else ()


async def refusal(instance: Instance, operation: str, *args: Any) -> OperationRefused:
    """Call what has to be refused, and show that it has changed nothing."""
    before = instance.version, instance.state, list(instance.events)
    with pytest.raises(OperationRefused) as caught:
        await (instance.stream({"a": ""}) if operation == "streamPredict" else instance.call(operation, *args))
    assert (instance.version, instance.state, instance.events) == before
    return caught.value


class Listener:
    """Keeps what a worker says, for a test to wait for."""

    def __init__(self) -> None:
        self.messages: list[FromWorker] = []
        self.failure: Failure | None = None
        self._news = asyncio.Event()

    def on_message(self, worker: Worker, message: FromWorker) -> None:
        self.messages.append(message)
        self._news.set()

    def on_exit(self, worker: Worker, failure: Failure) -> None:
        assert self.failure is None, "the end is told once"
        self.failure = failure
        self._news.set()

    async def until(self, *wanted: type[Any]) -> Any:
        """Wait for a message of one of these types, return it, and forget it with all before it."""
        async with asyncio.timeout(TIMEOUT):
            while True:
                for index, message in enumerate(self.messages):
                    if isinstance(message, wanted):
                        del self.messages[: index + 1]
                        return message
                assert self.failure is None, f"ended before it said {wanted}: {self.failure}"
                self._news.clear()
                await self._news.wait()

    async def until_exit(self) -> Failure:
        """Wait for the end of the worker, and return how it ended."""
        async with asyncio.timeout(TIMEOUT):
            while self.failure is None:
                self._news.clear()
                await self._news.wait()
        return self.failure


class WorkerUnderTest:
    """A worker and its listener."""

    def __init__(self, model: str, kind: str, linger: float = LINGER) -> None:
        self.listener = Listener()
        self.worker = make_worker(kind, model if ".py" in model else reference(model), self.listener, linger=linger)
        self._ids = iter(range(1, 1_000_000))

    def next_id(self) -> int:
        """Return an id for a command."""
        return next(self._ids)

    def send(self, *messages: ToWorker) -> None:
        """Send messages."""
        for message in messages:
            self.worker.send(message)

    async def until(self, *wanted: type[Any]) -> Any:
        """See :meth:`Listener.until`."""
        return await self.listener.until(*wanted)


def decode(event: StatusEvent) -> dict[str, Any]:
    """Return a status as a client sees it."""
    status: dict[str, Any] = json.loads(event.status)
    return status


def version_of(status: dict[str, Any]) -> int:
    """Return the resourceVersion of a status."""
    version: int = status["objectInfo"]["resourceVersion"]
    return version


def of_type(events: Iterable[Event], kind: type[Any]) -> list[Any]:
    """Return the events of a type."""
    return [event for event in events if isinstance(event, kind)]
