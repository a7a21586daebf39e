"""Histories of metrics in the columns of pixels of a chart."""

import math
import random
import sys

import pytest

from mistk_service.tracking.errors import InvalidParameter
from mistk_service.tracking.values import Curve, CurveColumn, Metric

INF, NAN = math.inf, math.nan


@pytest.fixture
def run_id(store, experiment):
    return store.create_run(experiment).info.run_id


def expected_columns(points, x, low, high, columns):
    """What the columns have to be, by brute force."""
    found: dict[int, list[tuple[int, float]]] = {}
    for point in sorted(points, key=lambda p: (getattr(p, x), p.timestamp, p.step, p.value)):
        place = getattr(point, x)
        if low <= place <= high and math.isfinite(point.value):
            found.setdefault((place - low) * columns // (high - low + 1), []).append((place, point.value))
    return tuple(
        CurveColumn(
            inside[0][0],
            inside[-1][0],
            len(inside),
            inside[0][1],
            min(value for _, value in inside),
            max(value for _, value in inside),
            inside[-1][1],
            pytest.approx(sum(value for _, value in inside) / len(inside)),  # type: ignore[arg-type]
        )
        for _, inside in sorted(found.items())
    )


@pytest.mark.parametrize("x", ["step", "timestamp"])
def test_columns_have_the_first_the_lowest_the_highest_and_the_last_point(store, run_id, x):
    seeded = random.Random(1)
    # Steps and times go apart, and several points have the same.
    points = list(
        {
            Metric("m", seeded.uniform(-9, 9), seeded.randrange(1000, 1300), seeded.randrange(-150, 150))
            for _ in range(900)
        }
    )
    store.log_batch(run_id, points)
    places = [getattr(point, x) for point in points]
    for columns in (1, 7, 100):
        (curve,) = store.get_metric_columns([run_id], "m", x, columns=columns)
        assert curve == Curve(run_id, 900, columns=expected_columns(points, x, min(places), max(places), columns))
    inside = sorted(place for place in places)[200:700]
    low, high = inside[0], inside[-1]
    (curve,) = store.get_metric_columns([run_id], "m", x, low, high, columns=20)
    within = [place for place in places if low <= place <= high]
    assert curve == Curve(run_id, len(within), columns=expected_columns(points, x, low, high, 20))


def test_few_points_are_all_there_with_what_is_not_finite(store, run_id):
    values = [0.5, NAN, INF, -INF]
    store.log_batch(run_id, [Metric("m", value, 1000 - step, step) for step, value in enumerate(values)])
    (curve,) = store.get_metric_columns([run_id], "m", columns=1)
    assert repr(curve) == repr(Curve(run_id, 4, points=((0, 0.5), (1, NAN), (2, INF), (3, -INF))))
    (curve,) = store.get_metric_columns([run_id], "m", x="timestamp", start=998)
    assert repr(curve.points) == repr(((998, INF), (999, NAN), (1000, 0.5)))


def test_what_is_not_finite_stands_beside_the_columns(store, run_id):
    points = [Metric("m", float(step), 1, step) for step in range(20)]
    others = [Metric("m", value, 1, step) for step, value in [(3, NAN), (4, NAN), (4, INF), (15, -INF)]]
    store.log_batch(run_id, points + others)
    (curve,) = store.get_metric_columns([run_id], "m", columns=2)
    assert curve.count == 24
    assert curve.columns == (CurveColumn(0, 9, 10, 0, 0, 9, 9, 4.5), CurveColumn(10, 19, 10, 10, 10, 19, 19, 14.5))
    assert sorted(map(repr, curve.not_finite)) == ["(15, -inf, 1)", "(3, nan, 2)", "(4, inf, 1)"]


def test_a_column_of_nothing_finite_is_left_out(store, run_id):
    store.log_batch(run_id, [Metric("m", NAN if step < 10 else 1.0, 1, step) for step in range(20)])
    (curve,) = store.get_metric_columns([run_id], "m", columns=2)
    assert [column.start for column in curve.columns] == [10]
    assert repr(curve.not_finite) == "((0, nan, 10),)"


@pytest.mark.parametrize("steps", [[0] * 9, [-(2**63) + 1, -1, 0, 5, 6, 7, 8, 9, 2**63 - 1]])
def test_any_steps_have_a_column(store, run_id, steps):
    store.log_batch(run_id, [Metric("m", float(n), n, step) for n, step in enumerate(steps)])
    (curve,) = store.get_metric_columns([run_id], "m", columns=2)
    assert sum(column.count for column in curve.columns) == 9
    assert (curve.columns[0].first, curve.columns[-1].last) == (0.0, 8.0)


def test_the_largest_numbers_have_a_mean(store, run_id):
    largest = sys.float_info.max
    store.log_batch(run_id, [Metric("m", largest, 1, step) for step in range(5)])
    (curve,) = store.get_metric_columns([run_id], "m", columns=1)
    assert curve.columns == (CurveColumn(0, 4, 5, largest, largest, largest, largest, largest),)


@pytest.mark.parametrize("value", [1e200, -1e172, 1e-310, 5e-324])
def test_a_value_of_any_size_has_a_column_with_others(store, run_id, value):
    store.log_batch(run_id, [Metric("m", value if step == 2 else 0.5, 1, step) for step in range(5)])
    (curve,) = store.get_metric_columns([run_id], "m", columns=1)
    (column,) = curve.columns
    assert (column.minimum, column.maximum) == (min(value, 0.5), max(value, 0.5))
    assert column.mean == pytest.approx((value + 2.0) / 5)


def test_runs_come_in_their_order_and_unknown_ones_are_left_out(store, experiment):
    one, other = (store.create_run(experiment).info.run_id for _ in range(2))
    store.log_metric(one, Metric("m", 1.0, 1))
    curves = store.get_metric_columns([other, "unknown", one], "m")
    assert curves == [Curve(other, 0), Curve(one, 1, points=((0, 1.0),))]


@pytest.mark.parametrize(
    "wrong", [{"columns": 0}, {"columns": 10_001}, {"x": "value"}, {"run_ids": []}, {"run_ids": ["r"] * 101}]
)
def test_what_cannot_be_drawn_is_refused(store, run_id, wrong):
    with pytest.raises(InvalidParameter):
        store.get_metric_columns(**({"run_ids": [run_id], "key": "m"} | wrong))
