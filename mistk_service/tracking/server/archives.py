"""A folder of artifacts as a ZIP archive, created while it is sent."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Iterable, Iterator
from io import RawIOBase
from typing import Any

from mistk_service.tracking.artifacts import ArtifactRepository

#: Bytes that are read at once.
_PIECE = 1 << 20

#: The earliest time that an archive can hold, in seconds since 1970.
_EARLIEST = 315_619_200


def zip_pieces(artifacts: ArtifactRepository, files: Iterable[tuple[str, str]]) -> Iterator[bytes]:
    """Yield an archive piece by piece. The files are not compressed: most artifacts are already.

    Args:
        artifacts: the repository with the files.
        files: for each file, its name in the archive and its path below the artifact root.

    Raises:
        StoreError: a file cannot be read, or was deleted.
    """
    written = _Buffer()
    with zipfile.ZipFile(written, "w") as archive:
        for name, place in files:
            with artifacts.open(place) as stored:
                modified = time.gmtime(max(_EARLIEST, stored.modified or _EARLIEST))
                entry = zipfile.ZipInfo(name, modified[:6])
                with archive.open(entry, "w", force_zip64=True) as target:
                    while piece := stored.stream.read(_PIECE):
                        target.write(piece)
                        yield written.taken()
    yield written.taken()


class _Buffer(RawIOBase):
    """Buffers what is written until it is taken."""

    def __init__(self) -> None:
        self._data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._data += data
        return len(data)

    def taken(self) -> bytes:
        """Return what was written since the last time."""
        data, self._data = bytes(self._data), bytearray()
        return data
