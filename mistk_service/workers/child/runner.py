"""Runs the hooks of one model: one activity at a time on the main thread, with a gate at which it can pause and stop.

Two threads meet here. The main thread runs :meth:`Runner.run`, takes tasks from the queue and calls hooks. The control thread
passes in the service's messages and never waits for the main thread. It only runs the hooks that have to run during an
activity: ``do_pause``, ``do_resume_*``, ``do_save_model`` if the model overrides the pause, and the last hook if the activity
does not end without it.

While the main thread waits at the gate, it takes further tasks (saveModel). So these also run on the main thread, between two
steps of the activity.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Coroutine, Generator, Iterable, Sequence
from typing import Any

import msgspec

from mistk_service.errors import Failure, RequestError
from mistk_service.kinds import kind_of
from mistk_service.kinds.component import Component, RunReference, StopActivity
from mistk_service.kinds.kind import FAILED, Kind, Operation, Role
from mistk_service.logs import encodable
from mistk_service.workers.child.async_hooks import plain_hooks
from mistk_service.workers.child.batching import Parts, Predictor
from mistk_service.workers.child.context import WorkerContext
from mistk_service.workers.child.declared import hyperparameters_of, signature_of
from mistk_service.workers.child.failures import failure_from, message_of
from mistk_service.workers.child.part_streams import PartStreams
from mistk_service.workers.child.task_queue import TaskQueue
from mistk_service.workers.messages import (
    AllowParts,
    CallLastHook,
    Done,
    Exit,
    Failed,
    FromWorker,
    HoldReports,
    Loaded,
    Pause,
    Paused,
    PauseFailed,
    PauseOvertaken,
    PauseUnsupported,
    Predict,
    PredictionForgotten,
    Refused,
    Resume,
    ResumeFailed,
    ResumeUnsupported,
    Run,
    Stopped,
    ToWorker,
    Unsupported,
    Withdraw,
)

logger = logging.getLogger(__name__)


class Runner:
    """Runs the hooks of one model on the calling thread, as the service's messages request.

    Args:
        send: sends messages to the service at once, from any thread.
        wake: wakes the control thread.
        spool: the folder for copies of artifacts; None to make no copies.
    """

    def __init__(
        self,
        send: Callable[[*tuple[FromWorker, ...]], None],
        wake: Callable[[], None],
        *,
        spool: str | None = None,
    ) -> None:
        self._send = send
        self._process = os.getpid()
        self.context = WorkerContext(send, self._wait_at_gate, self._set_pause, wake, spool)
        self._publisher = self.context.publisher
        self._model: Component | None = None
        #: The activities of the kind, by their hooks.
        self._operations: dict[str, Operation] = {}
        self._changed = threading.Condition()
        self._tasks = TaskQueue()
        self._streams = PartStreams()
        self._activity: Run | None = None
        self._pause_wanted = False
        #: The number of pauses requested, which distinguishes one from the next.
        self._pauses = 0
        self._paused_in_own_way = False
        #: The activity that is to end early.
        self._cancelled: int | None = None
        #: The thread that runs a further task at the gate. Pause points within that task must not block.
        self._nested_on: int | None = None
        self._exit: Exit | None = None
        #: Acquired by the thread that calls the last hook and never released, so that it is called once.
        self._last_hook_taken = threading.Lock()
        self._last_hook_ended = threading.Event()

    # --- the main thread ------------------------------------------------------------------------------------------

    def run(self, model: Component) -> None:
        """Run tasks until asked to exit."""
        model.attach(self.context)
        kind = kind_of(type(model))
        hooks = kind.hooks_of(type(model))
        with plain_hooks(model, hooks):
            self._run(model, kind, hooks)

    def _run(self, model: Component, kind: Kind, hooks: tuple[str, ...]) -> None:
        self.context.state = kind.initial
        self._operations = {row.hook: row for row in kind.of_role(Role.ACTIVITY)}
        predictor, signature = None, signature_of(model)
        if (row := kind.prediction) is not None:
            predictor = Predictor(model, row.hook, row.tensor_hook, row.prompt_hook, signature)
            self._tasks.max_batch_size = predictor.max_batch_size
            self._tasks.joins_tensors = predictor.joins_tensors
        self._model = model
        self._send(Loaded(type(model).__name__, hooks, signature, kind.documents_of(type(model))))
        self._work(predictor)
        self.context.flush()

    def _work(self, predictor: Predictor | None) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._tasks or self._exit or self._streams.ready)
                if self._exit and not self._tasks:
                    break
                task = self._tasks.take() if self._tasks else []
                stream = self._streams.take()
                # Set under the lock, so that the control thread sees every activity as either waiting or running.
                self._activity = task if isinstance(task, Run) else None
            if isinstance(task, Run):
                self._run_activity(task)
            elif task and predictor is not None:
                self._predict(predictor, task)
            del task  # it may be large, and the next task may come much later
            if stream is not None:
                self._send(self._streams.step(stream))
        self._send(*self._streams.close())
        assert self._exit is not None
        self._run_last_hook(self._exit.hook)
        # The hook may still be running on the control thread.
        self._last_hook_ended.wait()

    def _predict(self, predictor: Predictor, batch: Sequence[Predict]) -> None:
        """Answer requests. Those that are answered in parts have begun when this returns."""
        answers = predictor.predict(batch)
        self._send(*(answer for answer in answers if not isinstance(answer, Parts)))
        with self._changed:
            for answer in answers:
                if isinstance(answer, Parts):
                    self._streams.add(answer.id, answer.parts)

    def _run_activity(self, task: Run) -> None:
        answer = self._call(task)
        with self._changed:
            self._activity = None
            self._pause_wanted = self._paused_in_own_way = False
            self._cancelled = None
            self._update_interrupted()
        self._answer(answer)

    def _call(self, task: Run) -> FromWorker:
        """Call the hook and return how it ended."""
        if task.run is not None:
            self.context.run = RunReference(*task.run)
        row = self._operations[task.hook]
        before = self.context.state
        self.context.state, self.context.failure = row.running_in(before or ""), None
        if row.streams:
            self._publisher.begin(task.id, wanted=task.id != self._cancelled)
        try:
            answer = self._call_hook(task)
        finally:
            self._publisher.stop()
        after = answer.state or row.then or before if isinstance(answer, Done) else before
        self.context.state = FAILED if isinstance(answer, Failed) else after
        return answer

    def _call_hook(self, task: Run) -> FromWorker:
        row = self._operations[task.hook]
        try:
            # The class of the hyperparameters is the author's too, and may refuse them as a hook does.
            try:
                arguments = self._arguments(task)
            except msgspec.ValidationError as error:
                return _refused(task.id, error)
            result = row.call(self._model, *arguments) if row.call else self._hook(task.hook)(*arguments)
            if isinstance(result, Generator | Coroutine):
                result.close()
                raise TypeError(
                    f"{task.hook} returned a {type(result).__name__}, whose code has not run; expected a hook without "
                    "'yield', and with 'async def' if it is a coroutine"
                )
            if row.followed_by:
                self._hook(row.followed_by)(*arguments[:1])
        except StopActivity:
            # The client has cancelled, so this is not a failure.
            return Done(task.id) if task.id == self._cancelled else Stopped(task.id)
        except RequestError as error:
            return Refused(task.id, message_of(error), error.field)
        except BaseException as error:  # SystemExit too: what the hook raises is the answer
            if os.getpid() != self._process and not isinstance(error, Exception):
                raise  # a process that the hook has forked exits
            if isinstance(error, NotImplementedError) and row.may_decline:
                return Unsupported(task.id, message_of(error))
            return Failed(task.id, failure_from(error))
        reason, self.context.failure = self.context.failure, None
        if reason is not None:
            return Failed(task.id, Failure("ModelFailure", encodable(reason)))
        return Done(task.id, result if row.alternatives else None)

    def _arguments(self, task: Run) -> tuple[Any, ...]:
        """Return the hook's arguments, with those that have a type of their own converted to that type.

        Raises:
            msgspec.ValidationError: the class refuses the hyperparameters, for a reason that their schema does not express.
        """
        row = self._operations[task.hook]
        types = row.parameters
        if row.takes_hyperparameters and (declared := hyperparameters_of(self._model)) is not None:
            types = (*[Any] * (len(task.arguments) - 1), declared)
        typed = (msgspec.convert(value, kind) for value, kind in zip(task.arguments, types, strict=False))
        return (*typed, *task.arguments[len(types) :])

    def _answer(self, message: FromWorker) -> None:
        """Send the end of an activity, after everything that the activity reported."""
        self.context.flush()
        self._send(message)

    def _run_last_hook(self, name: str) -> None:
        """Call the last hook unless it has been called: by the main thread at the end, or by the control thread before."""
        if not self._last_hook_taken.acquire(blocking=False):
            return
        try:
            self._hook(name)()
        except (NotImplementedError, StopActivity):
            pass
        except BaseException:  # the hook is the author's, and may even exit; the worker ends in any case
            logger.exception("%s raised an exception; the worker exits nevertheless.", name)
        finally:
            self._last_hook_ended.set()

    def _wait_at_gate(self) -> bool:
        """Block while a pause is wanted, and run other tasks in the meantime. Raise StopActivity if the activity has to end.

        Called at a pause point, by any thread of the model. Returns whether it blocked.
        """
        announced: int | None = None
        while True:
            with self._changed:
                if self._exit or (self._activity is not None and self._activity.id == self._cancelled):
                    raise StopActivity("The container asked this activity to end.")
                if not self._pause_wanted or self._activity is None or self._nested_on == threading.get_ident():
                    return announced is not None
                if announced == self._pauses:
                    task = self._tasks.take_run()
                    if task is None:
                        self._changed.wait()
                        continue
                else:
                    # Also if a resume and another pause followed so closely that this thread never saw the gate open.
                    task, announced = None, self._pauses
                activity = self._activity
            self._answer(self._call_nested(task) if task else Paused(activity.id))

    def _call_nested(self, task: Run) -> FromWorker:
        self._nested_on = threading.get_ident()
        try:
            return self._call(task)
        finally:
            self._nested_on = None

    def _hook(self, name: str) -> Callable[..., Any]:
        hook: Callable[..., Any] = getattr(self._model, name)
        return hook

    # --- the control thread ---------------------------------------------------------------------------------------

    def handle_all(self, messages: Iterable[ToWorker]) -> None:
        """Handle all messages that arrived together.

        Predictions that arrive together can be merged. A prediction that is withdrawn in the same read is never queued.
        """
        waiting: list[Predict] = []
        for message in messages:
            if isinstance(message, Predict):
                waiting.append(message)
            elif not isinstance(message, Withdraw):
                self._queue(waiting)
                waiting = []
                self.handle(message)
            elif not self._withdrawn_from(waiting, message.id):
                self.handle(message)
        self._queue(waiting)

    def _withdrawn_from(self, waiting: list[Predict], number: int) -> bool:
        """Remove a request that has not been queued yet; return False if it is not among these."""
        for index, request in enumerate(waiting):
            if request.id == number:
                del waiting[index]
                self._send(PredictionForgotten(number))
                return True
        return False

    def handle(self, message: ToWorker) -> None:
        """Handle a message of the service."""
        if isinstance(message, Run) and self._paused_in_own_way:
            # The main thread is inside the paused activity and does not reach a gate.
            self._answer(self._call(message))
        elif isinstance(message, Run | Predict):
            self._queue([message])
        elif isinstance(message, Withdraw):
            self._withdraw(message)
        elif isinstance(message, AllowParts):
            self._allow(message)
        elif isinstance(message, Pause):
            self._pause(message)
        elif isinstance(message, Resume):
            self._resume(message)
        elif isinstance(message, Exit):
            self._end(message)
        elif isinstance(message, CallLastHook):
            self._call_last_hook_early()
        elif isinstance(message, HoldReports):
            self.context.hold(message.held)

    def _queue(self, tasks: Sequence[Run | Predict]) -> None:
        with self._changed:
            self._tasks.add(tasks)
            self._changed.notify_all()

    def _withdraw(self, message: Withdraw) -> None:
        with self._changed:
            withdrawn = self._tasks.withdraw(message.id)
            if self._streams.withdraw(message.id):
                self._changed.notify_all()
            elif not withdrawn and self._is_under_way(message.id):
                self._cancelled = message.id
                self._update_interrupted()
                self._publisher.stop()
        if withdrawn:
            self._send(PredictionForgotten(message.id))

    def _allow(self, message: AllowParts) -> None:
        with self._changed:
            self._streams.allow(message.id, message.parts)
            self._changed.notify_all()
        self._publisher.allow(message.id, message.parts)

    def _pause(self, message: Pause) -> None:
        if not self._is_under_way(message.id):
            self._send(PauseOvertaken(message.id))
            return
        try:
            self._hook(message.hook)()
        except (NotImplementedError, RequestError) as error:
            self._send(PauseUnsupported(message.id, message_of(error)))
        except BaseException as error:  # noqa: BLE001 - the hook is the author's; what it raises is the answer
            self._send(PauseFailed(message.id, failure_from(error)))
        else:
            self._acknowledge_pause(message.id)

    def _acknowledge_pause(self, activity_id: int) -> None:
        """Report a pause that the model handles itself. A pause that waits for the gate is reported at the gate."""
        with self._changed:
            if self._pause_wanted:
                return
            running = self._is_under_way(activity_id)
            self._paused_in_own_way = running
        self.context.flush()
        self._send(Paused(activity_id) if running else PauseOvertaken(activity_id))

    def _resume(self, message: Resume) -> None:
        was_own = self._paused_in_own_way
        self._paused_in_own_way = False
        try:
            self._hook(message.hook)()
        except (NotImplementedError, RequestError) as error:
            with self._changed:
                # The activity may have ended in the meantime. Then further tasks must not run on this thread.
                self._paused_in_own_way = was_own and self._is_under_way(message.id)
            self._send(ResumeUnsupported(message.id, message_of(error)))
        except BaseException as error:  # noqa: BLE001 - the hook is the author's; what it raises is the answer
            self._send(ResumeFailed(message.id, failure_from(error)))

    def _end(self, message: Exit) -> None:
        with self._changed:
            self._exit = message
            self._update_interrupted()
            self._changed.notify_all()
        self._publisher.close()

    def _call_last_hook_early(self) -> None:
        """Call the last hook while an activity is still running: in many models it sets the flag that training checks."""
        with self._changed:
            last = self._exit if self._activity is not None else None
        if last is not None:
            self._run_last_hook(last.hook)

    def _set_pause(self, wanted: bool) -> None:
        with self._changed:
            # A pause for an activity that has just ended must not stop the next one. A pause that comes before the main thread
            # has begun the activity takes effect at its first pause point.
            self._pause_wanted = wanted and (self._activity is not None or self._tasks.holds_run())
            self._pauses += wanted
            self._update_interrupted()
            self._changed.notify_all()

    def _is_under_way(self, activity_id: int) -> bool:
        """Return whether the activity is running, or the main thread is about to begin it."""
        with self._changed:
            running = self._activity is not None and self._activity.id == activity_id
            return running or self._tasks.holds_run(activity_id)

    def _update_interrupted(self) -> None:
        self.context.interrupt(pause=self._pause_wanted or self._cancelled is not None, end=self._exit is not None)


def _refused(number: int, error: msgspec.ValidationError) -> Refused:
    """Return the refusal of hyperparameters, with the name of the wrong one if the error has it."""
    problem, _, path = str(error).partition(" - at `$.")
    field = f"hyperparameters.{path.rstrip('`')}" if path else "hyperparameters"
    return Refused(number, f"{field}: {problem}", field)
