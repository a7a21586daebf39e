"""Cleanup of the spool after a worker has ended: incomplete copies, and copies that it has not reported."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


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


def remove(path: Path) -> None:
    """Remove a file or a folder, if it exists and can be removed."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
