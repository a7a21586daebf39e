"""Named tensors as numpy arrays, and back."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mistk_service.kinds.predictions import DTYPES, Tensors, TensorSpec
from mistk_service.workers.child.codecs import encode
from mistk_service.workers.child.tensors import arrays_of, tensors_of

numbers = st.sampled_from([name for name in DTYPES if name != "bytes"]).flatmap(
    lambda name: arrays.arrays(
        np.dtype(name),
        arrays.array_shapes(min_dims=0, max_dims=4, min_side=0),
        elements={"allow_nan": False} if name.startswith("float") else None,
    )
)
strings = arrays.arrays(object, arrays.array_shapes(min_dims=0, max_dims=3, min_side=0), elements=st.binary(max_size=9))


def test_numbers_get_the_declared_data_type():
    declared = [TensorSpec("a", "float32", (-1,)), TensorSpec("b", "int64", (-1,)), TensorSpec("c", "bytes", (-1,))]
    result = {"a": [1.5, 2.0], "b": [], "c": ["x"], "d": [True]}
    (tensors,) = tensors_of(result, declared=declared)
    assert [(each.name, each.dtype) for each in tensors.tensors] == [
        ("a", "float32"), ("b", "int64"), ("c", "bytes"), ("d", "bool"),
    ]  # fmt: skip
    assert arrays_of(tensors)["a"].tolist() == [1.5, 2.0]


def test_an_output_that_would_lose_its_fractions_is_an_error():
    with pytest.raises(TypeError, match="a: the hook returned float64; expected int64, as the class declares"):
        tensors_of({"a": [1.5]}, declared=[TensorSpec("a", "int64", (-1,))])


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        ([2**40], "int32"),
        ([-1], "uint8"),
        (np.array([2**64 - 1], "uint64"), "int64"),
        ([1e300], "float32"),
        ([2**40], "float16"),
    ],
)
def test_a_number_that_the_declared_data_type_cannot_hold_is_an_error(value: Any, dtype: str):
    with pytest.raises(ValueError, match=f"a: the hook returned a number that {dtype}"):
        tensors_of({"a": value}, declared=[TensorSpec("a", dtype, (-1,))])


@pytest.mark.parametrize(
    ("value", "dtype"), [([0, 255], "uint8"), ([math.inf, math.nan], "float32"), ([True], "uint8")]
)
def test_numbers_that_the_declared_data_type_can_hold_are_converted(value: Any, dtype: str):
    (tensors,) = tensors_of({"a": value}, declared=[TensorSpec("a", dtype, (-1,))])
    assert np.array_equal(arrays_of(tensors)["a"], np.array(value, dtype), equal_nan=True)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({}, "a: the hook did not return it; expected float32 [-1, 2], as the class declares. It returned: nothing"),
        ({"b": [1]}, "It returned: b"),
        ({"a": [[1.0, 2.0, 3.0]]}, "a: the hook returned the shape [1, 3]; expected float32 [-1, 2]"),
        ({"a": [1.0, 2.0]}, "the shape [2];"),
        ({"a": 1.0}, "the shape [];"),
        ({"a": np.empty(0)}, "the shape [0];"),
    ],
)
def test_an_output_that_is_missing_or_has_another_shape_than_declared_is_named(result: Any, message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        tensors_of(result, declared=[TensorSpec("a", "float32", (-1, 2))])


def test_numbers_in_place_of_declared_byte_strings_are_an_error():
    with pytest.raises(TypeError, match="a: the hook returned int64; expected bytes, as the class declares"):
        tensors_of({"a": [1]}, declared=[TensorSpec("a", "bytes", (-1,))])


@pytest.mark.parametrize("dtype", ["float32", "bytes"])
def test_an_empty_list_has_the_declared_type_and_no_records(dtype: str):
    (tensors,) = tensors_of({"a": []}, declared=[TensorSpec("a", dtype, (-1, 2))])
    assert [(each.dtype, each.shape) for each in tensors.tensors] == [(dtype, (0, 2))]


def test_an_output_that_its_codec_cannot_encode_is_named():
    with pytest.raises(TypeError, match="a: the hook returned what cannot be encoded as text"):
        encode({"a": [1]}, [TensorSpec("a", "bytes", (-1,), "text")])


@given(st.dictionaries(st.text(max_size=5), numbers | strings, max_size=4))
def test_arrays_come_back_as_they_were_and_read_only(given_arrays: dict[str, Any]):
    found = arrays_of(*tensors_of(given_arrays))
    assert list(found) == list(given_arrays)
    for name, array in given_arrays.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tolist() == array.tolist()
        assert not found[name].flags.writeable


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.arange(6, dtype=">i4").reshape(2, 3).T, np.arange(6, dtype="i4").reshape(2, 3).T),
        (np.arange(10, dtype="f4")[::2], np.arange(0, 10, 2, dtype="f4")),
        ([[1.5, 2.5]], np.array([[1.5, 2.5]])),
        (np.array(["é", "b"]), np.array(["é".encode(), b"b"], dtype=object)),
        (np.float16(2), np.array(2, dtype="f2")),
        ([[b"a\0", b""]], np.array([[b"a\0", b""]], dtype=object)),
    ],
)
def test_any_layout_and_what_is_like_an_array_is_taken(value: Any, expected: Any):
    (found,) = arrays_of(*tensors_of({"a": value})).values()
    assert (found.dtype, found.tolist()) == (expected.dtype, expected.tolist())


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ([1], "expected a dict of name to array, got list"),
        (None, "got NoneType"),
        ({"a": np.zeros(1, "c8")}, "a: a tensor cannot have the data type complex64"),
        ({"a": np.zeros(1, "M8[s]")}, "data type datetime64"),
        ({"a": np.array([object()])}, "a: a value of type object"),
        ({"a": ["x", 1]}, "a: a value of type int"),
    ],
)
def test_what_cannot_be_a_tensor_is_named(result: Any, message: str):
    with pytest.raises(TypeError) as caught:
        tensors_of(result)
    assert message in str(caught.value)


sizes = st.lists(st.integers(1, 4), min_size=1, max_size=5)


@given(sizes, st.sampled_from(["float32", "int64", "bytes"]), st.lists(st.integers(1, 3), max_size=2))
def test_requests_that_are_joined_get_their_own_records_back(counts: list[int], dtype: str, record: list[int]):
    numbers = itertools.count()

    def array(count: int) -> Any:
        values = [next(numbers) for _ in range(count * math.prod(record))]
        made = np.array([str(value) for value in values] if dtype == "bytes" else values)
        return made.reshape(count, *record).astype(object if dtype == "bytes" else dtype)

    several = [tensors_of({"a": array(count), "b": np.arange(count)})[0] for count in counts]
    assert len({each.layout for each in several}) == 1
    assert tensors_of(arrays_of(Tensors.joined(several)), counts) == several


def test_the_records_are_counted_by_the_first_dimension():
    for shape, records in (((3, 2), 3), ((), 1), ((0, 5), 0), ((7, 0), 0)):
        assert len(*tensors_of({"a": np.zeros(shape)})) == records
    assert len(Tensors(())) == 0
