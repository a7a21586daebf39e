"""The folders in which platforms put a model for its container.

SageMaker: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
KServe: https://kserve.github.io/website/ (storage initializer)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

#: Where KServe's storage initializer copies ``STORAGE_URI``.
_KSERVE = Path("/mnt/models")


def sagemaker_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder that SageMaker shares with a container."""
    return Path(environ.get("SAGEMAKER_BASE_DIR") or "/opt/ml")


def model_folder(environ: Mapping[str, str]) -> str | None:
    """Return the folder in which a platform has put the model, if one has."""
    for folder in (sagemaker_folder(environ) / "model", _KSERVE):
        if has_files(folder):
            return str(folder)
    return None


def has_files(folder: Path) -> bool:
    """Return whether a folder exists and is not empty."""
    return folder.is_dir() and any(folder.iterdir())
