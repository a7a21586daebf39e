"""The interface of a store."""

from mistk_service.tracking.store._store import DEFAULT_ARTIFACT_ROOT, Store
from mistk_service.tracking.values.page import Page

__all__ = ["DEFAULT_ARTIFACT_ROOT", "Page", "Store"]
