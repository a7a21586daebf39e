"""The settings of a service, made once at the edge and passed down. Nothing else in a service reads the environment."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from mistk_service.errors import SettingsError

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """How a container serves its model.

    Attributes:
        model: the reference of the model class; see :mod:`mistk_service.loader`.
        host: the address to listen on; loopback unless told otherwise, since there is no authentication.
        port: the port to listen on; 0 for any that is free.
        worker: ``process``, or ``thread`` for debugging.
        grace: seconds that an activity gets to end by itself at a reset, a shutdown or SIGTERM.
        max_body: the largest request body in bytes.
        max_queue: how many stream predictions may be in flight.
        stream_timeout: seconds that a stream prediction may take, waiting included; None for any number.
        keepalive: seconds between two signs of life on a watch where nothing happens.
        log_level: of the service and of the worker.
        stdin_lifeline: whether the end of standard input, a pipe, shuts the service down.
        tracking: whether the container serves a tracking store.
        tracking_uri: the store's URI; None for an SQLite file in the state directory.
        state_dir: the folder for what outlives the process: the store and its artifacts.
    """

    model: str
    host: str = "127.0.0.1"
    port: int = 8080
    worker: Literal["process", "thread"] = "process"
    grace: float = 10.0
    max_body: int = 64 * 1024 * 1024
    max_queue: int = 1024
    stream_timeout: float | None = None
    keepalive: float = 5.0
    log_level: str = "info"
    stdin_lifeline: bool = False
    tracking: bool = True
    tracking_uri: str | None = None
    state_dir: str = "mistk-state"

    def __post_init__(self) -> None:
        _require(0 <= self.port <= 65535, "port", self.port, "a number from 0 to 65535")
        _require(self.worker in ("process", "thread"), "worker", self.worker, "'process' or 'thread'")
        _require(0 < self.grace < math.inf, "grace", self.grace, "a positive number of seconds")
        _require(self.max_body > 0, "max-body", self.max_body, "a positive number of bytes")
        _require(self.max_queue > 0, "max-queue", self.max_queue, "a positive number")
        timeout = self.stream_timeout
        _require(timeout is None or 0 < timeout < math.inf, "stream-timeout", timeout, "a positive number of seconds")
        _require(0 < self.keepalive < math.inf, "keepalive", self.keepalive, "a positive number of seconds")


def _require(condition: bool, setting: str, value: object, expected: str) -> None:
    if not condition:
        raise SettingsError(f"--{setting}: {value!r} cannot be used; expected {expected}.", setting=setting)
