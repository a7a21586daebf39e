"""A model with as few hooks as possible."""

from __future__ import annotations

from mistk_service import AbstractModel


class Minimal(AbstractModel):
    """Can be trained, and nothing else."""

    def do_train(self) -> None:
        pass
