"""Checks the prerequisites of a service that a retry would not fix."""

from __future__ import annotations

import importlib.util
import resource
import tempfile
from pathlib import Path

from mistk_service.app.settings import Settings
from mistk_service.errors import SettingsError
from mistk_service.logs import encodable

#: The least limit on open files. The service itself opens about 35, and one for each connection.
_OPEN_FILES = 64

#: The least limit on address space in bytes. The service reserves 1.3 GB of it, most of that for its threads.
_ADDRESS_SPACE = 2 * 1024**3


def require_limits() -> None:
    """Check the limits of this process. With less, anything that the service does later may fail.

    Raises:
        SettingsError: a limit is too low.
    """
    for limit, least, unit, remedy in (
        (resource.RLIMIT_NOFILE, _OPEN_FILES, "open files", f"ulimit -n {_OPEN_FILES}"),
        (resource.RLIMIT_AS, _ADDRESS_SPACE, "bytes of address space", f"ulimit -v {_ADDRESS_SPACE // 1024}"),
    ):
        soft, _ = resource.getrlimit(limit)
        if soft != resource.RLIM_INFINITY and soft < least:
            raise SettingsError(
                f"This process may have {soft} {unit}; expected at least {least}. Raise the limit where the service is "
                f"started ({remedy}), or remove it."
            )


def require_prerequisites(settings: Settings) -> None:
    """Create the state directory, for this user alone, and check that the packages for the options are installed.

    Raises:
        SettingsError: the directory cannot be created or written, or a package for an option is not installed.
    """
    if settings.grpc_port is not None and not (_is_installed("grpc") and _is_installed("grpc_health")):
        raise SettingsError(
            "--grpc-port: gRPC needs grpcio and grpcio-health-checking, which are not installed; install them with: "
            "pip install 'mistk-service[grpc]'."
        )
    if settings.worker == "ray" and not _is_installed("ray"):
        raise SettingsError("--worker ray: Ray is not installed; install it with: pip install 'mistk-service[ray]'.")
    if not settings.tracking:
        return
    if (settings.local_tracking_uri or "").startswith("postgres") and not _is_installed("psycopg"):
        raise SettingsError(
            "--tracking-uri: a PostgreSQL store needs psycopg, which is not installed; install it with: "
            "pip install 'mistk-service[postgres]'."
        )
    if settings.mlflow_ui and not _is_installed("mlflow"):
        raise SettingsError(
            "--mlflow-ui: the pages are in the package mlflow, which is not installed; install it with: pip install mlflow."
        )
    folder = Path(settings.state_dir).absolute()
    try:
        str(folder).encode()  # the store has the paths of artifacts
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, UnicodeEncodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its path is not valid UTF-8"
        raise SettingsError(
            f"--state-dir: the folder {encodable(str(folder))} cannot be written ({reason}); expected one that exists or "
            "can be created. Name another one, or turn tracking off (--no-tracking)."
        ) from error


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # something that is not a module has this name
        return False
