"""The queue of files that are waiting for the artifact storage."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from mistk_service.recording.file_queue import FileQueue, Job
from mistk_service.tracking.errors import InvalidParameter, StoreUnavailable


class Yard:
    """A queue whose jobs fail so many times, and what became of them."""

    def __init__(self, attempts: int = 1) -> None:
        self.obstacles: list[str | None] = []
        self.done: list[str] = []
        self.given_up: list[tuple[str, str]] = []
        self.queue = FileQueue(self.obstacles.append, delays=(0.0,) * (attempts - 1))

    def put(self, place: str, name: str, failures: Iterable[Exception] = (), then: tuple[str, ...] = ()) -> Yard:
        """Put a job that fails with these errors first, and is followed by others."""
        self.queue.put(place, self._job(name, list(failures), then))
        return self

    def _job(self, name: str, failures: list[Exception], then: tuple[str, ...] = ()) -> Job:
        def do() -> Iterable[Job]:
            if failures:
                raise failures.pop(0)
            self.done.append(name)
            return [self._job(following, []) for following in then]

        return Job(name, do, lambda error: self.given_up.append((name, str(error))))


AWAY = StoreUnavailable("The storage is away.")


def test_a_file_that_cannot_be_stored_now_is_tried_again_and_the_obstacle_is_shown_meanwhile() -> None:
    yard = Yard(attempts=4).put("s3", "a", [AWAY] * 3).put("s3", "b")

    yard.queue.work()

    assert yard.done == ["a", "b"]
    assert (yard.obstacles, yard.given_up) == (["The storage is away.", None], [])


def test_files_of_one_place_do_not_wait_for_those_of_another() -> None:
    yard = Yard()
    yard.queue = FileQueue(yard.obstacles.append, delays=(3600.0,))
    yard.put("s3", "a", [AWAY]).put("here", "b").put("here", "c")

    yard.queue.work()

    assert (yard.done, yard.queue.waiting) == (["b", "c"], 1)


def test_files_are_given_up_one_by_one_and_the_next_one_is_tried() -> None:
    yard = Yard(attempts=3).put("s3", "a", [AWAY] * 10).put("s3", "b", [AWAY]).put("s3", "c").put("s3", "d", [AWAY] * 2)

    yard.queue.work()

    assert (yard.done, [name for name, _ in yard.given_up]) == (["c", "d"], ["a", "b"])
    assert (yard.queue.waiting, yard.obstacles[-1]) == (0, None)


@pytest.mark.parametrize("error", [InvalidParameter("That is no path."), OSError("It is gone."), ValueError("odd")])
def test_what_no_repetition_mends_is_given_up_at_once(error: Exception) -> None:
    yard = Yard(attempts=5).put("here", "a", [error]).put("here", "b")

    yard.queue.work()

    assert (yard.done, yard.given_up) == (["b"], [("a", str(error))])


def test_what_follows_from_a_job_comes_before_what_waits() -> None:
    yard = Yard().put("here", "a", then=("a1", "a2")).put("here", "b")

    yard.queue.work()

    assert yard.done == ["a", "a1", "a2", "b"]
