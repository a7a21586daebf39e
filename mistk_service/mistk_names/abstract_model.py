"""``mistk.abstract_model``."""

from mistk_service.kinds.model.base import AbstractModel

__all__ = ["AbstractModel"]
