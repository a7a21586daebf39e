"""``mistk.utils.json_utils``: lists of records as files."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from mistk_service.mistk_names.data import MistkDataRecordList
from mistk_service.mistk_names.data.utils import deserialize_model, serialize_model

__all__ = ["json_to_mistk_data_record_list", "mistk_data_record_list_to_json_file", "validate_json"]

logger = logging.getLogger(__name__)


def validate_json(json_file: str) -> bool:
    """Return whether a file is a list of records, each with an identifier and values. Log what is wrong."""
    try:
        items = json.loads(Path(json_file).read_bytes())["items"]
        wrong = [number for number, each in enumerate(items) if each["recordId"] is None or each["values"] is None]
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.error("%s is not a list of records: %s", json_file, error)
        return False
    if wrong:
        logger.error("%s: record %d has no recordId or no values.", json_file, wrong[0])
    return not wrong


def json_to_mistk_data_record_list(json_file: str) -> Any:
    """Return the list of records in a file."""
    return deserialize_model(json.loads(Path(json_file).read_bytes()), MistkDataRecordList)


def mistk_data_record_list_to_json_file(records: Any, json_file: str, indent: int | str = "0") -> None:
    """Write a list of records to a file; an indent of 0 means a single line."""
    pretty = None if str(indent) == "0" else indent
    Path(json_file).write_text(json.dumps(serialize_model(records), indent=pretty), encoding="utf-8")
