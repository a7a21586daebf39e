"""The abstract store."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from mistk_service.tracking.store._models import LoggedModelStore, RegistryStore
from mistk_service.tracking.store._runs import ExperimentStore, RunStore

#: The default location of artifacts: clients send them to the tracking server itself.
DEFAULT_ARTIFACT_ROOT = "mlflow-artifacts:/"


class Store(ExperimentStore, RunStore, RegistryStore, LoggedModelStore):
    """Stores experiments, runs and models.

    Thread safety:
        Every method may be called from any thread at any time. A method blocks its caller until it is done, except
        those named ``submit_...``, which return a future.
    Atomicity and durability:
        A write is applied completely or not at all. When the method returns, the write survives a crash of this process,
        and every later read, from any thread or process, sees it.
    Validation:
        The store checks names, sizes and limits itself. Values have the types of the annotations;
        the wire converts the text of a request.
    Errors:
        Expected errors are :class:`~mistk_service.tracking.errors.StoreError`. Any method may raise
        ``StoreUnavailable`` when the database cannot be used at the moment; the call was not applied then, and
        the store works again as soon as the cause is fixed.
    """

    @property
    @abstractmethod
    def uri(self) -> str:
        """The URI that the store was opened with, without a password."""

    @abstractmethod
    def non_blocking(self) -> AbstractContextManager[None]:
        """Return a context in which reads on this thread do not block, for use on an event loop.

        A read that would have to wait for a lock, a connection or a database server, or that has many rows, raises
        ``StoreUnavailable``. Repeat it outside of the context. Use it for small reads only.
        """

    @abstractmethod
    def check(self) -> None:
        """Return if the store can be read now.

        Raises:
            StoreUnavailable: it cannot; the message gives the reason.
        """

    def artifact_logged(self, run_id: str, path: str) -> None:
        """Record that a file was added to a run's artifacts, so that replication copies it.

        Args:
            run_id: the run.
            path: the file's path below the root of the run's artifacts.
        """

    @abstractmethod
    def close(self) -> None:
        """Finish submitted writes, and release files and connections. Closing twice is allowed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
