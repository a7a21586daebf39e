"""``mistk.agent.abstract_agent``."""

from mistk_service.kinds.agent.base import AbstractAgent

__all__ = ["AbstractAgent"]
