"""The output of a worker: passed on completely, the last lines kept, and pipes that never end."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from mistk_service.workers.host.output import Output

TIMEOUT = 20.0


class Bench:
    """An output that is copied on a thread, and what there is at its other side."""

    def __init__(self) -> None:
        pipe, self.printed = os.pipe()
        ended, self.lifeline = os.pipe()
        self.files = [self.printed, self.lifeline]
        self.output = Output(os.fdopen(pipe, "rb"), ended)
        self._thread = threading.Thread(target=self.output.copy)
        self._thread.start()

    def say(self, data: bytes) -> None:
        """Print something as the worker."""
        written = 0
        while written < len(data):
            written += os.write(self.printed, data[written:])

    def close(self, file: int) -> None:
        """Close one of the files at this side."""
        self.files.remove(file)
        os.close(file)

    def lines(self) -> tuple[str, ...]:
        """Return the lines that were kept, once the copying has ended."""
        self._thread.join(TIMEOUT)
        assert not self._thread.is_alive()
        return self.output.lines


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    for file in list(bench.files):
        bench.close(file)
    bench.lines()


def test_what_is_printed_is_passed_on_and_kept_by_lines(bench: Bench, capfdbinary: pytest.CaptureFixture[bytes]):
    bench.say(b"one\ntw")
    bench.say(b"o\r\n\n\xff and a part")
    bench.close(bench.printed)
    assert bench.lines() == ("one", "two", "", "\ufffd and a part")
    assert capfdbinary.readouterr().err == b"one\ntwo\r\n\n\xff and a part"


def test_a_line_without_end_is_passed_on_in_pieces(bench: Bench, capfdbinary: pytest.CaptureFixture[bytes]):
    bench.say(b"x" * 300_000)
    bench.close(bench.printed)
    assert set(bench.lines()) == {"x" * 500}
    assert capfdbinary.readouterr().err == b"x" * 300_000


def test_the_last_lines_are_kept(bench: Bench):
    bench.say(b"".join(b"%d\n" % number for number in range(200)))
    bench.close(bench.printed)
    assert bench.lines() == tuple(str(number) for number in range(150, 200))


def test_what_was_printed_before_the_end_is_kept_though_nobody_had_time_to_read_it_yet():
    pipe, printed = os.pipe()
    ended, lifeline = os.pipe()
    os.write(printed, b"x" * 60_000 + b"\nthe last words")
    os.close(lifeline)
    output = Output(os.fdopen(pipe, "rb"), ended)
    output.copy()
    os.close(printed)
    assert output.lines == ("x" * 500, "the last words")


def test_a_pipe_that_somebody_holds_open_is_let_go_of(bench: Bench):
    bench.close(bench.lifeline)
    assert bench.lines() == ()
    with pytest.raises(BrokenPipeError):
        bench.say(b"nobody listens")
