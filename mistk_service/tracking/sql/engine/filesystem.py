"""Detects network file systems, and database files that were deleted or replaced."""

from __future__ import annotations

import os
import re
from pathlib import Path

from mistk_service.tracking.errors import StoreLost

#: The kernel's table of mounts.
MOUNTS = Path("/proc/mounts")

#: File systems whose locks or shared memory do not work between machines, by the kernel's names for them.
_NETWORK = frozenset(
    """
    9p afs beegfs ceph cifs coda davfs fuse.cephfs fuse.glusterfs fuse.gcsfuse fuse.juicefs fuse.rclone fuse.s3fs
    fuse.sshfs glusterfs gpfs lustre ncpfs nfs nfs4 ocfs2 orangefs pvfs2 smb2 smb3 smbfs wekafs
    """.split()
)
_OCTAL = re.compile(r"\\([0-7]{3})")


def is_network_path(path: Path, mounts: Path = MOUNTS) -> bool:
    """Return whether a path is on a network file system, as far as is known.

    Args:
        path: a file or folder, which need not exist.
        mounts: the kernel's table of mounts; without one, the result is False.
    """
    try:
        table = mounts.read_text(errors="surrogateescape")
    except OSError:
        return False
    resolved = path.resolve()
    best, kind = -1, ""
    for line in table.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        # The kernel writes spaces in the name of a folder as \040.
        mounted = Path(_OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[1]))
        # Of two mounts on one folder, the later covers the earlier.
        if resolved.is_relative_to(mounted) and len(mounted.parts) >= best:
            best, kind = len(mounted.parts), fields[2]
    return kind in _NETWORK


class StoreFile:
    """The file of an open database, which another program may delete or replace. SQLite would keep using the unlinked file.

    Args:
        path: the file.
        by_inode: whether another file at the same path is recognised; not every network file system has lasting inodes.
    """

    def __init__(self, path: Path, *, by_inode: bool) -> None:
        self._path = path
        self._by_inode = by_inode
        self._identity: tuple[int, int] | None = None

    def opened(self) -> None:
        """Remember the identity of the file after the first connection."""
        if self._identity is None:
            status = os.stat(self._path)
            self._identity = (status.st_dev, status.st_ino)

    def require(self) -> None:
        """Raise ``StoreLost`` if the file was opened and does not exist any more."""
        if self._identity is None:
            return
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            raise self._lost("deleted") from None
        except OSError:
            return  # the database reports a problem with the folder itself
        if self._by_inode and (status.st_dev, status.st_ino) != self._identity:
            raise self._lost("replaced by another")

    def _lost(self, what: str) -> StoreLost:
        return StoreLost(
            f"The file of the tracking store, {self._path}, was {what} while it was in use, so that new data would be lost. "
            "Put the file back, or restart the service to use the new one."
        )
