"""Creates workers as the settings describe."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from mistk_service.app.settings import Settings
from mistk_service.errors import SettingsError
from mistk_service.kinds import Kind
from mistk_service.workers.host.environment import worker_environment
from mistk_service.workers.host.hardware import gpus, processors, replica_environment
from mistk_service.workers.host.process import ProcessWorker
from mistk_service.workers.host.thread import ThreadWorker
from mistk_service.workers.protocol import Worker, WorkerFactory, WorkerListener


def replica_count(settings: Settings, kind: Kind) -> int:
    """Return the number of processes that answer predictions.

    Raises:
        SettingsError: the kind of container has no replicas.
    """
    if settings.replicas != "auto":
        count = int(settings.replicas)
    elif settings.worker == "ray":
        from mistk_service.workers.host.ray_worker import (
            replica_capacity,  # it needs an extra, and takes a second to load
        )

        count = replica_capacity(settings.worker_cpus, settings.worker_gpus)
    else:
        count = len(gpus(os.environ)) or processors()
    if settings.replicas != "1" and not kind.has_replicas:
        raise SettingsError(
            f"--replicas: only models have replicas, and {settings.model} is of the kind {kind.name}. Leave the option out."
        )
    return count


def worker_factory(
    kind: Kind,
    settings: Settings,
    replicas: int,
    spool: str | None,
    umask: int,
    on_output: Callable[[str], None],
    on_drain: Callable[[], None],
) -> WorkerFactory:
    """Return the factory of the workers, which copy artifacts to the folder ``spool``, if any.

    ``on_output`` receives each line that a worker process prints, on another thread. ``on_drain`` is called if the machine of
    the worker, not of a replica, is about to leave Ray's cluster.
    """
    passed = kind.secrets.union(settings.worker_env)
    environment = worker_environment(os.environ, passed)
    of_process: dict[str, Any] = {
        "log_level": settings.log_level,
        "log_format": settings.log_format,
        "log_libraries": settings.log_libraries,
        "umask": umask,
    }

    def options(slot: int | None) -> dict[str, Any]:
        # What replicas report is dropped, so they copy no artifacts.
        return {"spool": spool if slot is None else None, "mistk_names": settings.mistk_names}

    def make_thread(listener: WorkerListener, slot: int | None) -> Worker:
        return ThreadWorker(settings.model, listener, **options(slot))

    def make_process(listener: WorkerListener, slot: int | None) -> Worker:
        own = environment if slot is None else replica_environment(environment, slot, replicas)
        return ProcessWorker(
            settings.model, listener, environment=own, on_output=on_output, **of_process, **options(slot)
        )

    def make_actor(listener: WorkerListener, slot: int | None) -> Worker:
        from mistk_service.workers.host.ray_worker import RayWorker  # it needs an extra, and takes a second to load

        return RayWorker(
            settings.model,
            listener,
            cpus=settings.worker_cpus,
            gpus=settings.worker_gpus,
            variables={name: os.environ[name] for name in passed if name in os.environ},
            on_output=on_output,
            on_drain=on_drain if slot is None else None,
            spread=slot is not None,
            **of_process,
            **options(slot),
        )

    return {"thread": make_thread, "process": make_process, "ray": make_actor}[settings.worker]
