"""Messages of the worker that arrive too late are ignored."""

from __future__ import annotations

import pytest

from mistk_service.core.instance import Instance
from mistk_service.doors.mistk.status import status_encoder
from mistk_service.errors import Failure
from mistk_service.kinds.model import MODEL
from mistk_service.kinds.model.states import State
from mistk_service.workers import messages as m

pytestmark = pytest.mark.anyio


def training(*, paused: bool) -> Instance:
    """Return an instance that trains, by the command 7, and is being paused or has just been resumed."""
    encode = status_encoder("ModelInstanceStatus", "an-id")
    instance = Instance(MODEL, "Model", encode, max_queue=1, observers=())
    for number, operation in enumerate(("initialize", "buildModel"), 1):
        instance.begin(number, operation, (), {})
        instance.on_message(m.Done(number))
    instance.begin(7, "train", (), {})
    instance.enter("pause")
    if paused:
        instance.on_message(m.Paused(7))
        instance.enter("resumeTraining")
    return instance


@pytest.mark.parametrize("late", [m.PauseUnsupported(6, ""), m.PauseOvertaken(6), m.Paused(6)])
async def test_the_answer_to_another_pause_changes_nothing(late: m.FromWorker):
    instance = training(paused=False)
    instance.on_message(late)
    assert instance.view.state == State.PAUSING
    instance.on_message(m.PauseUnsupported(7, ""))
    assert instance.view.state == State.TRAINING


@pytest.mark.parametrize("late", [m.ResumeUnsupported(6, ""), m.ResumeFailed(6, Failure("ValueError", "no"))])
async def test_the_answer_to_another_resume_changes_nothing(late: m.FromWorker):
    instance = training(paused=True)
    instance.on_message(late)
    assert instance.view.state == State.TRAINING
    instance.on_message(m.ResumeUnsupported(7, ""))
    assert instance.view.state == State.PAUSED
