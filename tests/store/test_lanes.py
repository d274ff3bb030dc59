"""Lanes: who is marked as behind another of its thread, and who comes to the front when that one has ended."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import create_engine, text

from hls_handler.deliveries import Lease
from hls_handler.store import Store
from tests.store.builders import Skew, accept, begin, bury, claim, claim_nothing, push, queued


def behind(url: str) -> set[str]:
    """The queued deliveries that are marked."""
    engine = create_engine(url)
    with engine.connect() as connection:
        found = set(connection.execute(text("SELECT guid FROM deliveries WHERE behind AND state = 'queued'")).scalars())
    engine.dispose()
    return found


def test_all_but_the_first_of_a_thread_stand_behind(url: str, store: Store) -> None:
    accept(store, queued("g1", number=7), queued("g2", number=7), queued("g3", number=8), queued("g4", number=None))
    accept(store, queued("g5", number=7), queued("g6", number=None))
    assert behind(url) == {"g2", "g5"}


def test_the_next_comes_to_the_front_when_the_one_before_it_ends(url: str, store: Store) -> None:
    accept(store, queued("g1", number=7), queued("g2", number=7), queued("g3", number=7))
    store.finish(claim(store), "done", reason=None, took_s=1)
    assert behind(url) == {"g3"}
    store.bury(claim(store), reason="issue is locked")
    assert behind(url) == set()
    assert claim(store).guid == "g3"


def test_the_next_comes_to_the_front_when_the_one_before_it_is_superseded(url: str, store: Store) -> None:
    accept(store, push("g1", "aaa"))
    accept(store, push("g2", "bbb"))
    assert behind(url) == set()
    accept(store, push("g3", "ccc"), push("g4", "ddd"))
    assert (claim(store).guid, behind(url)) == ("g4", set())
    accept(store, push("g5", "eee"))
    assert behind(url) == {"g5"}


def test_the_next_comes_to_the_front_when_the_one_before_it_dies_of_its_crashes(
    url: str, store: Store, skew: Skew
) -> None:
    begin(store, "g1", number=7)
    accept(store, queued("g2", number=7))
    skew.pass_by(seconds=31)
    assert claim(store, max_crashes=1).guid == "g2"


def test_what_waits_for_a_retry_keeps_its_place(url: str, store: Store) -> None:
    lease = begin(store, "g1", number=7)
    accept(store, queued("g2", number=7))
    store.postpone(lease, at=store.now(), reason="503", failed=True, counts=True)
    assert behind(url) == {"g2"}
    assert claim(store).guid == "g1"


@pytest.mark.parametrize("again", [Store.requeue, lambda store, guid: accept(store, queued(guid, number=7))])
def test_an_older_one_that_is_run_again_goes_before_those_that_came_since(
    url: str, store: Store, again: Callable[[Store, str], object]
) -> None:
    bury_on_seven(store)
    accept(store, queued("g2", number=7), queued("g3", number=7))
    again(store, "g1")
    order = []
    for _ in range(3):
        lease = claim(store)
        assert claim_nothing(store)
        order.append(lease.guid)
        store.finish(lease, "done", reason=None, took_s=1)
    assert order == ["g1", "g2", "g3"]


def bury_on_seven(store: Store) -> None:
    store.bury(begin(store, "g1", number=7), reason="issue is locked")


def test_a_mark_that_nobody_removed_is_found(url: str, store: Store) -> None:
    lease = begin(store, "g1", number=7)
    accept(store, queued("g2", number=7), queued("g3", number=7))
    assert store.unmark_strays() == 0
    _end_as_an_older_version_does(url, lease)
    assert claim_nothing(store)
    assert store.unmark_strays() == 1
    assert (behind(url), claim(store).guid) == ({"g3"}, "g2")


def _end_as_an_older_version_does(url: str, lease: Lease) -> None:
    """It knows nothing of marks."""
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE deliveries SET state = 'done' WHERE guid = :guid"), {"guid": lease.guid})
    engine.dispose()


def test_a_dead_one_is_behind_nobody(url: str, store: Store) -> None:
    bury(store, "g1")
    assert (behind(url), store.unmark_strays()) == (set(), 0)
