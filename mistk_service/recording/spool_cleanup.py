"""Cleanup of the spool after a worker has ended: incomplete copies, and copies that it has not reported."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mistk_service.workers.child.spool import remove


@dataclass(frozen=True)
class SpoolCleanup:
    """The contents of the spool at the end of a worker. They can be removed once everything that it reported is written.

    Attributes:
        paths: files and folders.
    """

    paths: tuple[Path, ...]

    @classmethod
    def in_folder(cls, spool: Path) -> SpoolCleanup:
        """Return the present contents of a spool."""
        with suppress(OSError):
            return cls(tuple(spool / name for name in os.listdir(spool)))
        return cls(())

    def remove(self, needed: Collection[Path] = ()) -> None:
        """Remove the paths that still exist and are not needed."""
        for path in self.paths:
            if path not in needed:
                remove(path)
