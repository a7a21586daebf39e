"""The reports of a model: collected and sent in order, with the last status and all metrics."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mistk_service.workers.child.context import FLUSH_INTERVAL, METRICS_HELD, REPORT_LIMIT, WorkerContext
from mistk_service.workers.framing import decode_from_worker, frame
from mistk_service.workers.messages import FromWorker, Progressed, Reported, StatusUpdated


class Sender:
    """Keeps what is sent, and refuses what could not be sent."""

    def __init__(self) -> None:
        self.sent: list[FromWorker] = []
        self.woken = 0
        self.waited = 0
        self.pauses: list[bool] = []

    def send(self, message: FromWorker) -> None:
        frame(message)
        self.sent.append(message)

    def wake(self) -> None:
        self.woken += 1

    def wait(self) -> bool:
        self.waited += 1
        return True

    def take(self) -> list[FromWorker]:
        """Return what was sent, and forget it."""
        sent, self.sent = self.sent, []
        return sent


class Integer:
    """Behaves as an integer of numpy does."""

    def __init__(self, value: int) -> None:
        self._value = value

    def __int__(self) -> int:
        return self._value


@pytest.fixture
def sender() -> Sender:
    return Sender()


@pytest.fixture
def context(sender: Sender) -> WorkerContext:
    return WorkerContext(sender.send, sender.wait, sender.pauses.append, sender.wake)


def test_nothing_is_sent_before_it_is_flushed_and_the_control_thread_is_woken_once(
    context: WorkerContext, sender: Sender
):
    for n in range(100):
        context.update_status(n)
        context.report_metrics({"m": n}, n, 0)
        context.progress(n, 100, "x", 0.0, 0)
    assert (sender.sent, sender.woken) == ([], 1)
    assert context.flush_due() == 0.0
    context.flush()
    kinds = [type(message) for message in sender.take()]
    assert kinds == [Reported, StatusUpdated, Progressed]
    assert context.flush_due() is None


def test_a_second_flush_is_not_due_at_once(sender: Sender):
    clock = Clock(pause=0.0)
    context = context_at(clock, sender)
    context.update_status(1)
    context.flush()
    context.update_status(2)
    assert context.flush_due() == pytest.approx(FLUSH_INTERVAL)
    clock.now += FLUSH_INTERVAL / 2
    assert context.flush_due() == pytest.approx(FLUSH_INTERVAL / 2)
    clock.now += FLUSH_INTERVAL
    assert context.flush_due() == 0.0


def test_of_the_status_the_last_is_sent_and_of_metrics_everything(context: WorkerContext, sender: Sender):
    for n in range(3):
        context.update_status({"n": n})
        context.report_metrics({"a": n, "b": -n}, n, 1000 + n)
    context.flush()
    reported, status = sender.take()
    assert isinstance(reported, Reported)
    assert reported.metrics == (
        *(("a", 0.0, 0, 1000), ("b", 0.0, 0, 1000)),
        *(("a", 1.0, 1, 1001), ("b", -1.0, 1, 1001)),
        *(("a", 2.0, 2, 1002), ("b", -2.0, 2, 1002)),
    )
    assert status == StatusUpdated({"n": 2})


def test_nothing_is_sent_twice(context: WorkerContext, sender: Sender, tmp_path: Path):
    context.report_params({"a": 1})
    context.set_tags({"t": 2})
    context.log_artifact(tmp_path, None)
    context.flush()
    context.flush()
    assert sender.take() == [Reported((), {"a": 1}, {"t": 2}, ((str(tmp_path), None, None),))]


def test_a_status_is_kept_as_it_was_when_it_was_given(context: WorkerContext, sender: Sender):
    payload = {"list": [1]}
    context.update_status(payload)
    payload["list"].append(2)
    context.flush()
    assert sender.take() == [StatusUpdated({"list": [1]})]


def test_a_status_of_none_is_a_status(context: WorkerContext, sender: Sender):
    context.update_status(None)
    context.flush()
    assert sender.take() == [StatusUpdated(None)]


@pytest.mark.parametrize("bad", [{"m": "1"}, {"m": None}, {"\ud800": 1}, {"m": 10**400}, {"m": [1]}])
def test_a_bad_metric_is_left_out_with_a_word_in_the_log(
    context: WorkerContext, sender: Sender, caplog: pytest.LogCaptureFixture, bad: dict[str, Any]
):
    context.report_metrics({"before": 1, **bad, "after": 2}, None, 0)
    context.flush()
    (reported,) = sender.take()
    assert isinstance(reported, Reported)
    assert [key for key, *_ in reported.metrics] == ["before", "after"]
    assert "was left out" in caplog.text


@pytest.mark.parametrize("payload", [object(), {"a": {1, object()}}, "x" * (REPORT_LIMIT + 1)])
def test_a_bad_status_leaves_the_one_before_it(
    context: WorkerContext, sender: Sender, caplog: pytest.LogCaptureFixture, payload: Any
):
    context.update_status("good")
    context.update_status(payload)
    context.flush()
    assert sender.take() == [StatusUpdated("good")]
    assert "update_status" in caplog.text


def test_a_status_that_cannot_cross_is_left_out_and_the_rest_is_sent(context: WorkerContext, sender: Sender):
    context.update_status({"n": 2**70})
    context.report_metrics({"m": 1}, None, 0)
    context.progress(1, None, "x", 0.0, 0)
    context.flush()
    assert [type(message) for message in sender.take()] == [Reported, Progressed]


def test_a_model_that_reports_faster_than_anybody_reads_sends_itself(context: WorkerContext, sender: Sender):
    for n in range(METRICS_HELD - 1):
        context.report_metrics({"m": n}, n, 0)
    assert sender.sent == []
    context.report_metrics({"m": 0}, 0, 0)
    (reported,) = sender.take()
    assert isinstance(reported, Reported)
    assert len(reported.metrics) == METRICS_HELD


def test_an_artifact_is_sent_with_its_whole_path(
    context: WorkerContext, sender: Sender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "a.txt").touch()
    monkeypatch.chdir(tmp_path)
    context.log_artifact(Path("a.txt"), "folder")
    context.flush()
    assert sender.take() == [Reported(artifacts=((str(tmp_path / "a.txt"), "folder", None),))]


def test_a_pause_point_costs_nothing_unless_there_is_something_to_wait_for(context: WorkerContext, sender: Sender):
    context.pause_point()
    assert sender.waited == 0
    context.interrupted = True
    context.pause_point()
    assert sender.waited == 1


def test_a_pause_is_asked_for_and_taken_back(context: WorkerContext, sender: Sender):
    context.request_pause()
    context.release_pause()
    assert sender.pauses == [True, False]


def test_reports_from_many_threads_are_all_sent(context: WorkerContext, sender: Sender):
    threads_, each = 8, 2000
    begin = threading.Barrier(threads_ + 1)

    def report(thread: int) -> None:
        begin.wait()
        for n in range(each):
            context.report_metrics({str(thread): n}, n, 0)
            context.progress(n, each, "x", 0.0, 0)

    workers = [threading.Thread(target=report, args=(n,)) for n in range(threads_)]
    for worker in workers:
        worker.start()
    begin.wait()
    while any(worker.is_alive() for worker in workers):
        context.flush()
    context.flush()
    steps: dict[str, list[int | None]] = {}
    last = None
    for message in sender.take():
        if isinstance(message, Reported):
            for key, _, step, _ in message.metrics:
                steps.setdefault(key, []).append(step)
        elif isinstance(message, Progressed):
            last = message.done
    assert steps == {str(n): list(range(each)) for n in range(threads_)}
    assert last == each - 1
    assert context.flush_due() is None


@pytest.mark.parametrize(
    ("done", "total", "has_rate", "has_left"),
    [(0, 10, False, False), (5, 10, True, True), (5, None, True, False), (10, 10, True, True)],
)
def test_progress_has_a_rate_and_an_end_where_they_can_be_known(
    context: WorkerContext, sender: Sender, done: int, total: int | None, has_rate: bool, has_left: bool
):
    context.progress(done, total, "epochs", 0.0, 0)
    context.flush()
    (progressed,) = sender.take()
    assert isinstance(progressed, Progressed)
    assert (progressed.rate is not None, progressed.left is not None) == (has_rate, has_left)
    if done == total:
        assert progressed.left == 0


def test_the_rate_is_that_of_what_was_done_here(context: WorkerContext, sender: Sender):
    """A training that is taken up again at epoch 90 has not done 90 epochs in a moment."""
    context.progress(90, 100, "epochs", 0.0, 90)
    context.flush()
    (progressed,) = sender.take()
    assert isinstance(progressed, Progressed)
    assert (progressed.rate, progressed.left) == (None, None)


@pytest.mark.parametrize(
    ("total", "unit", "shown"),
    [
        (1000 / 32, "batches", (31, "batches")),
        (30, None, (30, "steps")),
        (Integer(30), "batches", (30, "batches")),
        (math.inf, "batches", (None, "batches")),
        (math.nan, 5, (None, "5")),
        ("many", "\ud800", (None, "steps")),
        (2**64, "batches", (None, "batches")),
    ],
)
def test_odd_figures_of_progress_are_made_plain_or_left_out_and_harm_no_other(
    context: WorkerContext, sender: Sender, total: Any, unit: Any, shown: tuple[int | None, str]
):
    context.progress(3, total, unit, 0.0, 0)
    context.flush()
    (progressed,) = sender.take()
    assert isinstance(progressed, Progressed)
    assert (progressed.done, progressed.total, progressed.unit) == (3, *shown)
    assert decode_from_worker(bytes(frame(progressed)[4:])) == progressed


def test_an_odd_figure_of_progress_is_reported_once(context: WorkerContext, caplog: pytest.LogCaptureFixture):
    for done in range(3):
        context.progress(done, f"about {done}", "batches", 0.0, 0)  # type: ignore[arg-type]
        context.flush()
    assert caplog.text.count("was left out") == 1


class Clock:
    """A clock that goes only when it is told to, and by ``pause`` seconds at every pause."""

    def __init__(self, pause: float) -> None:
        self.now = 1000.0
        self._pause = pause

    def wait(self) -> bool:
        self.now += self._pause
        return bool(self._pause)


@pytest.fixture
def clock() -> Clock:
    return Clock(pause=60.0)


def context_at(clock: Clock, sender: Sender) -> WorkerContext:
    """Return a context with a clock."""
    return WorkerContext(sender.send, clock.wait, sender.pauses.append, sender.wake, clock=lambda: clock.now)


def rate_of(context: WorkerContext, sender: Sender, done: int, started: float) -> float | None:
    """Return the rate that is reported."""
    context.progress(done, 100, "epochs", started, 0)
    context.flush()
    (progressed,) = sender.take()
    assert isinstance(progressed, Progressed)
    return progressed.rate


def test_the_time_of_a_pause_does_not_count_in_the_rate(clock: Clock, sender: Sender):
    context = context_at(clock, sender)
    context.interrupted = True
    started = clock.now
    for done in (10, 20, 30):
        clock.now += 5.0
        assert rate_of(context, sender, done, started) == 2.0
        context.pause_point()


def test_a_pause_before_the_work_began_takes_nothing_from_its_time(clock: Clock, sender: Sender):
    context = context_at(clock, sender)
    context.interrupted = True
    context.pause_point()
    clock.now += 1.0
    started = clock.now
    clock.now += 5.0
    assert rate_of(context, sender, 10, started) == 2.0


def test_the_pause_of_another_thread_takes_nothing_from_this_ones_time(clock: Clock, sender: Sender):
    context = context_at(clock, sender)
    context.interrupted = True
    started = clock.now
    other = threading.Thread(target=context.pause_point)
    other.start()
    other.join()
    assert rate_of(context, sender, 120, started) == 2.0


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (np.float32("inf"), "inf"),
        (None, None),
        (np.float32(0.5), 0.5),
        ([1, None], [1, None]),
    ],
)
def test_a_param_that_json_does_not_have_is_sent_as_text(context: WorkerContext, sender: Sender, value: Any, sent: Any):
    context.report_params({"p": value})
    context.flush()
    assert sender.take() == [Reported((), {"p": sent})]


class Raises:
    """Is a value to nobody."""

    def tolist(self) -> None:
        raise LookupError("not today")


@pytest.mark.parametrize("values", [None, "a", [("a", 1)], {"a": Raises()}])
def test_params_and_tags_that_cannot_be_had_are_reported_and_not_raised(
    context: WorkerContext, sender: Sender, caplog: pytest.LogCaptureFixture, values: Any
):
    context.report_params(values)
    context.set_tags(values)
    context.flush()
    assert sender.take() == []
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
