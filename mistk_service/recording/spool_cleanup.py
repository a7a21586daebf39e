"""What a worker that has ended has left in the spool: copies that it had not finished, or that nobody will hear of."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Leftovers"]


@dataclass(frozen=True)
class Leftovers:
    """What lay in the spool when a worker had ended; once all that it reported is written, nobody needs what is left of it.

    Attributes:
        paths: files and folders.
    """

    paths: tuple[Path, ...]

    @classmethod
    def in_folder(cls, spool: Path) -> Leftovers:
        """Return what lies in a spool now, which is not much and quickly told."""
        with suppress(OSError):
            return cls(tuple(spool / name for name in os.listdir(spool)))
        return cls(())

    def remove(self, needed: Collection[Path] = ()) -> None:
        """Remove what is still there, but for what is still needed."""
        for path in self.paths:
            if path in needed:
                continue
            with suppress(OSError):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
