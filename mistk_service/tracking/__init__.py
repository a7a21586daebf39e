"""Tracking of experiments, runs and models in MLflow's vocabulary: a store, and a server for it."""

from mistk_service.tracking.opening import open_store
from mistk_service.tracking.store._store import Store
from mistk_service.tracking.values.page import Page

__all__ = ["Page", "Store", "open_store"]
