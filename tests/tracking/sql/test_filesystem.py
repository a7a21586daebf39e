"""The detection of network file systems."""

from pathlib import Path

import pytest

from mistk_service.tracking.sql.engine.filesystem import is_network_path

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
tmpfs /run tmpfs rw 0 0
server:/home /home nfs4 rw,vers=4.2 0 0
/dev/sdb1 /home/local xfs rw 0 0
//server/share /mnt/my\\040share cifs rw 0 0
server:/data /data fuse.sshfs rw 0 0
overlay /over ext4 rw 0 0
server:/over /over lustre rw 0 0
broken line
"""


@pytest.mark.parametrize(
    ("path", "network"),
    [
        ("/var/x.db", False),
        ("/home/ann/deep/er/x.db", True),
        ("/home/local/x.db", False),
        ("/homeless/x.db", False),
        ("/mnt/my share/x.db", True),
        ("/data/../var/x.db", False),
        ("/data", True),
        ("/over/x.db", True),
    ],
)
def test_the_nearest_mount_counts(tmp_path, path, network):
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)
    assert is_network_path(Path(path), mounts) is network


def test_without_a_table_nothing_is_a_network(tmp_path):
    assert is_network_path(Path("/home/x.db"), tmp_path / "none") is False
