"""``mistk.transform.abstract_transform_plugin``."""

from mistk_service.kinds.transform.base import AbstractTransformPlugin

__all__ = ["AbstractTransformPlugin"]
