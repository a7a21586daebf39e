"""The settings of a container, created once by the command line and passed down. Nothing else reads the environment."""

from __future__ import annotations

import math
import re
from dataclasses import KW_ONLY, dataclass
from typing import Literal
from urllib.parse import urlsplit

import click

from mistk_service.command_line import PORT, POSITIVE, SECONDS, ListenSettings, Rule, option, warn_of_password
from mistk_service.errors import SettingsError

#: The schemes of tracking servers, and of the container's own store.
_REMOTE, _LOCAL = ("http", "https"), ("sqlite", "postgresql", "postgres")

#: The names of the prediction APIs, and of the lifecycle API.
DOORS = ("mistk", "inference", "kserve", "invocations", "vertex", "openai")

#: Each replica is a process with its own copy of the model, and few machines have more processors than that.
_MOST_REPLICAS = 1024

_REPLICAS = Rule(
    lambda count: (
        count == "auto" or (re.fullmatch("[0-9]{1,4}", count) is not None and 1 <= int(count) <= _MOST_REPLICAS)
    ),
    f"a number from 1 to {_MOST_REPLICAS}, or auto",
)

_AMOUNT = Rule(lambda amount: 0 <= amount < math.inf, "0 or a positive number")

_ROUTE = Rule(re.compile(r"(/[\w.~:-]+)+", re.ASCII).fullmatch, "a path such as /predict")

#: A name that needs no escape in the path of a URL.
_MODEL_NAME = Rule(re.compile(r"[\w.-]+", re.ASCII).fullmatch, "letters, digits, and any of . _ -")

#: Segments of unreserved characters, without a slash at the end.
_ROOT_PATH = Rule(re.compile(r"(/[\w.~-]+)*", re.ASCII).fullmatch, "a path such as /models/digits")


def without_password(uri: str) -> str:
    """Return a URI without its password, for messages."""
    # A password may hold an @ or a / itself, so the last @ counts.
    return re.sub(r"//.*@", "//***@", uri, flags=re.DOTALL)


def _shown_address(uri: str) -> str:
    """Return a malformed address without its password, which may reach into its apparent host or path."""
    return f"{_scheme(uri)}://***" if "@" in uri else re.sub(r"([?#]).*", r"\1***", uri, flags=re.DOTALL)


def _is_bare_word(uri: str) -> bool:
    """Return whether a URI may be meant for a server or a profile (``mlflow.example.org``, ``databricks``) or for a file."""
    return not set(":/\\") & set(uri) and not uri.endswith((".db", ".sqlite", ".sqlite3"))


def _is_address(uri: str) -> bool:
    """Return whether a tracking server's URI can be parsed completely."""
    try:
        parts = urlsplit(uri)
        host = parts.hostname or ""
        plain = "," not in host and "@" not in parts.path and not re.search(r"[\s?#]", uri)
        return bool(host) and plain and parts.port != 0
    except ValueError:
        return False


def _scheme(uri: str) -> str:
    """Return what kind of store a URI names; a path is an SQLite file's."""
    scheme = uri.partition(":")[0].partition("+")[0].lower() if ":" in uri else ""
    return scheme or "sqlite"


_TRACKING_URI_RULES = (
    Rule(
        lambda uri: _scheme(uri) in (*_REMOTE, *_LOCAL),
        "sqlite:///FILE, postgresql://HOST/DATABASE, a file's path, or the http(s):// address of a tracking server",
        without_password,
    ),
    Rule(
        lambda uri: _scheme(uri) not in _REMOTE or _is_address(uri),
        "http(s)://HOST, with a port and a path if needed, without a query or a fragment, and with blanks between several "
        "addresses; in a username or a password before the host, / ? # are written as %2F %3F %23",
        _shown_address,
    ),
    Rule(
        lambda uri: re.fullmatch(r"sqlite[^:]*:/*(:memory:)?", uri) is None,
        "sqlite:///FILE; a store in memory would be lost with the container",
    ),
    Rule(
        lambda uri: not _is_bare_word(uri),
        "http(s)://HOST for a tracking server; ./{value} or sqlite:///{value} for an SQLite file in this folder",
    ),
)


@dataclass(frozen=True)
class Settings(ListenSettings):
    """How a container serves its model. Each field but ``model`` is an option of ``mistk-service serve``.

    Attributes:
        model: the reference of the model class; see :mod:`mistk_service.workers.child.loader`.
    """

    model: str
    _: KW_ONLY
    port: int = option(
        8080,
        "Port to listen on; 0 picks a free one.",
        PORT,
        env=("AIP_HTTP_PORT", "SAGEMAKER_BIND_TO_PORT", "MISTK_PORT"),
    )
    root_path: str = option(
        "",
        "Path under which a reverse proxy serves the container, such as /models/digits.",
        _ROOT_PATH,
    )
    build_from: str | None = option(
        None,
        "Build the model at startup from this folder or archive, from a URL (https://, s3://, gs:// ...), or from "
        "models:/NAME@ALIAS or runs:/ID/PATH of the tracking store. The folders of SageMaker and KServe are found without it.",
        env=("MISTK_BUILD_FROM", "AIP_STORAGE_URI", "AZUREML_MODEL_DIR"),
    )
    hyperparameters: str | None = option(
        None, "Build the model at startup, with the hyperparameters in this JSON or YAML file.", metavar="FILE"
    )
    properties: str | None = option(
        None, "Build the model at startup, with the model properties in this JSON or YAML file.", metavar="FILE"
    )
    data: str | None = option(
        None,
        "Build the model at startup, with the datasets in this JSON or YAML file: paths, URLs or datasets, by name.",
        metavar="FILE",
    )
    data_root: tuple[str, ...] = option(
        (),
        "Allow requests to read data below this folder or URI. Repeatable. By default, every path is allowed on loopback, and "
        "none on other addresses if clients have to log in.",
    )
    model_root: tuple[str, ...] = option((), "Allow requests to load models below this folder or URI, in the same way.")
    output_root: tuple[str, ...] = option((), "Allow requests to write below this folder or URI, in the same way.")
    max_watches: int = option(4096, "Maximum number of open watches; more are answered with 503.", POSITIVE)
    worker: Literal["process", "thread", "ray"] = option(
        "process",
        "Run the model in a separate process, in a thread for debugging, or in an actor of Ray. ray needs the extra ray.",
    )
    ray_address: str | None = option(
        None,
        "Ray cluster of the workers: HOST:PORT, or auto for the one that this machine is part of. By default, the "
        "service starts its own.",
        env=("MISTK_RAY_ADDRESS", "RAY_ADDRESS"),
        metavar="ADDRESS",
    )
    worker_cpus: float | None = option(
        None,
        "Processors that Ray reserves for each worker; by default as many as Ray reserves for an actor.",
        _AMOUNT,
    )
    worker_gpus: float = option(0.0, "GPUs that Ray reserves for each worker, which sees no others.", _AMOUNT)
    replicas: str = option(
        "1",
        f"Processes that answer predictions, at most {_MOST_REPLICAS}. With more than one, each is a further process with the "
        "model. auto: one for each GPU, or for each processor if there are no GPUs.",
        _REPLICAS,
        metavar="N|auto",
    )
    grace: float = option(
        10.0,
        "Maximum seconds for a graceful shutdown (also on SIGTERM) or a reset, including the running activity.",
        SECONDS,
    )
    max_queue: int = option(
        1024, "Maximum number of stream predictions in flight; more are answered with 503.", POSITIVE
    )
    stream_timeout: float | None = option(
        None, "Seconds until a stream prediction is answered with 504, waiting included. No limit by default.", SECONDS
    )
    keepalive: float = option(5.0, "Seconds between keep-alive spaces on a watch without events.", SECONDS)
    log_libraries: bool = option(False, "Apply --log-level to libraries too.")
    worker_env: tuple[str, ...] = option(
        (),
        "Pass this environment variable to the model even if it holds a secret of MLflow, AWS or the service. Repeatable.",
        metavar="NAME",
    )
    mistk_names: bool = option(
        True, "Offer the names of MISTK's package (import mistk...) to the model if MISTK is not installed."
    )
    url_file: str | None = option(
        None,
        "Write the service's address to this file once it listens, and remove the file on exit. For programs that start "
        "a container on port 0.",
        type=click.Path(dir_okay=False),
    )
    stdin_lifeline: bool = option(
        False, "Shut down when standard input, a pipe, is closed. For programs that start a container."
    )
    tracking: bool = option(True, "Serve a tracking store with MLflow's REST API on the same port.")
    tracking_uris: tuple[str, ...] = option(
        (),
        "The tracking store: sqlite:///FILE or postgresql://HOST/DATABASE; by default a file in the state directory. Repeat "
        "it with http(s):// addresses of tracking servers that receive a copy of everything.",
        *_TRACKING_URI_RULES,
        flag="tracking-uri",
        env=("MISTK_TRACKING_URI", "MLFLOW_TRACKING_URI"),
        secret=True,  # addresses may contain passwords
        callback=warn_of_password,
    )
    mlflow_ui: bool = option(False, "Serve MLflow's own web pages at /mlflow/, from an installed mlflow.")
    state_dir: str = option("mistk-state", "Folder for the tracking store, the artifacts and the access tokens.")
    run_lease: float = option(
        30.0,
        "Seconds after which other containers that share a PostgreSQL store may end the runs of this one, if it was killed or "
        "cannot reach the store.",
        SECONDS,
    )
    artifact_locations: tuple[str, ...] = option(
        (),
        "Allow artifacts below this URI, such as s3://BUCKET/PREFIX, for experiments created with such a location. "
        "Repeatable. By default the service writes artifacts to the state directory only.",
        flag="artifact-location",
        env="MISTK_ARTIFACT_LOCATIONS",
    )
    experiment_name: str | None = option(
        None,
        "Experiment of the runs, created if missing. By default it is named after the model class.",
        env="MLFLOW_EXPERIMENT_NAME",
    )
    experiment_id: str | None = option(
        None, "Id of the experiment of the runs; takes precedence over the name.", env="MLFLOW_EXPERIMENT_ID"
    )
    run_name: str | None = option(None, "Name of the runs.", env="MLFLOW_RUN_NAME")
    run_id: str | None = option(None, "Id of a run to resume.", env="MLFLOW_RUN_ID")
    system_metrics: bool | None = option(
        None,
        "Log processor, memory, disk, network and GPU usage while the model works. On by default if psutil is installed.",
        env="MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING",
    )
    system_metrics_interval: float = option(
        10.0, "Seconds between two system measurements.", SECONDS, env="MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL"
    )

    model_name: str | None = option(
        None,
        "Name of the model for the prediction APIs. By default, its name in the registry if it is built from there, else the "
        "class's name in snake case.",
        _MODEL_NAME,
    )
    model_version: str | None = option(
        None,
        "Version of the model for the prediction APIs. By default, its version in the registry, else 1.",
        _MODEL_NAME,
    )
    doors: tuple[str, ...] = option(
        (),
        "Serve this prediction API; mistk is the lifecycle API, which is always served. Repeatable. All by default.",
        Rule(DOORS.__contains__, f"one of {', '.join(DOORS)}"),
    )
    grpc_port: int | None = option(
        None,
        "Port for the Open Inference Protocol over gRPC; 0 picks a free one. None by default. Needs the extra grpc.",
        PORT,
    )
    vertex_health_route: str | None = option(None, "Path of Vertex AI's health checks.", _ROUTE, env="AIP_HEALTH_ROUTE")
    vertex_predict_route: str | None = option(None, "Path of Vertex AI's predictions.", _ROUTE, env="AIP_PREDICT_ROUTE")

    def __post_init__(self) -> None:
        super().__post_init__()
        own = [uri for uri in self.tracking_uris if _scheme(uri) in _LOCAL]
        if len(own) > 1:
            raise SettingsError(
                f"--tracking-uri: {[without_password(uri) for uri in own]!r} cannot be used; expected at most one store of "
                "the container's own."
            )

    @property
    def local_tracking_uri(self) -> str | None:
        """The store of the container's own, if one was named."""
        return next((uri for uri in self.tracking_uris if _scheme(uri) in _LOCAL), None)

    @property
    def remote_tracking_uris(self) -> tuple[str, ...]:
        """The tracking servers."""
        return tuple(uri for uri in self.tracking_uris if _scheme(uri) in _REMOTE)
