"""Leases of writers: an expired lease is claimed by exactly one other writer."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from mistk_service.tracking.sql import SqlStore

EXPIRED, LONG = -1.0, 3600.0


def test_a_lease_is_renewed_until_another_claims_it_and_gone_once_that_is_done(store_uri: str) -> None:
    with SqlStore.open(store_uri) as store:
        leases = store.writer_leases
        for _ in range(2):  # the answer to the first attempt may be lost
            leases.acquire("writer", LONG)
        assert leases.claim_expired("other", LONG) is None
        assert leases.renew("writer", EXPIRED)
        assert leases.renew("writer", EXPIRED), "nobody has claimed it"
        assert leases.claim_expired("writer", LONG) is None, "nobody claims its own"
        writer, last_seen = leases.claim_expired("other", LONG) or ("", 0)
        assert writer == "writer"
        assert last_seen == pytest.approx(time.time() * 1000, abs=60_000)
        assert not leases.renew("writer", LONG)
        leases.release("writer")
        assert leases.exists("writer"), "it is the claimer's now"
        leases.release("writer", "other")
        assert not leases.exists("writer")


def test_a_claim_that_is_not_finished_passes_on(store_uri: str) -> None:
    with SqlStore.open(store_uri) as store:
        leases = store.writer_leases
        leases.acquire("writer", EXPIRED)
        assert (leases.claim_expired("dies", EXPIRED) or ("", 0))[0] == "writer"
        assert (leases.claim_expired("other", LONG) or ("", 0))[0] == "writer"
        leases.release("writer", "dies")
        assert leases.exists("writer")


def test_of_many_that_claim_at_once_one_gets_each_lease(store_uri: str) -> None:
    with SqlStore.open(store_uri) as store, ThreadPoolExecutor(8) as threads:
        leases = store.writer_leases
        for number in range(20):
            leases.acquire(f"writer {number}", EXPIRED)
        claims = threads.map(lambda number: leases.claim_expired(f"claimer {number}", LONG), range(100))
        claimed = [claim[0] for claim in claims if claim is not None]
        while (claim := leases.claim_expired("the last", LONG)) is not None:  # two may have wanted the same one
            claimed.append(claim[0])
        assert sorted(claimed) == sorted(f"writer {number}" for number in range(20))
