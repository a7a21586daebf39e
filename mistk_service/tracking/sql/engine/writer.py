"""The single writer of a store: concurrent small writes share a transaction.

A thread with something to write puts it in the queue and then acquires the writer's lock. The thread that gets the lock takes
all waiting writes, its own and those of the others, and commits them as one transaction; when the others get the
lock, their work is done. No thread waits on purpose for a group to grow, so a single caller is not delayed, and many
callers share one commit. A write that no caller waits for is done by a thread of the writer.

Each write runs inside a savepoint, so one that fails undoes only itself. Where an error voids the whole transaction (a
full disk does that), every write of the group is repeated alone, so that each
succeeds or fails separately.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Engine, exc

from mistk_service.tracking.errors import StoreUnavailable
from mistk_service.tracking.sql.engine.errors import ends_the_transaction, is_conflict, translate
from mistk_service.tracking.sql.engine.statements import run_text

T = TypeVar("T")

#: Writes in one transaction; more would delay the first of them too long.
_GROUP = 256
#: How often a write is tried that conflicts with another process.
_ATTEMPTS = 5


class _Write(Generic[T]):
    """A write, and its outcome."""

    __slots__ = ("_work", "done", "error", "future", "result")

    def __init__(self, work: Callable[[Connection], T], future: Future[T] | None) -> None:
        self._work = work
        self.error: BaseException | None = None
        self.future = future
        self.result: T | None = None
        self.done = False

    def run(self, connection: Connection) -> None:
        """Do the work and keep its result, or its error, which is raised to the caller."""
        try:
            self.result = self._work(connection)
            self.error = None
        except Exception as error:  # the work is the caller's and may raise anything
            self.error = error
            raise

    def settle(self) -> None:
        """Publish the outcome; called once, when it is final."""
        self.done = True
        if self.future is None:
            return
        if self.error is not None:
            self.future.set_exception(_known(self.error))
        else:
            self.future.set_result(self.result)  # type: ignore[arg-type]  # it is the work's result by now

    def outcome(self) -> T:
        if self.error is not None:
            raise _known(self.error) from self.error.__cause__
        return self.result  # type: ignore[return-value]  # it is the work's result by now


def _known(error: BaseException) -> BaseException:
    if isinstance(error, exc.SQLAlchemyError):
        known = translate(error)
        known.__cause__ = error
        return known
    return error


def _interrupted(error: BaseException) -> StoreUnavailable:
    """Return the error of a write that may or may not have been committed."""
    unknown = StoreUnavailable(f"The write was interrupted: {type(error).__name__}: {error}")
    unknown.__cause__ = error
    return unknown


class Writer:
    """Runs writes one after the other on one connection, in groups.

    A write is a function of a connection. It must only change the database, because it may be repeated after its
    transaction was rolled back. If the connection to a database server breaks during a commit, or if the thread that writes is
    interrupted, it is unknown whether the write was applied. It is then reported as ``StoreUnavailable`` and not repeated. An
    exception that interrupts the thread, such as KeyboardInterrupt, is raised in that thread only.
    """

    def __init__(
        self,
        engine: Engine,
        begin: str,
        lock: threading.RLock,
        on_commit: Callable[[], None] | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Make a writer.

        Args:
            engine: makes the connections, which do not begin transactions automatically.
            begin: the statement that begins a write transaction.
            lock: the lock to hold while writing.
            on_commit: called after each commit, with the lock held.
            check: called before each group of writes. It raises StoreUnavailable if they would be lost.
        """
        self._engine = engine
        self._begin = begin
        self._lock = lock
        self._on_commit = on_commit
        self._check = check
        self._queue: deque[_Write[Any]] = deque()
        self._connection: Connection | None = None
        self._closed = False
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._thread_guard = threading.Lock()

    def run(self, work: Callable[[Connection], T]) -> T:
        """Run a write and return its result when it is durable, or raise its error."""
        write = _Write(work, None)
        self._enqueue(write)
        while not write.done:
            with self._lock:
                if not write.done:
                    self._drain()
        return write.outcome()

    def submit(self, work: Callable[[Connection], T]) -> Future[T]:
        """Queue a write and return at once; the future is done when it is durable, or has failed."""
        future: Future[T] = Future()
        # It cannot be cancelled: a submitted write is written.
        future.set_running_or_notify_cancel()
        self._start_thread()
        self._enqueue(_Write(work, future))
        self._wake.put(None)
        return future

    def close(self) -> None:
        """Finish queued writes and return the connection."""
        self._closed = True
        self._wake.put(None)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        with self._lock:
            while self._queue:
                self._drain()
            self._drop_connection()

    def _enqueue(self, write: _Write[Any]) -> None:
        if self._closed:
            raise StoreUnavailable("The store is closed.")
        self._queue.append(write)

    def _start_thread(self) -> None:
        if self._thread is not None:
            return
        with self._thread_guard:
            if self._thread is None:
                thread = threading.Thread(target=self._serve, name="tracking-writer", daemon=True)
                thread.start()
                self._thread = thread  # only now, since the thread may fail to start

    def _serve(self) -> None:
        while not self._closed:
            self._wake.get()
            if self._queue:
                with self._lock:
                    self._drain()

    def _drain(self) -> None:
        """Write one group of queued writes. The caller holds the lock."""
        group = [self._queue.popleft() for _ in range(min(_GROUP, len(self._queue)))]
        if not group:
            return
        undecided = deque(group)
        try:
            # Here and not when a write is queued: after a system call, the event loop waits for the lock of the interpreter.
            self._check()
            if len(group) > 1 and self._write_together(group):
                undecided.clear()
            while undecided:
                self._write_alone(undecided[0])
                undecided.popleft()
        except StoreUnavailable as error:  # of the check
            for write in undecided:
                write.error = error
        except BaseException as error:  # such as KeyboardInterrupt
            for write in undecided:
                write.error = _interrupted(error)
            self._drop_connection()
            if not isinstance(error, Exception):
                raise
        finally:
            for write in group:
                write.settle()

    def _write_together(self, group: list[_Write[Any]]) -> bool:
        """Write a group in one transaction; return False if that was rolled back and each has to be written alone."""
        try:
            connection = self._begin_transaction()
        except (exc.SQLAlchemyError, StoreUnavailable) as error:
            # Whatever keeps a transaction from beginning would delay each of them just as long.
            for write in group:
                write.error = error
            self._drop_connection()
            return True
        try:
            for write in group:
                self._write_in_savepoint(connection, write)
            self._commit(connection)
        except exc.SQLAlchemyError:
            self._roll_back()
            return False
        return True

    def _write_in_savepoint(self, connection: Connection, write: _Write[Any]) -> None:
        run_text(connection, "SAVEPOINT one")
        try:
            write.run(connection)
        except Exception as error:  # the same; only this write is undone
            if ends_the_transaction(error) or is_conflict(error):
                raise
            run_text(connection, "ROLLBACK TO SAVEPOINT one")
        run_text(connection, "RELEASE SAVEPOINT one")

    def _write_alone(self, write: _Write[Any]) -> None:
        for attempt in range(_ATTEMPTS):
            try:
                connection = self._begin_transaction()
                write.run(connection)
                self._commit(connection)
            except Exception as error:  # noqa: BLE001 - it is raised to the caller
                write.error = error
                self._roll_back()
                if is_conflict(error) and attempt + 1 < _ATTEMPTS:
                    continue
            return

    def _begin_transaction(self) -> Connection:
        if self._connection is not None:
            try:
                run_text(self._connection, self._begin)
            except exc.DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                # The server may have been restarted since the last write; nothing of this one has been sent yet.
                self._drop_connection()
            else:
                return self._connection
        try:
            self._connection = self._engine.connect()
        except OSError as error:  # of the file, not of the driver
            raise StoreUnavailable(f"The store cannot be opened now: {error}.") from error
        run_text(self._connection, self._begin)
        return self._connection

    def _commit(self, connection: Connection) -> None:
        run_text(connection, "COMMIT")
        if self._on_commit is not None:
            self._on_commit()

    def _roll_back(self) -> None:
        connection = self._connection
        if connection is None:
            return
        try:
            run_text(connection, "ROLLBACK")
        except exc.SQLAlchemyError:
            # SQLite may have rolled back already, or the server is down: a fresh connection is clean in either case.
            self._drop_connection()

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
