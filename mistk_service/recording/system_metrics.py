"""System metrics of a worker, under the names of MLflow's clients.

CPU and memory are those of the worker and of all processes that it has started, since other containers may use the same
machine. Disk, network and GPU are those of the machine, as in MLflow: they are not counted per process.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mistk_service.core.events import ActivityBegan, ActivityEnded, Event, WorkerStarted
from mistk_service.deadline import Clock, Deadline
from mistk_service.tracking.errors import SystemMetricsUnavailable

logger = logging.getLogger(__name__)

#: The prefix of every name.
_PREFIX = "system/"

_MEGABYTE = 1e6

#: The shortest interval in seconds over which CPU utilization is measured; the system counts hundredths of a second.
_SHORTEST = 0.1

#: Seconds that a running measurement may take during shutdown.
_LONGEST = 1.0


class SystemSampler:
    """Measures one worker; used from one thread.

    Args:
        pid: the worker's process.
        clock: a monotonic clock, in seconds.

    Raises:
        SystemMetricsUnavailable: psutil is not installed.
    """

    def __init__(self, pid: int, clock: Clock = time.monotonic) -> None:
        self._psutil = _import_psutil()
        self._tree = _Tree(self._psutil, pid, clock)
        self._gpus = _Gpus()
        self._network = self._count_network()

    def sample(self) -> dict[str, float]:
        """Return the current values by name; what cannot be measured is left out.

        ==============================================  =========================================================
        ``cpu_utilization_percentage``                  of all processors, by the worker's processes since the last sample
        ``system_memory_usage_megabytes, _percentage``  what the worker's processes occupy
        ``disk_usage_…``, ``disk_available_megabytes``  of the root file system
        ``network_receive_…, network_transmit_…``       since the sampler was made
        ``gpu_0_utilization_percentage`` ...            where there are GPUs of NVIDIA
        ==============================================  =========================================================
        """
        sample: dict[str, float] = {}
        for measure in (self._tree.sample, self._sample_disk, self._sample_network, self._gpus.sample):
            try:
                sample |= measure()
            except (self._psutil.Error, OSError) as error:
                logger.debug("%s: %s", measure.__qualname__, error)
        return {f"{_PREFIX}{name}": value for name, value in sample.items()}

    def close(self) -> None:
        """Release the GPU library."""
        self._gpus.close()

    def _sample_disk(self) -> dict[str, float]:
        usage = self._psutil.disk_usage(os.sep)
        return {
            "disk_usage_percentage": round(usage.percent, 1),
            "disk_usage_megabytes": round(usage.used / _MEGABYTE, 1),
            "disk_available_megabytes": round(usage.free / _MEGABYTE, 1),
        }

    def _sample_network(self) -> dict[str, float]:
        return {
            f"network_{way}_megabytes": (count - before) / _MEGABYTE
            for (way, count), before in zip(self._count_network().items(), self._network.values(), strict=False)
        }

    def _count_network(self) -> dict[str, int]:
        """Return the bytes received and transmitted, or nothing if there is no network."""
        counters = self._psutil.net_io_counters()
        return {} if counters is None else {"receive": counters.bytes_recv, "transmit": counters.bytes_sent}


class _Tree:
    """A process and its descendants, as far as their parents are alive."""

    def __init__(self, psutil: Any, pid: int, clock: Clock) -> None:
        self._psutil = psutil
        self._clock = clock
        self._root: Any = None
        with contextlib.suppress(psutil.NoSuchProcess):
            self._root = psutil.Process(pid)
        self._processors = psutil.cpu_count() or 1
        self._at, self._seconds = clock(), self._sum(_seconds_of, self._processes())

    def sample(self) -> dict[str, float]:
        """Return CPU and memory usage, or nothing once the process has ended."""
        processes = self._processes()
        if not processes:
            return {}
        # Finding shared memory is slow, and unnecessary for a single process.
        memory = self._sum(self._share_of if len(processes) > 1 else _resident_of, processes)
        sample = {
            "system_memory_usage_megabytes": round(memory / _MEGABYTE, 1),
            "system_memory_usage_percentage": round(memory / self._psutil.virtual_memory().total * 100, 1),
        }
        now = self._clock()
        if now - self._at >= _SHORTEST:
            seconds = self._sum(_seconds_of, processes)
            # The CPU time of a process that was not waited for disappears with it, so that the sum may decrease.
            share = (seconds - self._seconds) / (now - self._at) / self._processors
            sample["cpu_utilization_percentage"] = round(min(max(share, 0.0), 1.0) * 100, 1)
            self._at, self._seconds = now, seconds
        return sample

    def _processes(self) -> list[Any]:
        if self._root is None:
            return []
        try:
            return [self._root, *self._root.children(recursive=True)]
        except self._psutil.NoSuchProcess:
            return []

    def _share_of(self, process: Any) -> float:
        """Return the memory of a process in bytes, with memory shared between forked processes counted once."""
        with contextlib.suppress(self._psutil.AccessDenied):
            info = process.memory_full_info()
            if hasattr(info, "pss"):
                return float(info.pss)
        return _resident_of(process)

    def _sum(self, measure: Callable[[Any], float], processes: list[Any]) -> float:
        """Return the sum over the processes, without those that have ended in the meantime."""
        total = 0.0
        for process in processes:
            with contextlib.suppress(self._psutil.NoSuchProcess, self._psutil.AccessDenied):
                total += measure(process)
        return total


def _seconds_of(process: Any) -> float:
    """Return the CPU time of a process, and of those that have ended and that it has waited for."""
    times = process.cpu_times()
    waited_for = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return float(times.user + times.system + waited_for)


def _resident_of(process: Any) -> float:
    return float(process.memory_info().rss)


class _Gpus:
    """The GPUs of NVIDIA, if there are any and nvidia-ml-py is installed."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self._handles: list[Any] = []
        #: What is not available, to log it once and not every ten seconds.
        self._missing: set[str] = set()
        try:
            import pynvml
        except ImportError:
            logger.debug("nvidia-ml-py is not installed: no metrics of GPUs.")
            return
        try:
            pynvml.nvmlInit()
            self._nvml = pynvml
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(n) for n in range(pynvml.nvmlDeviceGetCount())]
        except pynvml.NVMLError as error:
            logger.debug("No metrics of GPUs: %s", error)

    def sample(self) -> dict[str, float]:
        """Return the values of each GPU."""
        sample: dict[str, float] = {}
        for number, handle in enumerate(self._handles):
            for measure in (self._memory, self._utilization, self._power):
                for name, value in self._measured(measure, handle).items():
                    sample[f"gpu_{number}_{name}"] = round(value, 1)
        return sample

    def close(self) -> None:
        """Release the library."""
        if self._nvml is not None:
            with contextlib.suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()
            self._nvml, self._handles = None, []

    def _measured(self, measure: Callable[[Any], dict[str, float]], handle: Any) -> dict[str, float]:
        try:
            return measure(handle)
        except self._nvml.NVMLError as error:
            if measure.__name__ not in self._missing:
                self._missing.add(measure.__name__)
                logger.warning("A GPU does not report its %s: %s", measure.__name__.lstrip("_"), error)
            return {}

    def _memory(self, handle: Any) -> dict[str, float]:
        memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
        return {
            "memory_usage_percentage": memory.used / memory.total * 100,
            "memory_usage_megabytes": memory.used / _MEGABYTE,
        }

    def _utilization(self, handle: Any) -> dict[str, float]:
        return {"utilization_percentage": self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu}

    def _power(self, handle: Any) -> dict[str, float]:
        power, limit = self._nvml.nvmlDeviceGetPowerUsage(handle), self._nvml.nvmlDeviceGetEnforcedPowerLimit(handle)
        return {"power_usage_watts": power / 1000, "power_usage_percentage": power / limit * 100}


def _import_psutil() -> Any:
    try:
        import psutil
    except ImportError as error:
        raise SystemMetricsUnavailable(
            "System metrics need psutil; install it with: pip install 'mistk-service[system]', or switch them off with "
            "--no-system-metrics."
        ) from error
    return psutil


@dataclass(frozen=True)
class SystemSample:
    """Measured values by name."""

    values: Mapping[str, float]


class Sampling:
    """Takes samples while an activity runs, on its own thread. :meth:`observe` returns at once.

    Args:
        interval: seconds between two samples.
        put: called with every sample, on the thread.
        note: called with a note if there will be no samples.
    """

    def __init__(
        self,
        interval: float,
        put: Callable[[SystemSample], None],
        note: Callable[[str], None],
        make: Callable[[int], SystemSampler] = SystemSampler,
    ) -> None:
        self._interval = interval
        self._put = put
        self._note = note
        self._make = make
        self._pid = 0
        self._running = 0
        #: Set while an activity runs, and during shutdown.
        self._busy = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tracking-system", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def observe(self, event: Event) -> None:
        """Follow the process id of the worker, and whether an activity runs."""
        if isinstance(event, WorkerStarted):
            self._pid = event.pid
        elif isinstance(event, ActivityBegan | ActivityEnded):
            self._running += 1 if isinstance(event, ActivityBegan) else -1
            if self._running:
                self._busy.set()
            elif not self._ending.is_set():
                self._busy.clear()

    def close(self, deadline: Deadline) -> None:
        """Stop. There are no samples after this, except for one that takes longer than a second or the deadline."""
        self._ending.set()
        self._busy.set()
        if self._thread.ident is not None:
            deadline.within(_LONGEST).join(self._thread)

    def _run(self) -> None:
        measured, sampler = 0, None
        try:
            while self._busy.wait() and not self._ending.is_set():
                if sampler is None or measured != self._pid:
                    if sampler is not None:
                        sampler.close()
                    measured, sampler = self._pid, self._make(self._pid)
                if not self._ending.wait(self._interval) and self._running and measured == self._pid:
                    self._put(SystemSample(sampler.sample()))
        except SystemMetricsUnavailable as error:
            self._note(f"There are no system metrics: {error}")
        except Exception as error:  # drivers raise their own errors; a training must not be affected
            logger.exception("Sampling the system metrics failed unexpectedly.")
            self._note(f"System metrics have stopped: {error}")
        finally:
            if sampler is not None:
                sampler.close()
