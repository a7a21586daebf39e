"""A store behind MLflow's REST API: MLflow's own server, GitLab, Databricks, another container."""

from mistk_service.tracking.remotes import Capabilities
from mistk_service.tracking.rest.config import RestConfig, sharing_identity
from mistk_service.tracking.rest.store import RestStore, open_rest_store

__all__ = ["Capabilities", "RestConfig", "RestStore", "open_rest_store", "sharing_identity"]
