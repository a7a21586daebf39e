"""The state of the remotes before the store of a container is open."""

from __future__ import annotations

from pathlib import Path

import pytest

from mistk_service.tracking.embedded.local_tracking import LocalTracking
from mistk_service.tracking.errors import StoreError
from mistk_service.tracking.replication import RemoteState

REMOTES = ("http://me:secret@one.invalid/", "http://one.invalid", "http://two.invalid")


def test_remotes_that_are_configured_are_shown_before_the_store_is_open(tmp_path: Path) -> None:
    local = LocalTracking("sqlite://", tmp_path, REMOTES)

    local.refresh()

    assert local.states() == [RemoteState("http://one.invalid"), RemoteState("http://two.invalid")]


def test_remotes_of_a_store_that_cannot_be_opened_are_shown(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    local = LocalTracking("sqlite://", tmp_path / "file", REMOTES[1:])
    with pytest.raises(StoreError):
        local.open()

    local.refresh()

    assert [(state.connected, state.depth) for state in local.states()] == [(False, 0), (False, 0)]
