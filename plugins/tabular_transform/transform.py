"""The transform plugin: reads tables, fits and applies the steps, and writes the results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from mistk_service import AbstractTransformPlugin, MistkDataset, RequestError

from .steps import Deduplicate, Step, Tables, parsed_steps, wire_of
from .tables import joined, read_table, write_tables

__all__ = ["TabularTransform"]

_FORMATS = ("csv", "parquet")


class TabularTransform(AbstractTransformPlugin):
    """Splits, scales, one-hot encodes and deduplicates tables in CSV or Parquet.

    The properties of a request are ``steps``, the steps in order or the path of a ``transform.json``, and ``format``, ``csv``
    or ``parquet``. The README describes the steps.
    """

    def do_transform(
        self,
        inputDirs: list[MistkDataset],  # noqa: N803 - MISTK's name
        outputDir: MistkDataset | None,  # noqa: N803 - MISTK's name
        properties: dict[str, Any],
    ) -> None:
        """Join the input tables, apply the steps, and write the tables and the fitted transform.

        Raises:
            RequestError: an argument or a file cannot be used. Nothing is written then.
        """
        if outputDir is None or outputDir.data_path is None:
            raise RequestError(
                "outputDataset.dataPath: it is missing; expected a folder.", field="outputDataset.dataPath"
            )
        steps = _steps(properties)
        asked = json.dumps([wire_of(step) for step in steps], ensure_ascii=False)
        tables, form = _inputs(inputDirs)
        form = _format(properties.get("format", form))
        counts: dict[str, int] = {}
        for index, step in enumerate(self.steps(steps, "steps")):
            rows = _rows(tables)
            tables = _applied(step, tables, f"properties.steps[{index}]")
            if isinstance(step, Deduplicate):
                counts["duplicates"] = counts.get("duplicates", 0) + rows - _rows(tables)
        fitted = {"steps": [wire_of(step) for step in steps if step.is_fitted]}
        try:
            write_tables(
                Path(outputDir.data_path), tables, form, json.dumps(fitted, indent=2, ensure_ascii=False) + "\n"
            )
        except (OSError, pl.exceptions.PolarsError) as error:
            raise RequestError(
                f"outputDataset.dataPath: {outputDir.data_path} cannot be written: {error}.",
                field="outputDataset.dataPath",
            ) from error
        self.report_params({"steps": asked, "format": form})
        counts |= {f"rows/{name}": table.height for name, table in tables.items()}
        counts |= {f"columns/{name}": table.width for name, table in tables.items()}
        self.report_metrics(counts)


def _rows(tables: Tables) -> int:
    return sum(table.height for table in tables.values())


def _applied(step: Step, tables: Tables, field: str) -> Tables:
    try:
        step.fit(next(iter(tables.values())))
        return step.apply(tables)
    except (ValueError, pl.exceptions.PolarsError) as error:
        raise RequestError(f"{field}: {error}.", field=field) from error


def _steps(properties: dict[str, Any]) -> list[Step]:
    unknown = sorted(properties.keys() - {"steps", "format"} - {key for key in properties if key.startswith("mlflow.")})
    if unknown:
        raise RequestError(f"properties.{unknown[0]}: it is not known; expected steps and format.", field="properties")
    wire, field = properties.get("steps"), "properties.steps"
    if isinstance(wire, str):
        try:
            wire = json.loads(Path(wire).read_bytes())["steps"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RequestError(
                f"{field}: {wire} is not a fitted transform ({error}); expected the path of a transform.json.",
                field=field,
            ) from error
    return parsed_steps(wire, field)


def _inputs(datasets: list[MistkDataset]) -> tuple[Tables, str]:
    """Return the joined table and the format of the first one."""
    if not datasets:
        raise RequestError("inputDatasets: the list is empty; expected at least one dataset.", field="inputDatasets")
    fields = [f"inputDatasets[{index}].dataPath" for index in range(len(datasets))]
    read = [read_table(dataset.data_path, field) for dataset, field in zip(datasets, fields, strict=True)]
    return {"data": joined([table for table, _ in read], fields)}, read[0][1]


def _format(form: Any) -> str:
    if form not in _FORMATS:
        raise RequestError(f"properties.format: {form!r:.40}; expected csv or parquet.", field="properties.format")
    return str(form)
