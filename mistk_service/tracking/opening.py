"""Opens a store."""

from __future__ import annotations

from mistk_service.tracking.errors import UnsupportedStore
from mistk_service.tracking.store._store import DEFAULT_ARTIFACT_ROOT, Store


def open_store(uri: str, artifact_root: str = DEFAULT_ARTIFACT_ROOT, *, create: bool = True) -> Store:
    """Open the store at ``uri``, creating or upgrading its schema if necessary.

    Args:
        uri: ``sqlite:///relative.db``, ``sqlite:////absolute.db``, ``sqlite://`` (in memory), ``postgresql://...``, or
            the path of an SQLite file; ``http://HOST`` or ``https://HOST`` for a tracking server, with the variables of the
            environment that MLflow's clients know (:class:`~mistk_service.tracking.rest.RestConfig`).
        artifact_root: the URI below which experiments get their artifact folders; a tracking server has its own.
        create: whether to create a database that does not exist or is empty.

    Raises:
        UnsupportedStore: the URI is of another kind, or a library is missing.
        ResourceNotFound: there is no store, and ``create`` is false.
        SchemaMismatch: the database was written by a newer version or by another program, or has a table of another program
            that keeps it from being written; it was not changed.
        StoreUnavailable: the database cannot be opened now.
    """
    if uri.partition(":")[0].lower() in ("http", "https"):
        # The HTTP library is only loaded for a server.
        from mistk_service.tracking.rest import open_rest_store

        return open_rest_store(uri)
    scheme = uri.partition(":")[0].partition("+")[0] if "://" in uri else "sqlite"
    if scheme not in ("sqlite", "postgresql", "postgres"):
        raise UnsupportedStore(
            f"{uri!r} is not a known kind of store; expected sqlite:///FILE, postgresql://HOST/DATABASE, https://HOST or a "
            "file's path."
        )
    # Loading SQLAlchemy takes longer than everything else in this package, so only an opened store pays for it.
    from mistk_service.tracking.sql import SqlStore

    return SqlStore.open(uri, artifact_root, create=create)
