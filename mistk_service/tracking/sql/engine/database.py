"""Connections to a database, for reading and for writing, and the differences between SQLite and PostgreSQL."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, make_url
from sqlalchemy.pool import StaticPool

from mistk_service.tracking.errors import StoreLost, StoreUnavailable, UnsupportedStore
from mistk_service.tracking.sql.engine.checkpoints import LONGEST_LOG, Checkpoints
from mistk_service.tracking.sql.engine.errors import translated
from mistk_service.tracking.sql.engine.filesystem import MOUNTS, StoreFile, is_network_path
from mistk_service.tracking.sql.engine.statements import MOST_ROWS, run_text
from mistk_service.tracking.sql.engine.writer import Writer
from mistk_service.tracking.sql.outbox.journal_writer import JournalWriter

T = TypeVar("T")

#: The number of pooled connections for reading, and of additional ones under load.
_POOL_SIZE, _POOL_OVERFLOW = 8, 24

#: Milliseconds after which a connection is given up if PostgreSQL's machine does not acknowledge what was sent. A third of the
#: default lease of a container, so that a write that begins while the container relies on its lease does not arrive after it.
_UNACKNOWLEDGED = 10_000


#: The maximum number of rows of a statement that must not block: about a millisecond.
_MAX_ROWS = 500


class _NonBlocking(threading.local):
    """The connection with which this thread reads while its reads must not block; otherwise None."""

    reader: Connection | None = None


class Database:
    """An open database.

    Attributes:
        url: its URL.
        engine: SQLAlchemy's engine; its connections do not begin transactions automatically.
        is_sqlite: whether it is SQLite, else PostgreSQL.
        journal_mode: the journal of an SQLite file, ``WAL`` or ``DELETE``; None for other databases.
        lock_timeout: seconds to wait for a lock that another process holds.
        journal_writer: writes the journal.
        write_lock: held during every write, so writes wait while another thread holds it.
    """

    def __init__(
        self,
        url: URL,
        engine: Engine,
        lock_timeout: float,
        store_file: StoreFile | None = None,
        journal_mode: str | None = None,
    ) -> None:
        """Make it from an engine; use :meth:`open`."""
        self.url = url
        self.engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        self.journal_mode = journal_mode
        self.lock_timeout = lock_timeout
        self._store_file = store_file
        self.journal_writer = JournalWriter(engine.dialect)
        # A database in memory has a single connection, which the readers and the writer share.
        self.write_lock = threading.RLock()
        self._read_lock = self.write_lock if _is_memory(url) else nullcontext()
        begin = "BEGIN IMMEDIATE" if self.is_sqlite else "BEGIN"
        self._begin_snapshot = "BEGIN" if self.is_sqlite else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        self._checkpoints = Checkpoints(engine, self.write_lock) if self.journal_mode == "WAL" else None
        on_commit = self._checkpoints.committed if self._checkpoints is not None else None
        self._writer = Writer(engine, begin, self.write_lock, on_commit, self.require_file)
        self._non_blocking = _NonBlocking()
        self._reader: Connection | None = None
        self._reader_lock = threading.Lock()

    @classmethod
    def open(cls, uri: str, lock_timeout: float, *, create: bool = True, mounts: Path = MOUNTS) -> Database:
        """Open a database; nothing is read or written yet, except that the folder of an SQLite file is created.

        Args:
            uri: see :func:`mistk_service.tracking.opening.open_store`.
            lock_timeout: seconds to wait for a lock that another process holds.
            create: whether to create the folder.
            mounts: the kernel's table of mounts, which shows whether a file is on a network file system.

        Raises:
            UnsupportedStore: the URI cannot be understood, or the driver is not installed.
        """
        url = _parse(uri)
        if url.get_backend_name() == "sqlite":
            file = _file(url)
            if file is None:
                return cls(url, _sqlite_engine(url, lock_timeout), lock_timeout)
            if create:
                _make_folder(file.parent)
            if file.is_dir():
                raise UnsupportedStore(
                    f"The store {file} is a folder; expected the SQLite file in it, such as sqlite:///{file / 'tracking.db'}."
                )
            # The shared memory that WAL needs works only within one machine.
            journal = "DELETE" if is_network_path(file, mounts) else "WAL"
            store_file = StoreFile(file, by_inode=journal == "WAL")
            engine = _sqlite_engine(
                url, lock_timeout, journal, store_file, immutable=not create and _is_immutable(file)
            )
            return cls(url, engine, lock_timeout, store_file, journal)
        return cls(url, _postgres_engine(url, lock_timeout), lock_timeout)

    @property
    def file(self) -> Path | None:
        """The file of an SQLite database, or None."""
        return _file(self.url) if self.is_sqlite else None

    @property
    def shown_url(self) -> str:
        """The URL without passwords; PostgreSQL's may also have some in its options."""
        secret = {name: "hidden" for name in self.url.query if "password" in name.lower()}
        return self.url.update_query_dict(secret).render_as_string(hide_password=True)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Return a connection for a single read statement."""
        with translated():
            if self._non_blocking.reader is not None:
                yield self._non_blocking.reader
            else:
                with self._read_lock, self.engine.connect() as connection:
                    yield connection

    @contextmanager
    def non_blocking(self) -> Iterator[None]:
        """Make the reads of this thread raise ``StoreUnavailable`` instead of blocking.

        A read would block if it had to wait for a lock or a connection, or if its statement returned many rows.
        """
        # Without WAL, as on a network file system, every read may wait.
        if self.journal_mode != "WAL" or not self._reader_lock.acquire(blocking=False):
            raise StoreUnavailable("The store cannot be read without waiting.", retry_after=0.0)
        try:
            if self._reader is None:
                with translated():
                    self._reader = self.engine.connect().execution_options(**{MOST_ROWS: _MAX_ROWS})
                    self._reader.exec_driver_sql("PRAGMA busy_timeout = 0")
            self._non_blocking.reader = self._reader
            yield
        finally:
            self._non_blocking.reader = None
            self._reader_lock.release()

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Return a connection for several read statements, all of which see the same state."""
        with self._transaction(self._begin_snapshot) as connection:
            yield connection

    @contextmanager
    def settled(self, table: str) -> Iterator[Connection]:
        """Return a connection for reading a table while no rows are added to it.

        Rows of PostgreSQL get their numbers before they are committed, so a reader could see one and not yet its
        predecessor. SQLite has one writer at a time.
        """
        with self._transaction("BEGIN") as connection:
            if not self.is_sqlite:
                connection.exec_driver_sql(f"LOCK TABLE {table} IN SHARE MODE")
            yield connection

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        """Return a connection in a transaction that is rolled back at the end."""
        with self.read() as connection:
            run_text(connection, begin)
            try:
                yield connection
            finally:
                if not connection.invalidated:
                    run_text(connection, "ROLLBACK")

    def require_file(self) -> None:
        """Make sure that the file of an SQLite database is still the one that was opened.

        Raises:
            StoreLost: it was deleted or replaced.
        """
        if self._store_file is not None:
            self._store_file.require()

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run work in a transaction, possibly together with others, and return its result when it is durable."""
        return self._writer.run(work)

    def submit(self, work: Callable[[Connection], T]) -> Future[T]:
        """Do the same without waiting."""
        return self._writer.submit(work)

    def close(self) -> None:
        """Finish submitted writes and close all connections."""
        self._writer.close()
        if self._checkpoints is not None:
            self._checkpoints.close()
        with self._reader_lock:
            if self._reader is not None:
                # It differs from the others of the pool.
                self._reader.invalidate()
                self._reader.close()
                self._reader = None
        # An active reader returns its connection to a pool that is not used any more.
        event.listen(self.engine, "checkin", lambda _, entry: entry.invalidate())
        self.engine.dispose()


def _parse(uri: str) -> URL:
    if "://" not in uri:
        return URL.create("sqlite", database=str(Path(uri).absolute()))
    # SQLAlchemy 2 has no dialect "postgres", which is how many services spell it.
    try:
        url = make_url(uri.replace("postgres://", "postgresql://", 1) if uri.startswith("postgres://") else uri)
    except (exc.ArgumentError, ValueError) as error:
        raise UnsupportedStore(f"The store's URI is invalid: {error}.") from error
    if url.get_backend_name() == "sqlite":
        memory = url.database in (None, "", ":memory:")
        return URL.create("sqlite", database=None if memory else str(Path(url.database or "").absolute()))
    if "@" in (url.host or ""):
        # A part of the password would be parsed as the host, and shown.
        raise UnsupportedStore(
            "The store's URI has an @ in its username or password; expected it to be written as %40 there."
        )
    return url.set(drivername="postgresql+psycopg")


def _is_memory(url: URL) -> bool:
    return url.get_backend_name() == "sqlite" and url.database is None


def _file(url: URL) -> Path | None:
    """Return the file of an SQLite database, or None for one in memory."""
    return None if _is_memory(url) else Path(url.database or "")


def _is_immutable(file: Path) -> bool:
    """Return whether a file can be read without locks, because this process may not write it and no other does.

    SQLite creates a log next to a file that was written with one, even to read it. An existing log has to be read
    too.
    """
    logs = (file.with_name(f"{file.name}{ending}") for ending in ("-wal", "-shm", "-journal"))
    return not os.access(file.parent, os.W_OK) and file.exists() and not any(log.exists() for log in logs)


def _sqlite_engine(
    url: URL,
    lock_timeout: float,
    journal: str | None = None,
    store_file: StoreFile | None = None,
    *,
    immutable: bool = False,
) -> Engine:
    # The threads of the pool share connections, each used by one thread at a time.
    connect_args: dict[str, Any] = {"timeout": lock_timeout, "check_same_thread": False, "cached_statements": 256}
    # Parameters may be secrets, and errors would show them.
    options: dict[str, Any] = {"isolation_level": "AUTOCOMMIT", "connect_args": connect_args, "hide_parameters": True}
    if immutable:
        place = f"file:{quote(url.database or '')}?mode=ro&immutable=1"
        options["creator"] = lambda: sqlite3.connect(place, uri=True, **connect_args)
    if _is_memory(url):
        engine = create_engine(url, poolclass=StaticPool, **options)
    else:
        engine = create_engine(
            url, pool_size=_POOL_SIZE, max_overflow=_POOL_OVERFLOW, pool_timeout=lock_timeout, **options
        )

    @event.listens_for(engine, "do_connect")
    def require_file(*_: object) -> None:
        if store_file is None:
            return
        try:
            store_file.require()
        except StoreLost as error:
            # A connection would create an empty file. SQLAlchemy passes on an error that the driver could have raised.
            refusal = sqlite3.OperationalError(str(error))
            refusal.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
            raise refusal from error

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, _: object) -> None:
        if store_file is not None:
            store_file.opened()
        connection.execute("PRAGMA foreign_keys = ON")
        # LIKE as in MLflow; ILIKE applies lower_unicode on both sides.
        connection.execute("PRAGMA case_sensitive_like = ON")
        connection.create_function("lower_unicode", 1, _lower, deterministic=True)
        connection.execute("PRAGMA temp_store = MEMORY")
        # The cache stays at SQLite's 2 MB: some thirty connections fill theirs, and the system caches the file as well.
        # With WAL, NORMAL means that a commit has reached the operating system: it survives a crash of this
        # process. Only a crash of the machine can undo the last commits, and never damages the file. With a
        # rollback journal NORMAL could damage the file then, so that one gets FULL.
        if journal == "WAL":
            connection.execute(f"PRAGMA wal_autocheckpoint = {LONGEST_LOG}")
        connection.execute(f"PRAGMA synchronous = {'FULL' if journal == 'DELETE' else 'NORMAL'}")

    return engine


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreUnavailable(f"The folder of the store, {folder}, cannot be created: {error.strerror}.") from error


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()


def _postgres_engine(url: URL, lock_timeout: float) -> Engine:
    settings = f"SET lock_timeout = {int(lock_timeout * 1000)}; SET timezone = 'UTC'"
    try:
        engine = create_engine(
            url,
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
            pool_size=_POOL_SIZE,
            max_overflow=_POOL_OVERFLOW,
            pool_timeout=lock_timeout,
            # A connection that the server has closed is detected before it is used.
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": max(2, int(lock_timeout)),
                "application_name": "mistk-service",
                "tcp_user_timeout": url.query.get("tcp_user_timeout", _UNACKNOWLEDGED),
            },
        )
    except ImportError as error:
        raise UnsupportedStore(
            "A PostgreSQL store needs psycopg; install it with: pip install 'mistk-service[postgres]'."
        ) from error

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _: object) -> None:
        # Not as options of the connection, which PgBouncer refuses. Without a transaction, which would undo it.
        connection.autocommit = True
        connection.execute(settings)

    return engine
