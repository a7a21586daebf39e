"""Implements nothing at all."""

from mistk_service import AbstractModel


class Nothing(AbstractModel):
    pass
