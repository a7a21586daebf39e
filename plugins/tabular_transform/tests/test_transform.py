"""The plugin splits, scales, encodes and deduplicates as asked, and refuses what it cannot use without writing anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tabular_transform import TabularTransform

from mistk_service import DetachedContext, MistkDataset, RequestError

Transform = Callable[..., dict[str, pl.DataFrame]]

COLORS = pl.DataFrame({"id": ["a", "b", "c", "d"], "x": [1.0, 2.0, 3.0, 6.0], "color": ["red", "blue", None, "red"]})


@pytest.fixture
def transform(tmp_path: Path) -> Transform:
    """Transforms a table, or the file at a path, and returns the tables that are written."""

    def run(data: pl.DataFrame | Path, *steps: Any, form: str = "csv", **properties: Any) -> dict[str, pl.DataFrame]:
        path = data if isinstance(data, Path) else tmp_path / f"input.{form}"
        if isinstance(data, pl.DataFrame):
            data.write_csv(path) if form == "csv" else data.write_parquet(path)
        output = tmp_path / "output"
        properties.setdefault("steps", list(steps))
        TabularTransform().do_transform(
            [MistkDataset(data_path=str(path))], MistkDataset(data_path=str(output)), properties
        )
        read: dict[str, Callable[[Path], pl.DataFrame]] = {".csv": pl.read_csv, ".parquet": pl.read_parquet}
        return {file.stem: read[file.suffix](file) for file in output.iterdir() if file.suffix in read}

    return run


def fitted(tmp_path: Path) -> Any:
    return json.loads((tmp_path / "output" / "transform.json").read_text())["steps"]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_equal_rows_are_removed_and_the_order_stays(transform: Transform, form: str) -> None:
    table = pl.DataFrame({"id": [3, 1, 3, 2, 1], "x": [0, 0, 0, 0, 1]})
    assert transform(table, {"deduplicate": {}}, form=form)["data"]["id"].to_list() == [3, 1, 2, 1]
    assert transform(table, {"deduplicate": {"columns": ["id"]}}, form=form)["data"]["id"].to_list() == [3, 1, 2]


@pytest.mark.parametrize(("method", "scaler"), [("standard", "StandardScaler"), ("minmax", "MinMaxScaler")])
def test_numbers_are_scaled_as_scikit_learn_does_it(transform: Transform, method: str, scaler: str) -> None:
    from sklearn import preprocessing

    rng = np.random.default_rng(1)
    values = np.column_stack([rng.normal(5, 3, 40), rng.integers(0, 9, 40), np.full(40, 7.0)])
    table = pl.DataFrame(values, schema=["a", "b", "c"]).with_columns(pl.lit("text").alias("d"))
    result = transform(table, {"scale": {"method": method}}, form="parquet")["data"]
    assert result.select("a", "b", "c").to_numpy() == pytest.approx(
        getattr(preprocessing, scaler)().fit_transform(values)
    )
    assert result["d"].to_list() == ["text"] * 40


def test_values_become_columns_of_zeros_and_ones(transform: Transform) -> None:
    result = transform(COLORS, {"one_hot": {"columns": ["color"]}})["data"]
    assert result.columns == ["id", "x", "color_blue", "color_red"]
    assert result["color_red"].to_list() == [1, 0, 0, 1]
    assert result["color_blue"].to_list() == [0, 1, 0, 0]


def test_after_a_split_the_first_part_decides_and_other_data_can_follow(transform: Transform, tmp_path: Path) -> None:
    table = pl.DataFrame({"x": [float(n) for n in range(100)], "kind": ["even", "odd"] * 50})
    steps: tuple[Any, ...] = (
        {"split": {"fractions": {"train": 0.8, "test": 0.2}, "seed": 3, "stratify": "kind"}},
        {"scale": {}},
    )
    parts = transform(table, *steps)
    assert {name: part.height for name, part in parts.items()} == {"train": 80, "test": 20}
    assert parts["test"]["kind"].value_counts().sort("kind").rows() == [("even", 10), ("odd", 10)]
    assert parts["train"]["x"].mean() == pytest.approx(0)
    assert parts["test"]["x"].mean() != pytest.approx(0)

    (step,) = fitted(tmp_path)
    later = transform(pl.DataFrame({"x": [0.0]}), steps=str(tmp_path / "output" / "transform.json"))["data"]
    assert later["x"].to_list() == [pytest.approx(-step["scale"]["center"]["x"] / step["scale"]["scale"]["x"])]


@given(st.integers(2, 60), st.integers(0, 5), st.floats(0.1, 0.9))
def test_a_split_keeps_each_row_once_and_is_repeatable(rows: int, seed: int, share: float) -> None:
    from tabular_transform.steps import Split

    table = pl.DataFrame({"x": range(rows)})
    split = Split({"a": share, "b": 1 - share}, seed)
    parts, again = split.apply({"data": table}), split.apply({"data": table})
    assert sorted(parts["a"]["x"].to_list() + parts["b"]["x"].to_list()) == list(range(rows))
    assert abs(parts["a"].height - share * rows) <= 1
    assert all(parts[name].equals(again[name]) for name in parts)


def test_several_inputs_are_joined_and_everything_is_reported(tmp_path: Path) -> None:
    for name in ("one", "two"):
        COLORS.write_csv(tmp_path / f"{name}.csv")
    plugin, context = TabularTransform(), DetachedContext()
    plugin.attach(context)
    inputs = [MistkDataset(data_path=str(tmp_path / f"{name}.csv")) for name in ("one", "two")]
    properties = {"steps": [{"deduplicate": {}}], "format": "parquet", "mlflow.runName": "clean"}
    plugin.do_transform(inputs, MistkDataset(data_path=str(tmp_path / "out")), properties)
    assert pl.read_parquet(tmp_path / "out" / "data.parquet").height == 4
    assert {key: value for key, value, _ in context.metrics} == {"duplicates": 4, "rows/data": 4, "columns/data": 3}
    assert context.params == {"steps": '[{"deduplicate": {}}]', "format": "parquet"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "is empty"),
        (b"a,b\n1,2\n1\n", "line 3 .*1 cells; expected 2"),
        (b"a,b\n1,2,3\n", "line 2 .*3 cells"),
        (b"1,2\n3,4\n", "line 1 .*not a header"),
        (b"a,a\n1,2\n", "line 1 .*repeated"),
        (b'a,b\n1,"2\n', "line 2 .*not CSV"),
        (b"a,b\n\xe9,2\n", "not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "not UTF-8"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_its_line(
    transform: Transform, tmp_path: Path, text: bytes, told: str
) -> None:
    (tmp_path / "bad.csv").write_bytes(text)
    with pytest.raises(RequestError, match=told) as caught:
        transform(tmp_path / "bad.csv", {"deduplicate": {}})
    assert caught.value.field == "inputDatasets[0].dataPath"
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ([], "properties.steps: "),
        ([{"sort": {}}], r"steps\[0\]: .*one of deduplicate, split, scale, one_hot"),
        ([{"deduplicate": {"columns": ["nowhere"]}}], r"steps\[0\]: there is no column 'nowhere'"),
        ([{"deduplicate": {"colums": ["id"]}}], "unknown field `colums`"),
        ([{"split": {"fractions": {"a": 0.5, "b": 0.2}}}], "add up to 0.7"),
        ([{"split": {"fractions": {"../a": 0.5, "b": 0.5}}}], "fractions"),
        (
            [{"deduplicate": {}}, {"scale": {"columns": ["color"]}}],
            r"steps\[1\]: columns: 'color' is of the type String",
        ),
        ([{"scale": {"method": "log"}}], "Invalid enum value 'log'"),
        ([{"one_hot": {"columns": ["color"]}}, {"one_hot": {"columns": ["color"]}}], "no column 'color'"),
        ("nowhere.json", "nowhere.json is not a fitted transform"),
    ],
)
def test_a_step_that_cannot_be_applied_is_refused(transform: Transform, tmp_path: Path, steps: Any, told: str) -> None:
    with pytest.raises(RequestError, match=told) as caught:
        transform(COLORS, steps=steps)
    assert (caught.value.field or "").startswith("properties.steps")
    assert not (tmp_path / "output").exists()


def test_missing_places_and_unknown_properties_are_refused(transform: Transform, tmp_path: Path) -> None:
    plugin, steps = TabularTransform(), dict[str, Any](steps=[{"deduplicate": {}}])
    with pytest.raises(RequestError, match=r"outputDataset\.dataPath"):
        plugin.do_transform([MistkDataset(data_path="x.csv")], None, steps)
    with pytest.raises(RequestError, match="inputDatasets: the list is empty"):
        plugin.do_transform([], MistkDataset(data_path=str(tmp_path)), steps)
    with pytest.raises(RequestError, match=r"properties\.step: it is not known"):
        transform(COLORS, step=[])
    with pytest.raises(RequestError, match=r"properties\.format: 'xls'"):
        transform(COLORS, {"deduplicate": {}}, format="xls")
