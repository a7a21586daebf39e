"""The abstract store of tracked things, and the way to open one."""

from __future__ import annotations

from abc import abstractmethod
from types import TracebackType
from typing import Self

from mistk_service.tracking._contract_models import LoggedModelStore, RegistryStore
from mistk_service.tracking._contract_runs import ExperimentStore, RunStore
from mistk_service.tracking.errors import UnsupportedStore
from mistk_service.tracking.paging import Page

__all__ = ["DEFAULT_ARTIFACT_ROOT", "Page", "Store", "open_store"]

#: Where artifacts go unless something else is said: clients send them to the tracking server itself.
DEFAULT_ARTIFACT_ROOT = "mlflow-artifacts:/"


class Store(ExperimentStore, RunStore, RegistryStore, LoggedModelStore):
    """Where experiments, runs and models are kept.

    Thread safety:
        Every method may be called from any thread at any time. A method blocks its caller until it is done;
        :meth:`submit_batch` is the one that does not.
    Atomicity and durability:
        A method that writes does all of it or nothing. When it returns, what it wrote survives the sudden end of this
        process, and every later read, from any thread or process, sees it.
    Validation:
        The store checks names, sizes and limits itself, whoever calls. Values have the types of the annotations;
        turning text of a request into them is the wire's task.
    Errors:
        What goes wrong on purpose is a :class:`~mistk_service.tracking.errors.StoreError`. Any method may raise
        ``StoreUnavailable`` when the database cannot be used at the moment; nothing of the call was applied then, and
        the store works again by itself as soon as the cause is gone.
    """

    @property
    @abstractmethod
    def uri(self) -> str:
        """The URI that the store was opened with, without a password."""

    @property
    @abstractmethod
    def artifact_root(self) -> str:
        """The URI below which experiments get their artifact folders."""

    @abstractmethod
    def check(self) -> None:
        """Return if the store can be read now.

        Raises:
            StoreUnavailable: it cannot, and why.
        """

    @abstractmethod
    def close(self) -> None:
        """Finish what was submitted and release files and connections. Closing twice is allowed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def open_store(uri: str, artifact_root: str = DEFAULT_ARTIFACT_ROOT) -> Store:
    """Open the store at ``uri``, creating or upgrading its schema where needed.

    Args:
        uri: ``sqlite:///relative.db``, ``sqlite:////absolute.db``, ``sqlite://`` (in memory), ``postgresql://...``, or
            the path of an SQLite file.
        artifact_root: the URI below which experiments get their artifact folders.

    Raises:
        UnsupportedStore: the URI is of another kind, or a library is missing.
        SchemaMismatch: the database was written by a newer version, or is none of ours; it was not touched.
        StoreUnavailable: the database cannot be opened now.
    """
    scheme = uri.partition(":")[0].partition("+")[0] if "://" in uri else "sqlite"
    if scheme not in ("sqlite", "postgresql", "postgres"):
        raise UnsupportedStore(
            f"{uri!r} names no known store; expected sqlite:///FILE, postgresql://HOST/DATABASE or a file's path."
        )
    # Loading SQLAlchemy takes longer than everything else in this package, so only an opened store pays for it.
    from mistk_service.tracking.sql import SqlStore

    return SqlStore.open(uri, artifact_root)
