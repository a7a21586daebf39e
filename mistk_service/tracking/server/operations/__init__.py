"""The operations of the contract whose bodies are JSON, one short method for each operationId."""

from mistk_service.tracking.server.operations._all import Operations
from mistk_service.tracking.server.operations._base import is_brief

__all__ = ["Operations", "is_brief"]
