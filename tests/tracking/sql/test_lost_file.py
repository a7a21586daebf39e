"""A file of a store that is deleted, or replaced, while it is in use."""

from __future__ import annotations

from pathlib import Path

import pytest

from mistk_service.tracking.errors import StoreLost, StoreUnavailable
from mistk_service.tracking.sql import SqlStore


def test_what_would_be_lost_is_refused_when_the_file_is_deleted(tmp_path: Path) -> None:
    file = tmp_path / "tracking.db"
    with SqlStore.open(f"sqlite:///{file}") as store:
        run_id = store.create_run("0").info.run_id
        file.unlink()

        for write in (lambda: store.create_experiment("x"), lambda: store.create_run("0"), store.check):
            with pytest.raises(StoreLost, match="was deleted while it was in use"):
                write()
        with pytest.raises(StoreLost):
            store.submit_run("0").result()
        # A new connection, which this needs, would make an empty file.
        with pytest.raises(StoreUnavailable, match="was deleted"):
            store.get_run(run_id)
        assert not file.exists()


def test_a_file_that_another_one_has_replaced_is_noticed(tmp_path: Path) -> None:
    file, other = tmp_path / "tracking.db", tmp_path / "other.db"
    SqlStore.open(f"sqlite:///{other}").close()
    with SqlStore.open(f"sqlite:///{file}") as store:
        other.replace(file)

        with pytest.raises(StoreLost, match="replaced by another"):
            store.create_experiment("x")


def test_a_file_that_is_put_back_is_written_again(tmp_path: Path) -> None:
    file = tmp_path / "tracking.db"
    with SqlStore.open(f"sqlite:///{file}") as store:
        file.rename(tmp_path / "aside.db")
        with pytest.raises(StoreUnavailable):
            store.create_experiment("x")
        (tmp_path / "aside.db").rename(file)

        assert store.get_experiment(store.create_experiment("x")).name == "x"
