"""``mistk.utils.file_utils``: checks of the files that an evaluation reads, as CSV or JSON."""

from __future__ import annotations

from mistk_service.mistk_names.utils.csv_utils import found_in, validate_csv
from mistk_service.mistk_names.utils.json_utils import validate_json

__all__ = ["validate_groundtruth", "validate_predictions"]


def validate_predictions(file_path: str) -> bool:
    """Return whether a file, or ``predictions.csv`` or ``predictions.json`` in a folder, is valid."""
    return _validate(file_path, "predictions")


def validate_groundtruth(file_path: str) -> bool:
    """Return whether a file, or ``ground_truth.csv`` or ``ground_truth.json`` in a folder, is valid."""
    return _validate(file_path, "ground_truth")


def _validate(path: str, name: str) -> bool:
    file = found_in(path, f"{name}.csv", f"{name}.json")
    checks = {".csv": validate_csv, ".json": validate_json}
    return file is not None and file.suffix in checks and checks[file.suffix](str(file))
