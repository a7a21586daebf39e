"""The processors and GPUs of this machine, and their division among replicas."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Mapping
from pathlib import Path

#: The variable that selects the GPUs of NVIDIA that a process sees.
_CUDA = "CUDA_VISIBLE_DEVICES"

#: The variable that limits the threads of numerical libraries, each of which would otherwise take all processors.
_THREADS = "OMP_NUM_THREADS"

#: The folder in which the driver lists its GPUs, and the file with the processor limit of a container.
_GPUS, _QUOTA = Path("/proc/driver/nvidia/gpus"), Path("/sys/fs/cgroup/cpu.max")


def processors() -> int:
    """Return the number of processors that this process may use, in a container too."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # without a limit, it is the word "max"
        quota, period = map(int, _QUOTA.read_text().split())
        count = min(count, math.ceil(quota / period))
    return count


def gpus(environment: Mapping[str, str]) -> list[str]:
    """Return the GPUs of NVIDIA that a process with this environment sees, as ``CUDA_VISIBLE_DEVICES`` names them."""
    if _CUDA in environment:
        return [name for name in map(str.strip, environment[_CUDA].split(",")) if name not in ("", "-1")]
    with contextlib.suppress(OSError):
        return [str(number) for number, _ in enumerate(_GPUS.iterdir())]
    return []


def replica_environment(environment: Mapping[str, str], slot: int, count: int) -> dict[str, str]:
    """Return the environment of a replica: that of the worker, with one of its GPUs and a share of the processors.

    Args:
        environment: the variables of the worker.
        slot: the number of the replica, from 0.
        count: the number of replicas.
    """
    own = {_THREADS: str(max(1, processors() // count)), **environment}
    if found := gpus(environment):
        own[_CUDA] = found[slot % len(found)]
    return own
