"""Reads and writes tables: CSV with a header, and Parquet."""

from __future__ import annotations

import contextlib
import csv
import os
from pathlib import Path

import polars as pl

from mistk_service import RequestError

from .steps import Tables

__all__ = ["read_table", "write_tables"]

_SUFFIXES = (".csv", ".parquet")


def read_table(path: str | None, field: str) -> tuple[pl.DataFrame, str]:
    """Return the table in a file, or in all tables of a folder one below the other, and its format (``csv``, ``parquet``).

    Raises:
        RequestError: there is no table, it is malformed, or the tables of a folder differ.
    """
    if path is None:
        raise RequestError(f"{field}: it is missing; expected the path of a table.", field=field)
    files = [Path(path)]
    if files[0].is_dir():
        files = sorted(each for each in files[0].iterdir() if each.suffix.lower() in _SUFFIXES and each.is_file())
    if not files or files[0].suffix.lower() not in _SUFFIXES:
        raise RequestError(
            f"{field}: {path} is not a table; expected a file .csv or .parquet, or a folder of them.", field=field
        )
    tables = [_read(file, field) for file in files]
    return joined(tables, [field] * len(files)), files[0].suffix.lower().lstrip(".")


def joined(tables: list[pl.DataFrame], fields: list[str]) -> pl.DataFrame:
    """Return tables one below the other.

    Raises:
        RequestError: their columns differ; ``fields`` are the names of their places.
    """
    for table, field in zip(tables, fields, strict=True):
        if table.columns != tables[0].columns:
            raise RequestError(
                f"{field}: its columns are {', '.join(table.columns):.200}; expected those of the first table, "
                f"{', '.join(tables[0].columns):.200}.",
                field=field,
            )
    try:
        return pl.concat(tables, how="vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        raise RequestError(f"{fields[0]}: the tables cannot be joined: {error}.", field=fields[0]) from error


def _read(file: Path, field: str) -> pl.DataFrame:
    try:
        if file.suffix.lower() == ".parquet":
            return pl.read_parquet(file)
        _require_table(file, field)
        # All rows decide on the types, so that a late text in a column of numbers is not an error.
        return pl.read_csv(file, infer_schema_length=None)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RequestError(f"{field}: {file} cannot be read: {error}.", field=field) from error


def _require_table(file: Path, field: str) -> None:
    """Check the header and the number of cells of each line. Polars would fill short lines, and not say which they are.

    Raises:
        RequestError: the file is not a table; the message names the line.
    """
    header: list[str] = []
    with file.open(encoding="utf-8-sig", newline="") as stream:
        rows = csv.reader(stream, strict=True)
        try:
            for row in rows:
                if not header:
                    header = row
                    problem = _header_problem(row)
                elif len(row) != len(header) and (row or len(header) > 1):
                    problem = f"it has {len(row)} cells; expected {len(header)}, as in the header"
                else:
                    continue
                if problem:
                    raise RequestError(f"{field}: line {rows.line_num} of {file}: {problem}.", field=field)
        except csv.Error as error:
            raise RequestError(f"{field}: line {rows.line_num} of {file} is not CSV ({error}).", field=field) from error
        except UnicodeDecodeError as error:
            raise RequestError(
                f"{field}: {file} is not UTF-8 after line {rows.line_num}; expected UTF-8.", field=field
            ) from error
    if not header:
        raise RequestError(f"{field}: {file} is empty; expected a header and rows.", field=field)


def _header_problem(row: list[str]) -> str | None:
    if all(map(_is_number, row)):
        return "it is not a header; expected the names of the columns"
    if "" in row or len(set(row)) < len(row):
        return "a name is empty or repeated; expected a different name for each column"
    return None


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return not cell
    return True


def write_tables(folder: Path, tables: Tables, form: str, transform: str) -> None:
    """Write each table to ``NAME.csv`` or ``NAME.parquet``, and the fitted transform to ``transform.json``.

    All files are complete before the first of them gets its name.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drafts: dict[Path, Path] = {}
    try:
        for name, table in tables.items():
            draft = drafts.setdefault(folder / f"{name}.{form}", folder / f".{name}.{os.getpid()}.tmp")
            if form == "csv":
                table.write_csv(draft)
            else:
                table.write_parquet(draft)
        draft = drafts.setdefault(folder / "transform.json", folder / f".transform.json.{os.getpid()}.tmp")
        draft.write_text(transform, encoding="utf-8")
        for target, each in drafts.items():
            each.replace(target)
    finally:
        with contextlib.suppress(OSError):
            for each in drafts.values():
                each.unlink(missing_ok=True)
