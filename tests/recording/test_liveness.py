"""The liveness of a container is a file lock, which the system releases however the container exits."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from mistk_service.recording.liveness import ContainerLock, dead_containers

HOLD = """
import sys
from pathlib import Path
from mistk_service.recording.liveness import ContainerLock
lock = ContainerLock(Path(sys.argv[1]), "other")
assert lock.hold()
print("held", flush=True)
sys.stdin.read()
"""


def dead(folder: Path) -> list[str]:
    with dead_containers(folder) as found:
        return list(found)


def test_a_container_that_is_killed_is_found_dead_once(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert dead(tmp_path) == []
        other.kill()
        other.wait()

    assert dead(tmp_path) == ["other"]
    assert dead(tmp_path) == []


def test_a_container_that_has_ended_in_order_is_not_found(tmp_path: Path) -> None:
    lock = ContainerLock(tmp_path, "one")
    assert lock.hold()
    lock.release()
    lock.release()

    assert dead(tmp_path) == []


def test_a_container_whose_file_is_taken_for_a_dead_ones_makes_another(tmp_path: Path) -> None:
    (tmp_path / "one.lock").touch()
    lock = ContainerLock(tmp_path, "one")
    with dead_containers(tmp_path) as found:
        assert list(found) == ["one"]
        holding = threading.Thread(target=lock.hold)
        holding.start()
    holding.join(30)

    assert (tmp_path / "one.lock").exists()
    assert dead(tmp_path) == []
    lock.release()


def test_what_could_not_be_put_in_order_is_found_again(tmp_path: Path) -> None:
    (tmp_path / "one.lock").touch()
    try:
        with dead_containers(tmp_path):
            raise TimeoutError
    except TimeoutError:
        pass

    assert dead(tmp_path) == ["one"]


def test_a_lock_that_cannot_be_had_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert not ContainerLock(tmp_path / "file", "one").hold()
    assert dead(tmp_path / "file") == []
