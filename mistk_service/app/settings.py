"""The settings of a service, made once at the edge and passed down. Nothing else in a service reads the environment."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from mistk_service.errors import SettingsError

__all__ = ["Settings", "without_password"]

#: The schemes of tracking servers, and of stores of the container's own.
_REMOTE, _LOCAL = ("http", "https"), ("sqlite", "postgresql", "postgres")

#: A name or an address as a Host header has it, or a pattern of names.
_HOST_PATTERN = re.compile(r"\*|(\*\.)?[\w.-]+|\[[0-9a-fA-F:.]+\]")

#: Segments of unreserved characters, without a slash at the end.
_ROOT_PATH = re.compile(r"(/[\w.~-]+)*", re.ASCII)


@dataclass(frozen=True)
class Settings:
    """How a container serves its model.

    Attributes:
        model: the reference of the model class; see :mod:`mistk_service.workers.child.loader`.
        host: the address to listen on; loopback unless told otherwise, since there is no authentication.
        allowed_hosts: further names that the service is reached under; see :class:`~mistk_service.web.cross_site.Origins`.
        root_path: the path below which a reverse proxy serves the service, such as ``/models/digits``.
        port: the port to listen on; 0 for any that is free.
        worker: ``process``, or ``thread`` for debugging.
        grace: seconds that an activity gets to end by itself at a reset, a shutdown or SIGTERM.
        max_body: the largest request body in bytes.
        max_queue: how many stream predictions may be in flight.
        stream_timeout: seconds that a stream prediction may take, waiting included; None for any number.
        keep_alive_timeout: seconds that a connection is kept open for a further request.
        max_connections: how many connections may be open.
        keepalive: seconds between two signs of life on a watch where nothing happens.
        log_level: of the service and of the worker.
        log_format: of their log: ``text``, or ``json`` for a JSON object a line.
        log_libraries: whether the level is for the libraries in use too.
        worker_env: names of variables that the worker gets although they are secret.
        url_file: a file to write the address to, as soon as the service listens; removed at the end.
        stdin_lifeline: whether the end of standard input, a pipe, shuts the service down.
        tracking: whether the container keeps a tracking store, serves it, and writes its runs to it.
        tracking_uris: at most one store of its own (SQLite, PostgreSQL), by default an SQLite file in the state directory, and
            any number of tracking servers (http, https).
        state_dir: the folder for what outlives the process: the store and its artifacts.
        artifact_locations: URIs below which artifacts of runs may be kept too, for experiments that clients made with such an
            ``artifact_location``; besides them there is the state directory alone.
        experiment_name: the experiment of the runs; None for one that is named after the model class.
        experiment_id: the experiment of the runs; counts more than a name.
        run_name: the name of the runs.
        run_id: a run to go on with.
        system_metrics: whether the worker's use of the machine is tracked; None where it is if psutil is installed.
        system_metrics_interval: seconds between two measurements of it.
    """

    model: str
    host: str = "127.0.0.1"
    port: int = 8080
    allowed_hosts: tuple[str, ...] = ()
    root_path: str = ""
    worker: Literal["process", "thread"] = "process"
    grace: float = 10.0
    max_body: int = 64 * 1024 * 1024
    max_queue: int = 1024
    stream_timeout: float | None = None
    keep_alive_timeout: float = 75.0
    max_connections: int = 4096
    keepalive: float = 5.0
    log_level: str = "info"
    log_format: str = "text"
    log_libraries: bool = False
    worker_env: tuple[str, ...] = ()
    url_file: str | None = None
    stdin_lifeline: bool = False
    tracking: bool = True
    tracking_uris: tuple[str, ...] = field(default=(), repr=False)  # there may be passwords in them
    state_dir: str = "mistk-state"
    artifact_locations: tuple[str, ...] = ()
    experiment_name: str | None = None
    experiment_id: str | None = None
    run_name: str | None = None
    run_id: str | None = None
    system_metrics: bool | None = None
    system_metrics_interval: float = 10.0

    def __post_init__(self) -> None:
        _require(0 <= self.port <= 65535, "port", self.port, "a number from 0 to 65535")
        for name in self.allowed_hosts:
            expected = "a name or an address without a port, *.DOMAIN for all names below a domain, or * for all"
            _require(bool(_HOST_PATTERN.fullmatch(name)), "allowed-host", name, expected)
        _require(
            bool(_ROOT_PATH.fullmatch(self.root_path)), "root-path", self.root_path, "a path such as /models/digits"
        )
        _require(self.worker in ("process", "thread"), "worker", self.worker, "'process' or 'thread'")
        _require(0 < self.grace < math.inf, "grace", self.grace, "a positive number of seconds")
        _require(self.max_body > 0, "max-body", self.max_body, "a positive number of bytes")
        _require(self.max_queue > 0, "max-queue", self.max_queue, "a positive number")
        timeout = self.stream_timeout
        _require(timeout is None or 0 < timeout < math.inf, "stream-timeout", timeout, "a positive number of seconds")
        timeout = self.keep_alive_timeout
        _require(0 < timeout < math.inf, "keep-alive-timeout", timeout, "a positive number of seconds")
        _require(self.max_connections > 0, "max-connections", self.max_connections, "a positive number")
        _require(0 < self.keepalive < math.inf, "keepalive", self.keepalive, "a positive number of seconds")
        _require(
            0 < self.system_metrics_interval < math.inf,
            "system-metrics-interval",
            self.system_metrics_interval,
            "a positive number of seconds",
        )
        for uri in self.tracking_uris:
            _require(
                _scheme(uri) in (*_REMOTE, *_LOCAL),
                "tracking-uri",
                without_password(uri),
                "sqlite:///FILE, postgresql://HOST/DATABASE, a file's path, or the http(s):// address of a tracking server",
            )
            _require(
                _scheme(uri) not in _REMOTE or _is_address(uri),
                "tracking-uri",
                _shown_address(uri),
                "http(s)://HOST, with a port and a path where there are any and without a query or a fragment, and blanks "
                "between several addresses; in a username or a password before the host, the characters / ? # are written "
                "as %2F %3F %23",
            )
            _require(
                not _is_bare_word(uri),
                "tracking-uri",
                uri,
                f"http(s)://HOST for a tracking server; ./{uri} or sqlite:///{uri} for an SQLite file in this folder",
            )
        own = [uri for uri in self.tracking_uris if _scheme(uri) in _LOCAL]
        _require(
            len(own) <= 1,
            "tracking-uri",
            [without_password(uri) for uri in own],
            "at most one store of the container's own",
        )

    @property
    def local_tracking_uri(self) -> str | None:
        """The store of the container's own, if one was named."""
        return next((uri for uri in self.tracking_uris if _scheme(uri) in _LOCAL), None)

    @property
    def remote_tracking_uris(self) -> tuple[str, ...]:
        """The tracking servers."""
        return tuple(uri for uri in self.tracking_uris if _scheme(uri) in _REMOTE)


def without_password(uri: str) -> str:
    """Return a URI as it may be shown."""
    # A password may hold an @ or a / itself, so the last @ counts.
    return re.sub(r"//.*@", "//***@", uri, flags=re.DOTALL)


def _shown_address(uri: str) -> str:
    """Return a malformed address as it may be shown: what it takes for the host or the path may be a part of the password."""
    return f"{_scheme(uri)}://***" if "@" in uri else re.sub(r"([?#]).*", r"\1***", uri, flags=re.DOTALL)


def _is_bare_word(uri: str) -> bool:
    """Return whether a URI may be meant for a server or a profile (``mlflow.example.org``, ``databricks``) or for a file."""
    return not set(":/\\") & set(uri) and not uri.endswith((".db", ".sqlite", ".sqlite3"))


def _is_address(uri: str) -> bool:
    """Return whether a tracking server's URI can be taken apart without a rest."""
    try:
        parts = urlsplit(uri)
        host = parts.hostname or ""
        return (
            bool(host)
            and "," not in host
            and parts.port != 0
            and "@" not in parts.path
            and not re.search(r"[\s?#]", uri)
        )
    except ValueError:
        return False


def _scheme(uri: str) -> str:
    """Return what kind of store a URI names; a path is an SQLite file's."""
    scheme = uri.partition(":")[0].partition("+")[0].lower() if ":" in uri else ""
    return scheme or "sqlite"


def _require(condition: bool, setting: str, value: object, expected: str) -> None:
    if not condition:
        raise SettingsError(f"--{setting}: {value!r} cannot be used; expected {expected}.", setting=setting)
