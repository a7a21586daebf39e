"""System metrics: MLflow's names, the worker's processes, and processes that vanish."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import psutil
import pytest

from mistk_service.recording.system_metrics import SystemSampler
from mistk_service.tracking.errors import SystemMetricsUnavailable

MEGABYTE = 1_000_000


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Process:
    """A process of the fake machine: the processor time that it took, its memory, and what it has started."""

    def __init__(self, seconds: float = 0.0, megabytes: float = 0.0, *children: Process) -> None:
        self.seconds, self.waited_for, self.megabytes = seconds, 0.0, megabytes
        self.started = list(children)
        self.error: psutil.Error | None = None

    def _ask(self) -> None:
        if self.error is not None:
            raise self.error

    def children(self, recursive: bool) -> list[Process]:
        assert recursive
        self._ask()
        return [below for child in self.started for below in (child, *child.started)]

    def cpu_times(self) -> Any:
        self._ask()
        half = self.seconds / 2
        return SimpleNamespace(user=half, system=half, children_user=self.waited_for, children_system=0.0)

    def memory_info(self) -> Any:
        self._ask()
        return SimpleNamespace(rss=self.megabytes * MEGABYTE)

    def memory_full_info(self) -> Any:
        self._ask()
        return SimpleNamespace(rss=self.megabytes * MEGABYTE, pss=self.megabytes * MEGABYTE / 2)


@pytest.fixture
def watch(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Callable[[Process], SystemSampler]:
    """Returns ``watch(process)``: a sampler of it, on a machine of four processors and 1000 megabytes."""

    def watch(process: Process) -> SystemSampler:
        monkeypatch.setattr(psutil, "Process", {7: process}.__getitem__)
        monkeypatch.setattr(psutil, "cpu_count", lambda: 4)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=1000 * MEGABYTE))
        return SystemSampler(7, clock)

    return watch


def cpu(sampler: SystemSampler) -> float | None:
    return sampler.sample().get("system/cpu_utilization_percentage")


def memory(sampler: SystemSampler) -> tuple[float | None, float | None]:
    sample = sampler.sample()
    return sample.get("system/system_memory_usage_megabytes"), sample.get("system/system_memory_usage_percentage")


# --- names -------------------------------------------------------------------------------------------------------------


class FakeNvml(ModuleType):
    """Two GPUs; the second does not tell what power it takes."""

    class NVMLError(Exception):
        pass

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.open = 0

    def nvmlInit(self) -> None:
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return SimpleNamespace(used=250 * MEGABYTE, total=1000 * MEGABYTE)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        return SimpleNamespace(gpu=40 + handle)

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        if handle:
            raise self.NVMLError("Not Supported")
        return 50_000

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: int) -> int:
        return 200_000


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    nvml = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    return nvml


def test_the_names_are_mlflows(nvml: FakeNvml, clock: Clock, monkeypatch: pytest.MonkeyPatch):
    from mlflow.system_metrics.metrics import cpu_monitor, disk_monitor, gpu_monitor, network_monitor

    monkeypatch.setattr(gpu_monitor, "pynvml", nvml, raising=False)
    theirs: set[str] = set()
    for monitor in (
        cpu_monitor.CPUMonitor(),
        disk_monitor.DiskMonitor(),
        gpu_monitor.GPUMonitor(),
        network_monitor.NetworkMonitor(),
    ):
        monitor.collect_metrics()
        theirs |= {f"system/{name}" for name in monitor.aggregate_metrics()}
    sampler = SystemSampler(os.getpid(), clock)
    clock.now += 10
    assert sampler.sample().keys() == theirs


def test_gpus_tell_what_they_can(nvml: FakeNvml, caplog: pytest.LogCaptureFixture):
    sampler = SystemSampler(os.getpid())
    for _ in range(3):
        sample = {name: value for name, value in sampler.sample().items() if "gpu" in name}
    assert sample == {
        "system/gpu_0_memory_usage_percentage": 25.0,
        "system/gpu_0_memory_usage_megabytes": 250.0,
        "system/gpu_0_utilization_percentage": 40,
        "system/gpu_0_power_usage_watts": 50.0,
        "system/gpu_0_power_usage_percentage": 25.0,
        "system/gpu_1_memory_usage_percentage": 25.0,
        "system/gpu_1_memory_usage_megabytes": 250.0,
        "system/gpu_1_utilization_percentage": 41,
    }
    assert caplog.text.count("Not Supported") == 1
    sampler.close()
    sampler.close()
    assert nvml.open == 0
    assert not [name for name in sampler.sample() if "gpu" in name]


@pytest.mark.parametrize("missing", ["no library", "no driver"])
def test_without_gpus_there_are_no_metrics_of_gpus(nvml: FakeNvml, missing: str, monkeypatch: pytest.MonkeyPatch):
    def fail() -> None:
        raise nvml.NVMLError("NVML Shared Library Not Found")

    if missing == "no library":
        monkeypatch.setitem(sys.modules, "pynvml", None)
    else:
        monkeypatch.setattr(nvml, "nvmlInit", fail)
    sampler = SystemSampler(os.getpid())
    assert not [name for name in sampler.sample() if "gpu" in name]
    sampler.close()


def test_without_psutil_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "psutil", None)
    with pytest.raises(SystemMetricsUnavailable, match=r"mistk-service\[system\]"):
        SystemSampler(os.getpid())


# --- the worker's processes --------------------------------------------------------------------------------------------


def test_the_use_of_processors_is_that_of_all_processes_since_the_last_sample(
    watch: Callable[[Process], SystemSampler], clock: Clock
):
    grandchild = Process(seconds=100)
    worker = Process(50, 0, Process(30, 0, grandchild))
    sampler = watch(worker)
    clock.now += 10
    worker.seconds += 5
    grandchild.seconds += 5
    assert cpu(sampler) == 25.0  # ten seconds of forty
    clock.now += 10
    assert cpu(sampler) == 0.0


def test_what_a_process_took_that_has_ended_since_counts_and_counts_once(
    watch: Callable[[Process], SystemSampler], clock: Clock
):
    child = Process(seconds=8)
    worker = Process(0, 0, child)
    sampler = watch(worker)
    clock.now += 10
    worker.started.clear()
    worker.waited_for = 12.0  # four of them in the last ten seconds
    assert cpu(sampler) == 10.0


def test_a_process_that_goes_with_its_time_makes_no_negative_use(
    watch: Callable[[Process], SystemSampler], clock: Clock
):
    worker = Process(1, 0, Process(seconds=1000))
    sampler = watch(worker)
    clock.now += 10
    worker.started.clear()
    assert cpu(sampler) == 0.0
    clock.now += 10
    worker.seconds += 4
    assert cpu(sampler) == 10.0


def test_the_use_of_processors_is_not_told_for_a_moment(watch: Callable[[Process], SystemSampler], clock: Clock):
    """The system's count is coarse; what was taken in the moment belongs to the next sample."""
    worker = Process()
    sampler = watch(worker)
    clock.now += 0.01
    worker.seconds += 0.01
    assert cpu(sampler) is None
    clock.now += 0.99
    worker.seconds += 0.99
    assert cpu(sampler) == 25.0


def test_memory_that_processes_share_counts_once(watch: Callable[[Process], SystemSampler]):
    alone, together = Process(0, 100), Process(0, 100, Process(0, 300))
    assert memory(watch(alone)) == (100.0, 10.0)
    assert memory(watch(together)) == (200.0, 20.0)


@pytest.mark.parametrize("error", [psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied])
def test_a_process_that_vanishes_is_left_out_and_the_others_are_measured(
    watch: Callable[[Process], SystemSampler], clock: Clock, error: Callable[[int], psutil.Error]
):
    child = Process(0, 300)
    worker = Process(0, 100, child)
    sampler = watch(worker)
    clock.now += 10
    worker.seconds += 4
    child.error = error(8)
    sample = sampler.sample()
    assert sample["system/cpu_utilization_percentage"] == 10.0
    assert sample["system/system_memory_usage_megabytes"] == 50.0


def test_what_the_machine_does_not_tell_is_left_out_alone(monkeypatch: pytest.MonkeyPatch):
    def refuse(path: str) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(psutil, "disk_usage", refuse)
    monkeypatch.setattr(psutil, "net_io_counters", lambda: None)
    sample = SystemSampler(os.getpid()).sample()
    # The processor's share is there as soon as the clocks have moved on since the sampler was made.
    sample.pop("system/cpu_utilization_percentage", None)
    assert sample.keys() == {"system/system_memory_usage_megabytes", "system/system_memory_usage_percentage"}


def test_the_network_is_counted_from_the_start(monkeypatch: pytest.MonkeyPatch):
    counters = SimpleNamespace(bytes_recv=5 * MEGABYTE, bytes_sent=MEGABYTE)
    monkeypatch.setattr(psutil, "net_io_counters", lambda: counters)
    sampler = SystemSampler(os.getpid())
    counters.bytes_recv += 2 * MEGABYTE
    sample = sampler.sample()
    assert sample["system/network_receive_megabytes"] == 2.0
    assert sample["system/network_transmit_megabytes"] == 0.0


# --- real processes ----------------------------------------------------------------------------------------------------

FORKS = """
import os, sys
data = bytearray(os.urandom(1 << 20) * 60)
children = []
for _ in range(3):
    if os.fork() == 0:
        sys.stdin.read()
        os._exit(0)
print("forked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def forks() -> Iterator[subprocess.Popen[str]]:
    """A process with sixty megabytes that it shares with three children."""
    code = [sys.executable, "-c", FORKS]
    with subprocess.Popen(code, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "forked\n"
        yield process


@pytest.mark.skipif(not psutil.LINUX, reason="elsewhere nobody tells what memory processes share")
def test_real_processes_are_measured_with_their_children(forks: subprocess.Popen[str], clock: Clock):
    sampler = SystemSampler(forks.pid, clock)
    clock.now += 1
    sample = sampler.sample()
    assert 60 < sample["system/system_memory_usage_megabytes"] < 120
    assert 0 <= sample["system/cpu_utilization_percentage"] <= 100


def test_a_worker_that_has_ended_takes_nothing_and_breaks_nothing(forks: subprocess.Popen[str], clock: Clock):
    sampler = SystemSampler(forks.pid, clock)
    forks.kill()
    forks.wait()
    clock.now += 1
    for late in (sampler, SystemSampler(forks.pid, clock)):
        sample = late.sample()
        assert "system/disk_usage_percentage" in sample
        assert not [name for name in sample if "cpu" in name or "memory" in name]
