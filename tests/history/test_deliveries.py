"""What commands and stats read."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hls_handler.deliveries import Checkpoint, Finished
from hls_handler.history.statistics import QueueState
from hls_handler.storage import Storage
from tests.queue.builders import Skew, accept, begin, bury, claim, ignored, queued


def test_deliveries_are_listed_newest_first_and_narrowed(store: Storage) -> None:
    bury(store, "g1")
    accept(store, queued("g2"), queued("g3", repository="octo/other"), ignored("g4"))
    assert [row.guid for row in store.deliveries.newest()] == ["g4", "g3", "g2", "g1"]
    assert [row.guid for row in store.deliveries.newest(limit=2)] == ["g4", "g3"]
    assert [row.guid for row in store.deliveries.newest(state="dead")] == ["g1"]
    assert [row.guid for row in store.deliveries.newest(state="queued", repository="octo/other")] == ["g3"]


@pytest.mark.parametrize(
    ("asked", "found"),
    [("abc-1", "abc-1"), ("abc-12", "abc-12"), ("abc-2", "abc-22"), ("abc", None), ("a%", None), ("zzz", None)],
    ids=["exact", "exact, longer", "unique beginning", "several", "no wildcard", "unknown"],
)
def test_a_delivery_is_found_by_its_id_or_the_beginning_of_it(store: Storage, asked: str, found: str | None) -> None:
    accept(store, queued("abc-1"), queued("abc-12"), queued("abc-22"))
    row = store.deliveries.find(asked)
    assert (row.guid if row else None) == found


def test_deliveries_that_remember_a_step_are_found_newest_first(store: Storage, skew: Skew) -> None:
    for guid, name in (("g1", "shadow"), ("g2", "shadow"), ("g3", "ask"), ("g4", "shadow")):
        lease = begin(store, guid)
        store.checkpoints.save(lease, Checkpoint(name, 0, 1, "{}"))
        store.queue.finish(lease, "done", reason=None, took_s=1)
        skew.pass_by(minutes=1)
    rows = store.deliveries.with_checkpoint("shadow", since=store.now() - timedelta(seconds=210))
    assert [row.guid for row in rows] == ["g4", "g2"]


def test_a_thread_is_told_oldest_first(store: Storage) -> None:
    accept(store, queued("g1", number=7), ignored("g2", number=7), queued("g3", number=8))
    accept(store, queued("g4", number=7, repository="octo/other", repository_id=2))
    assert [row.guid for row in store.deliveries.of_conversation("octo/widgets", 7)] == ["g1", "g2"]


def test_a_body_is_given_as_received(store: Storage) -> None:
    accept(store, queued("g1", body=b"\xff\x00{}" * 5000))
    assert store.deliveries.body("g1") == b"\xff\x00{}" * 5000
    assert store.deliveries.body("nowhere") is None


def test_how_deliveries_ended_is_told_of_those_that_have(store: Storage) -> None:
    bury(store, "dead")
    accept(store, ignored("ignored", reason="not enabled"), queued("queued"))
    asked = ["dead", "ignored", "queued", "nowhere"]
    ends = [Finished("dead", "dead", "issue is locked"), Finished("ignored", "ignored", "not enabled")]
    assert sorted(store.deliveries.finished(asked), key=lambda end: end.guid) == ends


def test_the_queue_in_figures(store: Storage, skew: Skew) -> None:
    assert store.deliveries.queue_state() == QueueState(0, 0, 0, 0, 0, None, None)
    bury(store, "dead")
    waiting, _running = begin(store, "waiting"), begin(store, "running")
    store.queue.reschedule(waiting, at=store.now() + timedelta(hours=1), reason="503", failed=True, counts=False)
    accept(store, queued("due-1"))
    skew.pass_by(seconds=10)
    accept(store, queued("due-2"))
    figures = store.deliveries.queue_state()
    assert (figures.queued, figures.due, figures.running, figures.dead) == (3, 2, 1, 1)
    assert figures.waiting_reason == "503"
    assert figures.oldest_due_s is not None
    assert 10 <= figures.oldest_due_s < 12


def test_what_a_pause_holds_is_not_due(store: Storage, skew: Skew) -> None:
    accept(store, queued("held"))
    skew.pass_by(seconds=10)
    accept(store, queued("free", repository="octo/docs", repository_id=2))
    store.pauses.pause("Octo/Widgets", reason=None)
    figures = store.deliveries.queue_state()
    assert (figures.queued, figures.due, figures.held) == (2, 1, 1)
    assert figures.oldest_due_s is not None
    assert figures.oldest_due_s < 5
    store.pauses.pause(None, reason=None)
    figures = store.deliveries.queue_state()
    assert (figures.queued, figures.due, figures.held, figures.oldest_due_s) == (2, 0, 2, None)


def test_open_deliveries_are_counted_for_all_or_for_a_repository_in_any_case(store: Storage) -> None:
    begin(store, "running")
    accept(store, queued("one"), queued("two"), queued("three", repository="octo/docs", repository_id=2), ignored("no"))
    assert store.deliveries.count_open(None) == (3, 1)
    assert store.deliveries.count_open("Octo/Widgets") == (2, 1)
    assert store.deliveries.count_open("octo/nothing") == (0, 0)


def test_another_process_reads_while_the_service_works(url: str, store: Storage) -> None:
    accept(store, queued("g1"))
    lease = claim(store)
    reader = Storage.open(url)
    assert [row.state for row in reader.deliveries.newest()] == ["running"]
    store.queue.finish(lease, "done", reason=None, took_s=1)
    assert [row.state for row in reader.deliveries.newest()] == ["done"]
    reader.close()
