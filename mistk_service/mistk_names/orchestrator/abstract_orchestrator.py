"""``mistk.orchestrator.abstract_orchestrator``."""

from mistk_service.kinds.orchestrator.base import AbstractOrchestrator, BaseEnv

__all__ = ["AbstractOrchestrator", "BaseEnv"]
