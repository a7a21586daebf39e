"""Merged stream predictions: each request gets the same answer as alone."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mistk_service import AbstractModel, RequestError, StopActivity
from mistk_service.workers.child.batching import Predictor
from mistk_service.workers.child.failures import failure_from, message_of
from mistk_service.workers.messages import Predict, Predicted, PredictionFailed, PredictionRefused
from tests.support.harness import predicted, records_of


class Recording(AbstractModel):
    """Answers with the record in capitals; ``guilty`` raises, ``forgotten`` gets no answer."""

    max_batch_size = 6

    def __init__(self) -> None:
        self.calls: list[dict[str, str]] = []

    def do_stream_predict(self, data_map: dict[str, str], details: bool = False) -> dict[str, Any]:
        self.calls.append(dict(data_map))
        if "guilty" in data_map.values():
            raise ValueError("guilty")
        return {key: record.upper() for key, record in data_map.items() if record != "forgotten"}


ids = st.sampled_from(["a", "b", "a#1", "a#2", "a#1#2", "#", ""])
records = st.sampled_from(["x", "y", "z", "forgotten", "guilty"])
requests = st.lists(st.dictionaries(ids, records, max_size=4), min_size=1, max_size=6)


@given(requests)
def test_a_merged_request_gets_what_it_would_have_got_alone(data: list[dict[str, str]]):
    batch = [Predict(number, records_of(records)) for number, records in enumerate(data, 1)]
    merged = Predictor(Recording(), "do_stream_predict").predict(batch)
    alone = [Predictor(Recording(), "do_stream_predict").predict([request])[0] for request in batch]
    assert [answer.id for answer in merged] == [request.id for request in batch]
    for together, single in zip(merged, alone, strict=True):
        assert type(together) is type(single)
        if isinstance(together, Predicted) and isinstance(single, Predicted):
            assert together.answer == single.answer


@given(requests)
def test_no_record_is_lost_or_repeated_in_a_merge(data: list[dict[str, str]]):
    model = Recording()
    Predictor(model, "do_stream_predict").predict(
        [Predict(number, records_of(records)) for number, records in enumerate(data, 1)]
    )
    called = model.calls[0].values() if model.calls else ()
    assert sorted(called) == sorted(record for records in data for record in records.values())


def test_innocent_requests_are_called_once_together():
    model = Recording()
    Predictor(model, "do_stream_predict").predict([Predict(n, records_of({"a": "x"})) for n in (1, 2, 3)])
    assert len(model.calls) == 1
    assert len(model.calls[0]) == 3


@pytest.mark.parametrize(("declared", "used"), [(1, 1), (0, 1), (-5, 1), (2.9, 2), (2**70, 2**63 - 1)])
def test_a_batch_has_at_least_one_record(declared: Any, used: int):
    class Model(Recording):
        max_batch_size = declared

    assert Predictor(Model(), "do_stream_predict").max_batch_size == used


@pytest.mark.parametrize("error", [ValueError("v"), StopActivity("s"), RecursionError("r"), SystemExit(3)])
def test_an_error_of_the_hook_is_the_answer(error: BaseException):
    class Model(AbstractModel):
        def do_stream_predict(self, data_map: dict[str, str], details: bool = False) -> dict[str, Any]:
            raise error

    (answer,) = Predictor(Model(), "do_stream_predict").predict([Predict(1, records_of({"a": ""}))])
    assert isinstance(answer, PredictionFailed)
    assert (answer.failure.type, answer.failure.message) == (type(error).__name__, str(error))
    assert not answer.unsupported


@pytest.mark.parametrize("size", [1, 100])
@pytest.mark.parametrize("answer", [None, [1], "text", 5, {}, {"other": 1}])
def test_an_answer_of_another_form_is_passed_on_as_it_is(answer: Any, size: int):
    class Model(AbstractModel):
        max_batch_size = size

        def do_stream_predict(self, data_map: dict[str, str], details: bool = False) -> Any:
            return answer

    batch = [Predict(n, records_of({"a": ""})) for n in range(min(size, 2))]
    answers = Predictor(Model(), "do_stream_predict").predict(batch)
    assert [msgspec.msgpack.decode(done.answer) for done in answers if isinstance(done, Predicted)] == [answer] * len(
        batch
    )


def test_a_request_without_records_is_answered_without_asking_the_model():
    model = Recording()
    empty = Predict(1, records_of({}))
    assert Predictor(model, "do_stream_predict").predict([empty]) == [predicted(1, b"{}")]
    assert Predictor(model, "do_stream_predict").predict([empty, empty]) == [predicted(1, b"{}")] * 2
    assert model.calls == []


@pytest.mark.parametrize("merged", [False, True])
def test_a_request_that_the_model_refuses_is_refused_alone(merged: bool):
    class Model(Recording):
        def do_stream_predict(self, data_map: dict[str, str], details: bool = False) -> dict[str, Any]:
            if "guilty" in data_map.values():
                raise RequestError("no such record", field="dataMap")
            return super().do_stream_predict(data_map, details)

    batch = [Predict(1, records_of({"a": "guilty"})), *[Predict(2, records_of({"b": "x"}))] * merged]
    answers = Predictor(Model(), "do_stream_predict").predict(batch)
    assert answers == [PredictionRefused(1, "no such record", "dataMap"), *[predicted(2, b'{"b":"X"}')] * merged]


class Answers(AbstractModel):
    """Leaves out the identifiers that begin with ``lost``, and adds one that nobody asked about."""

    max_batch_size = 100

    def do_stream_predict(self, data_map: dict[str, str], details: bool = False) -> dict[str, Any]:
        return {**{key: 1 for key in data_map if not key.startswith("lost")}, "more": 2}


@pytest.mark.parametrize("merged", [False, True])
def test_a_request_whose_predictions_are_not_complete_gets_those_that_there_are(merged: bool):
    batch = [
        Predict(1, records_of({"a": "", "lost 1": "", "lost 2": ""})),
        *[Predict(2, records_of({"b": ""}))] * merged,
    ]
    answers = Predictor(Answers(), "do_stream_predict").predict(batch)
    assert answers == [predicted(1, b'{"a":1,"more":2}'), *[predicted(2, b'{"b":1}')] * merged]


@pytest.mark.parametrize("size", [1, 2])
def test_what_nobody_asked_about_goes_nowhere_where_requests_are_merged(size: int):
    answers = Predictor(Answers(), "do_stream_predict").predict(
        [Predict(n, records_of({"a": ""})) for n in range(size)]
    )
    assert answers == [predicted(n, b'{"a":1}') for n in range(size)]


@pytest.mark.parametrize(("size", "details"), [(1, False), (1, True), (100, True)])
def test_what_the_model_says_of_the_whole_request_is_passed_on(size: int, details: bool):
    class Model(Answers):
        max_batch_size = size

    assert Predictor(Model(), "do_stream_predict").predict([Predict(1, records_of({"a": ""}), details)]) == [
        predicted(1, b'{"a":1,"more":2}')
    ]


def test_a_hook_that_does_not_tell_its_signature_is_given_details():
    class Silent:
        __signature__ = "none"

        def __call__(self, data_map: dict[str, str], details: bool) -> dict[str, Any]:
            return dict.fromkeys(data_map, details)

    model = Answers()
    model.do_stream_predict = Silent()  # type: ignore[method-assign, assignment]
    assert Predictor(model, "do_stream_predict").predict([Predict(1, records_of({"a": ""}), True)]) == [
        predicted(1, b'{"a":true}')
    ]


def test_a_failure_survives_whatever_an_exception_does():
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    failure = failure_from(Unprintable())
    assert failure.type == "Unprintable"
    assert "RuntimeError" in failure.message
    assert failure_from(ValueError("\ud800")).message == "\\ud800"
    assert message_of(NotImplementedError("not \udc00 here")) == "not \\udc00 here"
