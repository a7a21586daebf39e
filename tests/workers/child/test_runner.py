"""The two threads of a worker: hooks one at a time on the main thread, and a control thread that never waits for it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mistk_service import AbstractModel, RequestError, StopActivity
from mistk_service.kinds.model import MODEL
from mistk_service.workers import messages as m
from tests.support.harness import predicted, records_of
from tests.support.runner_bench import RunnerBench

TIMEOUT = 20.0


class Model(AbstractModel):
    """Its hooks do what the test puts into ``script``, by the name of the hook."""

    def __init__(self) -> None:
        self.script: dict[str, Callable[[], Any]] = {}
        self.threads: list[tuple[str, str]] = []
        self._called = threading.Condition()

    def until(self, hook: str) -> None:
        """Wait until a hook has been called."""
        with self._called:
            assert self._called.wait_for(lambda: any(name == hook for name, _ in self.threads), TIMEOUT)

    def _do(self, hook: str) -> Any:
        with self._called:
            self.threads.append((hook, threading.current_thread().name))
            self._called.notify_all()
        return self.script.get(hook, lambda: None)()

    def do_train(self) -> None:
        self._do("do_train")

    def do_save_model(self, path: str) -> None:
        self._do("do_save_model")

    def do_stream_predict(self, data_map: dict[str, str], details: bool = False) -> dict[str, Any]:
        self._do("do_stream_predict")
        return dict(data_map)

    def do_terminate(self) -> None:
        self._do("do_terminate")


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def bench(model: Model) -> Iterator[RunnerBench]:
    bench = RunnerBench(model)
    yield bench
    bench.tell(m.Exit("do_terminate"))
    bench.rest()


@pytest.fixture
def hold() -> Iterator[threading.Event]:
    """Something that a hook can wait for."""
    event = threading.Event()
    yield event
    event.set()


def test_a_model_has_the_hooks_that_it_overrides_and_those_that_always_work():
    always = {"do_initialize", "do_build_model", "do_pause", "do_resume_training", "do_resume_predict", "do_reset"}
    always |= {"do_terminate", "do_update_stream_properties"}
    assert set(MODEL.hooks_of(Model)) == always | {"do_train", "do_save_model", "do_stream_predict"}


def test_an_inherited_hook_is_a_hook():
    class Child(Model):
        pass

    assert MODEL.hooks_of(Child) == MODEL.hooks_of(Model)


def test_hooks_run_on_the_main_thread_in_order(model: Model, bench: RunnerBench):
    bench.tell(m.Run(1, "do_train"), m.Predict(2, records_of({"a": "b"})), m.Run(3, "do_save_model", ("p",)))
    assert [bench.next(), bench.next(), bench.next()] == [m.Done(1), predicted(2, b'{"a":"b"}'), m.Done(3)]
    assert model.threads == [("do_train", "main"), ("do_stream_predict", "main"), ("do_save_model", "main")]


def test_what_an_activity_reported_is_sent_before_its_end(model: Model, bench: RunnerBench):
    model.script["do_train"] = lambda: model.update_status({"last": "words"})
    bench.tell(m.Run(1, "do_train"))
    assert [bench.next(), bench.next()] == [m.StatusUpdated({"last": "words"}), m.Done(1)]


def test_a_save_at_the_gate_runs_on_the_thread_that_is_paused(model: Model, bench: RunnerBench, hold: threading.Event):
    model.script["do_train"] = lambda: (hold.wait(), model.pause_point())
    bench.tell(m.Run(1, "do_train"), m.Pause(1, "do_pause"))
    hold.set()
    assert bench.next() == m.Paused(1)
    bench.tell(m.Run(2, "do_save_model", ("p",)))
    assert bench.next() == m.Done(2)
    assert model.threads[-1] == ("do_save_model", "main")
    bench.tell(m.Resume(1, "do_resume_training"))
    assert bench.next() == m.Done(1)


def test_a_pause_for_an_activity_that_has_ended_is_overtaken_and_stops_no_other(model: Model, bench: RunnerBench):
    bench.tell(m.Run(1, "do_train"))
    assert bench.next() == m.Done(1)
    bench.tell(m.Pause(1, "do_pause"))
    assert bench.next() == m.PauseOvertaken(1)
    model.script["do_train"] = model.pause_point
    bench.tell(m.Run(2, "do_train"))
    assert bench.next() == m.Done(2)


def test_a_pause_that_no_pause_point_took_does_not_stop_the_next_activity(
    model: Model, bench: RunnerBench, hold: threading.Event
):
    model.script["do_train"] = hold.wait
    bench.tell(m.Run(1, "do_train"), m.Pause(1, "do_pause"))
    hold.set()
    assert bench.next() == m.Done(1)
    model.script["do_train"] = model.pause_point
    bench.tell(m.Run(2, "do_train"))
    assert bench.next() == m.Done(2)


def test_a_pause_point_on_another_thread_of_the_model_pauses_that_thread(
    model: Model, bench: RunnerBench, hold: threading.Event
):
    def train() -> None:
        loader = threading.Thread(target=lambda: (hold.wait(), model.pause_point()))
        loader.start()
        loader.join()

    model.script["do_train"] = train
    bench.tell(m.Run(1, "do_train"), m.Pause(1, "do_pause"))
    hold.set()
    assert bench.next() == m.Paused(1)
    bench.tell(m.Resume(1, "do_resume_training"))
    assert bench.next() == m.Done(1)


def test_a_save_at_the_gate_opens_it_for_no_other_thread(model: Model, bench: RunnerBench, hold: threading.Event):
    saving, loader_is_paused, passed = threading.Event(), threading.Event(), threading.Event()

    def load() -> None:
        saving.wait()
        model.pause_point()
        passed.set()

    def train() -> None:
        loader = threading.Thread(target=load)
        loader.start()
        hold.wait()
        model.pause_point()
        loader.join()

    def save() -> None:
        saving.set()
        loader_is_paused.wait()
        model.pause_point()

    model.script |= {"do_train": train, "do_save_model": save}
    bench.tell(m.Run(1, "do_train"), m.Pause(1, "do_pause"))
    hold.set()
    assert bench.next() == m.Paused(1)
    bench.tell(m.Run(2, "do_save_model", ("p",)))
    try:
        assert bench.next() == m.Paused(1), "the loader has come to the gate"
        assert not passed.is_set()
    finally:
        loader_is_paused.set()
    assert bench.next() == m.Done(2)
    bench.tell(m.Resume(1, "do_resume_training"))
    assert bench.next() == m.Done(1)
    assert passed.is_set()


def test_to_exit_ends_a_paused_activity(model: Model, bench: RunnerBench, hold: threading.Event):
    model.script["do_train"] = lambda: (hold.wait(), model.pause_point())
    bench.tell(m.Run(1, "do_train"), m.Pause(1, "do_pause"))
    hold.set()
    assert bench.next() == m.Paused(1)
    bench.tell(m.Exit("do_terminate"))
    assert bench.rest() == [m.Stopped(1)]
    assert model.threads[-1] == ("do_terminate", "main")


def test_to_exit_answers_what_has_queued_and_calls_the_last_hook_last(
    model: Model, bench: RunnerBench, hold: threading.Event
):
    model.script["do_train"] = hold.wait
    bench.tell(m.Run(1, "do_train"), m.Predict(2, records_of({"a": "b"})), m.Exit("do_terminate"))
    hold.set()
    assert bench.rest() == [m.Done(1), predicted(2, b'{"a":"b"}')]
    assert [hook for hook, _ in model.threads] == ["do_train", "do_stream_predict", "do_terminate"]


@pytest.mark.parametrize("error", [ValueError, NotImplementedError, StopActivity])
def test_a_last_hook_that_raises_ends_the_worker_all_the_same(
    model: Model, bench: RunnerBench, error: type[BaseException]
):
    def end() -> None:
        raise error("at the end")

    model.script["do_terminate"] = end
    bench.tell(m.Exit("do_terminate"))
    assert bench.rest() == []


def test_in_haste_the_last_hook_runs_beside_the_activity_and_only_once(model: Model, bench: RunnerBench):
    flag = threading.Event()
    model.script |= {"do_train": flag.wait, "do_terminate": flag.set}
    bench.tell(m.Run(1, "do_train"), m.Exit("do_terminate"))
    model.until("do_train")
    bench.tell(m.CallLastHook(), m.CallLastHook())
    assert bench.rest() == [m.Done(1)]
    assert model.threads == [("do_train", "main"), ("do_terminate", threading.current_thread().name)]


def test_a_last_hook_in_haste_may_outlast_the_activity(model: Model, bench: RunnerBench):
    flag = threading.Event()

    def end() -> None:
        flag.set()
        assert bench.next() == m.Done(1)
        model.report_params({"last": "words"})

    model.script |= {"do_train": flag.wait, "do_terminate": end}
    bench.tell(m.Run(1, "do_train"), m.Exit("do_terminate"))
    model.until("do_train")
    bench.tell(m.CallLastHook())
    assert bench.rest() == [m.Reported((), {"last": "words"})]


def test_a_last_hook_in_haste_that_exits_does_not_end_the_control_thread(model: Model, bench: RunnerBench):
    flag = threading.Event()
    model.script |= {"do_train": flag.wait, "do_terminate": lambda: (flag.set(), sys.exit(3))}
    bench.tell(m.Run(1, "do_train"), m.Exit("do_terminate"))
    model.until("do_train")
    bench.tell(m.CallLastHook())
    assert bench.rest() == [m.Done(1)]


def test_haste_where_nothing_runs_leaves_the_last_hook_to_the_main_thread(model: Model, bench: RunnerBench):
    bench.tell(m.CallLastHook(), m.Exit("do_terminate"))
    bench.rest()
    assert model.threads == [("do_terminate", "main")]


def test_what_the_last_hook_reports_is_sent(model: Model, bench: RunnerBench):
    model.script["do_terminate"] = lambda: model.report_metrics({"final": 1.0}, 1, 0)
    bench.tell(m.Exit("do_terminate"))
    assert bench.rest() == [m.Reported((("final", 1.0, 1, 0),))]


def test_an_activity_that_catches_its_stop_and_returns_is_done(model: Model, bench: RunnerBench, hold: threading.Event):
    def train() -> None:
        hold.wait()
        try:
            model.pause_point()
        except StopActivity:
            return

    model.script["do_train"] = train
    bench.tell(m.Run(1, "do_train"), m.Exit("do_terminate"))
    hold.set()
    assert bench.rest() == [m.Done(1)]


def test_every_command_ends_in_exactly_one_message(model: Model, bench: RunnerBench):
    def not_this_time() -> None:
        raise NotImplementedError("no")

    def wrong() -> None:
        raise RequestError("no")

    def fail() -> None:
        raise ValueError("no")

    for number, (script, kind) in enumerate(
        [(lambda: None, m.Done), (not_this_time, m.Failed), (wrong, m.Refused), (fail, m.Failed)] * 3, 1
    ):
        model.script["do_train"] = script
        bench.tell(m.Run(number, "do_train"))
        answer = bench.next()
        assert isinstance(answer, kind)
        assert answer.id == number


def test_a_request_that_is_withdrawn_before_its_turn_is_not_called(
    model: Model, bench: RunnerBench, hold: threading.Event
):
    model.script["do_train"] = hold.wait
    bench.tell(m.Run(1, "do_train"), m.Predict(2, records_of({"a": "b"})), m.Predict(3, records_of({"c": "d"})))
    bench.tell(m.Withdraw(2))
    assert bench.next() == m.PredictionForgotten(2)
    hold.set()
    assert [bench.next(), bench.next()] == [m.Done(1), predicted(3, b'{"c":"d"}')]
    assert [hook for hook, _ in model.threads] == ["do_train", "do_stream_predict"]


def test_a_request_that_is_withdrawn_too_late_is_answered_once(model: Model, bench: RunnerBench, hold: threading.Event):
    model.script["do_stream_predict"] = hold.wait
    bench.tell(m.Predict(1, records_of({"a": "b"})))
    model.until("do_stream_predict")
    bench.tell(m.Withdraw(1))
    hold.set()
    assert bench.next() == predicted(1, b'{"a":"b"}')
    bench.tell(m.Withdraw(1), m.Run(2, "do_train"))
    assert bench.next() == m.Done(2)


def test_a_request_that_is_withdrawn_as_soon_as_it_comes_is_never_queued(model: Model, bench: RunnerBench):
    bench.runner.handle_all([m.Predict(1, records_of({"a": "b"})), m.Predict(2, records_of({"c": "d"})), m.Withdraw(1)])
    assert [bench.next(), bench.next()] == [m.PredictionForgotten(1), predicted(2, b'{"c":"d"}')]
    assert len(model.threads) == 1


def test_a_hook_that_exits_fails_after_what_it_reported_and_the_next_one_runs(model: Model, bench: RunnerBench):
    model.script["do_train"] = lambda: (model.report_metrics({"last": 1.0}, 1, 0), sys.exit(3))
    bench.tell(m.Run(1, "do_train"), m.Run(2, "do_build_model"), m.Exit("do_terminate"))
    reported, failed, done = bench.rest()
    assert (reported, done) == (m.Reported((("last", 1.0, 1, 0),)), m.Done(2))
    assert isinstance(failed, m.Failed)
    assert (failed.failure.type, failed.failure.message) == ("SystemExit", "3")


def test_a_resume_that_is_refused_after_its_activity_has_ended_leaves_the_control_thread_free(hold: threading.Event):
    class PausesInItsOwnWay(Model):
        def do_pause(self) -> None:
            pass

        def do_resume_training(self) -> None:
            hold.set()
            assert own.next() == m.Done(1)
            raise NotImplementedError("not here")

    model = PausesInItsOwnWay()
    model.script["do_train"] = hold.wait
    own = RunnerBench(model)
    own.tell(m.Run(1, "do_train"))
    model.until("do_train")
    own.tell(m.Pause(1, "do_pause"))
    assert own.next() == m.Paused(1)
    own.tell(m.Resume(1, "do_resume_training"))
    assert own.next() == m.ResumeUnsupported(1, "not here")
    own.tell(m.Run(2, "do_save_model", ("p",)), m.Exit("do_terminate"))
    assert own.rest() == [m.Done(2)]
    assert ("do_save_model", "main") in model.threads
