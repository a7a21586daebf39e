"""The contract of a store."""

from mistk_service.tracking.store._store import DEFAULT_ARTIFACT_ROOT, Page, Store

__all__ = ["DEFAULT_ARTIFACT_ROOT", "Page", "Store"]
