"""The store in an SQL database: SQLite by default, PostgreSQL by URL."""

from mistk_service.tracking.sql.store import SqlStore

__all__ = ["SqlStore"]
