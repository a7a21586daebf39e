"""``mistk.utils.csv_utils``: checks of the files that an evaluation reads."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

__all__ = ["found_in", "validate_csv", "validate_groundtruth_csv", "validate_predictions_csv"]

logger = logging.getLogger(__name__)


def found_in(path: str, *names: str) -> Path | None:
    """Return a file, or the first file of these names in a folder; None if there is none."""
    places = (Path(path), *(Path(path, name) for name in names))
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        logger.error("%s has no file %s.", path, " or ".join(names))
    return found


def validate_csv(csv_file: str) -> bool:
    """Return whether every row of a file has as many columns as the first. Log those that do not."""
    try:
        with open(csv_file, newline="", encoding="utf-8-sig") as file:
            rows = [(number, row) for number, row in enumerate(csv.reader(file), 1) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        logger.error("%s cannot be read: %s", csv_file, error)
        return False
    ragged = [number for number, row in rows if len(row) != len(rows[0][1])]
    if ragged:
        logger.error("%s: row %d does not have the same number of columns as row %d.", csv_file, ragged[0], rows[0][0])
    return bool(rows) and not ragged


def validate_predictions_csv(file_path: str) -> bool:
    """Return whether a file, or ``predictions.csv`` in a folder, is a valid table."""
    file = found_in(file_path, "predictions.csv")
    return file is not None and validate_csv(str(file))


def validate_groundtruth_csv(file_path: str) -> bool:
    """Return whether a file, or ``ground_truth.csv`` in a folder, is a valid table."""
    file = found_in(file_path, "ground_truth.csv")
    return file is not None and validate_csv(str(file))
