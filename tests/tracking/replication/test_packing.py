"""The contents of a request."""

from hypothesis import given
from hypothesis import strategies as st

from mistk_service.tracking.replication.packing import Batch, merged
from mistk_service.tracking.values import Metric, Param, Tag
from mistk_service.tracking.values.changes import BatchLogged, RunUpdated, TagDeleted


def test_successive_batches_are_one_and_what_is_between_them_keeps_its_place():
    update, untag = RunUpdated("FINISHED", 1, None), TagDeleted("t")
    parts = list(
        merged(
            [
                BatchLogged([("m", 1.0, 1, 1)], [("p", "1")], [("t", "old")]),
                BatchLogged([("m", 2.0, 2, 2)], [("p", "1")], [("t", "new"), ("u", "x")]),
                update,
                untag,
                BatchLogged([], [], [("t", "last")]),
            ]
        )
    )
    assert parts == [
        Batch([Metric("m", 1.0, 1, 1), Metric("m", 2.0, 2, 2)], [Param("p", "1")], [Tag("t", "new"), Tag("u", "x")]),
        update,
        untag,
        Batch(tags=[Tag("t", "last")]),
    ]


def test_an_empty_batch_is_not_sent():
    assert list(merged([BatchLogged([], [], [])])) == []
    assert list(Batch().pieces()) == []


KEYS = st.text("ab", min_size=1, max_size=3)
BATCHES = st.builds(
    Batch,
    st.lists(st.builds(Metric, KEYS, st.floats(allow_nan=False), st.integers(0, 9)), max_size=5).map(
        lambda some: some * 300
    ),
    st.lists(st.builds(Param, KEYS, st.text(max_size=3)), max_size=3).map(lambda some: some * 70),
    st.lists(st.builds(Tag, KEYS, st.sampled_from(["", "x" * 8000, "ü" * 8000])), max_size=3).map(
        lambda some: some * 70
    ),
)


@given(BATCHES)
def test_pieces_are_within_the_limits_and_together_the_same(batch):
    pieces = list(batch.pieces())
    for piece in pieces:
        assert 0 < len(piece) <= 1000
        assert len(piece.params) <= 100
        assert len(piece.tags) <= 100
        assert sum(len(f"{tag.key}{tag.value}".encode()) for tag in piece.tags) < 1_000_000
    for name in ("metrics", "params", "tags"):
        assert [item for piece in pieces for item in getattr(piece, name)] == getattr(batch, name)


@given(BATCHES.filter(lambda batch: len(batch) > 1))
def test_halves_are_smaller_and_together_the_same(batch):
    first, second = batch.halves()
    assert 0 < len(first) < len(batch)
    assert len(first) + len(second) == len(batch)
    assert first.metrics + second.metrics == batch.metrics
    assert first.params + second.params == batch.params
    assert first.tags + second.tags == batch.tags


def test_a_single_value_that_is_longer_than_a_request_may_be_goes_alone():
    long = Tag("long", "x" * 2_000_000)
    pieces = list(Batch(tags=[Tag("a", "1"), long, Tag("b", "2")]).pieces())
    assert [piece.tags for piece in pieces] == [[Tag("a", "1")], [long], [Tag("b", "2")]]
