"""Fields of requests, read strictly."""

import math
from enum import Enum

import pytest

from mistk_service.tracking.errors import InvalidParameter
from mistk_service.tracking.wire.fields import Fields


class Colour(Enum):
    RED = 1
    BLUE = 2


def test_a_body_is_an_object():
    assert Fields.from_body(b"").text("a") is None
    assert Fields.from_body(b'{"a": "x"}').text("a") == "x"
    # Very old clients send their JSON as a JSON string.
    assert Fields.from_body(b'"{\\"a\\": \\"x\\"}"').text("a") == "x"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[]", "must be a JSON object"),
        (b"3", "must be a JSON object"),
        (b"{", "not valid JSON"),
        (b'{"a": NaN}', "not valid JSON"),
        (b'{"a": "\xff"}', "not valid JSON"),
        (b'"\\"x\\""', "must be a JSON object"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_body_that_is_none_is_refused(body, message):
    with pytest.raises(InvalidParameter, match=message):
        Fields.from_body(body)


def test_both_spellings_of_a_name_are_read():
    assert Fields({"run_id": "a"}).text("run_id") == Fields({"runId": "a"}).text("run_id") == "a"
    with pytest.raises(InvalidParameter, match="given twice"):
        Fields({"run_id": "a", "runId": "a"}).text("run_id")


def test_null_is_absent_and_what_is_not_asked_for_is_ignored():
    fields = Fields({"a": None, "unknown": [1]})
    assert (fields.text("a"), fields.int64("a"), fields.double("a"), fields.boolean("a")) == (None,) * 4
    assert (fields.enum("a", Colour), fields.object("a"), fields.has("a")) == (None, None, False)
    assert (fields.texts("a"), fields.objects("a"), fields.raw_list("a")) == ([], [], [])


@pytest.mark.parametrize("reader", ["required_text", "required_int64", "required_double"])
def test_what_is_required_must_be_there(reader):
    for values in ({}, {"a": None}):
        with pytest.raises(InvalidParameter, match=r"Missing value for required parameter 'x\[0\].a'") as caught:
            getattr(Fields(values, "x[0]"), reader)("a")
        assert caught.value.field == "x[0].a"


def test_an_empty_required_text_is_missing():
    with pytest.raises(InvalidParameter, match="Missing"):
        Fields({"a": ""}).required_text("a")


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (0, 0),
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        ("17", 17),
        ("-9223372036854775808", -(2**63)),
        (3.0, 3),
        ("1e+05", 100_000),
        ("1E5", 100_000),
        ("1.0", 1),
        ("12.50e1", 125),
        ("10e-1", 1),
        ("-1e2", -100),
        ("0e400", 0),
        (" 7 ", 7),
    ],
)
def test_whole_numbers_are_exact(value, number):
    assert Fields({"a": value}).int64("a") == number


@pytest.mark.parametrize(
    "value",
    [
        1.5,
        2**63,
        -(2**63) - 1,
        "x",
        "",
        "1.5",
        "1e-1",
        "1e19",
        "1e999999999",
        "0x10",
        "1_000",
        "NaN",
        True,
        [],
        {},
        1e300,
        "9" * 30,
        "\u0661",
    ],
)
def test_what_is_not_a_whole_number_is_refused(value):
    with pytest.raises(InvalidParameter, match=r"Invalid value .* for parameter 'a' supplied"):
        Fields({"a": value}).int64("a")


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1.0),
        (0.1, 0.1),
        ("2.5", 2.5),
        ("-1e-3", -0.001),
        (".5", 0.5),
        ("Infinity", math.inf),
        ("-Infinity", -math.inf),
    ],
)
def test_numbers_are_read(value, number):
    assert Fields({"a": value}).double("a") == number


def test_nan_is_read_from_its_name():
    assert math.isnan(Fields({"a": "NaN"}).double("a") or 0.0)


@pytest.mark.parametrize("value", ["nan", "inf", "1_0", "", "x", True, [], "1e999", 10**400, "0x10"])
def test_what_is_not_a_number_is_refused(value):
    with pytest.raises(InvalidParameter, match="'a'"):
        Fields({"a": value}).double("a")


@pytest.mark.parametrize("value", ["BLUE", 2, "2", 2.0])
def test_members_are_read_by_name_and_number(value):
    if isinstance(value, float):
        with pytest.raises(InvalidParameter):
            Fields({"a": value}).enum("a", Colour)
    else:
        assert Fields({"a": value}).enum("a", Colour) is Colour.BLUE


@pytest.mark.parametrize("value", ["GREEN", "blue", 0, 3, True, []])
def test_an_unknown_member_is_refused_with_the_known_ones(value):
    with pytest.raises(InvalidParameter, match=r"RED \(1\), BLUE \(2\)"):
        Fields({"a": value}).enum("a", Colour)


def test_other_types_are_distinguished():
    fields = Fields({"number": 1, "text": "x", "mixed": ["x", 1], "flat": ["x"]})
    for call in (
        lambda: fields.text("number"),
        lambda: fields.boolean("text"),
        lambda: fields.boolean("number"),
        lambda: fields.texts("text"),
        lambda: fields.texts("mixed"),
        lambda: fields.objects("flat"),
        lambda: fields.object("flat"),
    ):
        with pytest.raises(InvalidParameter):
            call()


def test_places_of_nested_fields_are_reported():
    outer = Fields({"items": [{"inner": {"b": 1}}]})
    inner = outer.objects("items")[0].object("inner")
    assert inner is not None
    with pytest.raises(InvalidParameter) as caught:
        inner.text("b")
    assert caught.value.field == "items[0].inner.b"


def test_a_query_has_words_for_everything():
    fields = Fields.from_query(
        [("a", "1"), ("b", "TRUE"), ("list", "x"), ("list", "y"), ("one", "z"), ("camelCase", "c")]
    )
    assert (fields.int64("a"), fields.double("a"), fields.text("a")) == (1, 1.0, "1")
    assert fields.boolean("b") is True
    assert (fields.texts("list"), fields.texts("one"), fields.text("camel_case")) == (["x", "y"], ["z"], "c")
    with pytest.raises(InvalidParameter):
        fields.boolean("a")


def test_a_long_wrong_value_is_not_repeated_whole():
    with pytest.raises(InvalidParameter) as caught:
        Fields({"a": ["x" * 10_000]}).text("a")
    assert len(str(caught.value)) < 400
