"""Telling network file systems from local ones."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["is_network_path"]

#: File systems whose locks or shared memory do not work between machines, by the names that the kernel has for them.
_NETWORK = frozenset(
    [
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "fuse.cephfs",
        "fuse.glusterfs",
        "fuse.gcsfuse",
        "fuse.juicefs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "pvfs2",
        "smb2",
        "smb3",
        "smbfs",
        "wekafs",
    ]
)
_OCTAL = re.compile(r"\\([0-7]{3})")


def is_network_path(path: Path, mounts: Path = Path("/proc/mounts")) -> bool:
    """Return whether a path is on a network file system, as far as the system tells.

    Args:
        path: a file or folder, which need not exist.
        mounts: the kernel's table of mounts; where there is none, the answer is False.
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
