"""The search for deliveries: filters, pages, and the number of rows that it reads."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, event

from hls_handler.db.tables import deliveries
from hls_handler.db.values import to_ms
from hls_handler.deliveries import Checkpoint, End, find_cause
from hls_handler.store.search import CauseGroup, DeliverySearch, Expense
from hls_handler.store.storage import Storage
from tests.console.browser import Browser
from tests.engine.test_statements import counting
from tests.queue.builders import (
    Skew,
    accept,
    begin,
    claim,
    finish,
    ignored,
    newest,
    push,
    queued,
    start_call,
)
from tests.store.test_calls import USAGE


def guids(store: Storage, **filters: object) -> list[str]:
    search = DeliverySearch(**filters)  # type: ignore[arg-type]
    return [row.guid for row in store.searches.find(search).rows]


def test_text_and_sender_are_found_in_any_case(store: Storage) -> None:
    accept(
        store,
        queued("g1", title="Crash at 100% of _disk_", sender="Mona"),
        queued("g2", title=None, sender="mona-2"),
        ignored("g3", title="Nothing", sender="hubot", reason="the crash is old"),
    )
    assert guids(store, sender="mONA") == ["g1"]
    assert guids(store, text="CRASH") == ["g3", "g1"]
    assert guids(store, text="100% of _d") == ["g1"]
    assert guids(store, text="%") == ["g1"]
    assert guids(store, text="_x") == []


def test_text_that_names_a_repository_finds_its_deliveries_and_titles_with_it(
    store: Storage,
) -> None:
    accept(
        store,
        queued("g1", repository="octo/widgets", number=7),
        queued("g2", repository="octo/docs", title="Move OCTO/widgets"),
        queued("g3", repository="octo/widgets-2", number=7),
    )
    assert guids(store, text="Octo/Widgets") == ["g2", "g1"]
    assert guids(store, text="octo/widgets#7") == ["g1"]
    assert store.searches.count(DeliverySearch(state="queued", repository="OCTO/widgets")) == 1
    assert store.searches.count(DeliverySearch(state="running")) == 0


def test_pages_have_each_delivery_once_and_begin_after_a_known_one(store: Storage) -> None:
    assert list(store.searches.read_all(DeliverySearch())) == []
    accept(store, *(queued(f"g{number:03}") for number in range(101)))
    found = [row.guid for row in store.searches.read_all(DeliverySearch())]
    assert found == [f"g{number:03}" for number in reversed(range(101))]
    assert store.searches.find(DeliverySearch(before="g051")).next == "g001"
    assert guids(store, before="g001") == ["g000"]
    assert store.searches.find(DeliverySearch(before="unknown")).rows == ()


def test_times_include_the_first_and_not_the_last(store: Storage, skew: Skew) -> None:
    times = []
    for day in range(4):
        skew.advance(days=1)
        accept(store, queued(f"day{day}"))
        (newest,) = store.searches.find(DeliverySearch(text=f"day{day}")).rows
        times.append(newest.received_at)
    assert guids(store, since=times[1], until=times[3]) == ["day2", "day1"]


def fail(store: Storage, guid: str, reason: str, **other: object) -> None:
    store.queue.finish(begin(store, guid, **other), End("dead", reason))


def test_discarded_delivery_leaves_the_dead_ones_until_it_is_retried(store: Storage) -> None:
    fail(store, "g1", "issue is locked")
    accept(store, queued("g2"))
    assert store.queue.discard("g1") is True
    assert store.queue.discard("g1") is False
    assert store.queue.discard("g2") is False
    assert guids(store, state="dead") == []
    assert guids(store, state="discarded") == ["g1"]
    assert guids(store) == ["g2", "g1"]
    assert store.deliveries.queue_state().dead == 0
    store.queue.retry("g1")
    fail_again = claim(store)
    finish(store, fail_again, "dead")
    assert guids(store, state="dead") == ["g1"]


def test_redelivery_of_a_discarded_delivery_is_processed(store: Storage) -> None:
    fail(store, "g1", "issue is locked")
    store.queue.discard("g1")
    assert [one.outcome for one in accept(store, queued("g1"))] == ["queued"]
    finish(store, claim(store), "dead")
    assert guids(store, state="dead") == ["g1"]


def test_reasons_that_differ_in_numbers_times_and_ids_are_one_cause(store: Storage) -> None:
    fail(store, "a", "Claude answered 401 to issues/analyze@3b4b87: invalid key (req_01a)")
    fail(store, "b", "Claude answered 401 to pull_requests/review@77aa01: invalid key (req_2)")
    fail(store, "c", "GET /repos/o/r/issues/7: 404 Not Found")
    first, second = causes(store, state="dead")
    assert (first.number, second.number) == (2, 1)
    assert guids(store, state="dead", cause=first.cause) == ["b", "a"]
    assert store.searches.count(DeliverySearch(state="dead", cause=second.cause)) == 1
    newest = store.searches.find_newest(DeliverySearch(state="dead"), [first, second], limit=1)
    assert [row.guid for row in newest] == ["c", "b"]


def test_heading_of_a_cause_keeps_the_status_before_a_colon(store: Storage) -> None:
    fail(store, "a", "GitHub answered 401: bad (req_1)")
    fail(store, "b", "GitHub answered 401: bad (req_2)")
    (group,) = causes(store, state="dead")
    assert (group.title, group.number) == ("GitHub answered 401: bad …", 2)


def causes(store: Storage, **filters: object) -> tuple[CauseGroup, ...]:
    search = DeliverySearch(**filters)  # type: ignore[arg-type]
    return store.searches.count_causes(search, limit=9).groups


def test_largest_groups_are_counted_and_the_others_summed(store: Storage) -> None:
    for guid, reason in (("a", "late"), ("b", "broken"), ("c", "late"), ("d", "lost")):
        fail(store, guid, reason)
    store.queue.discard("d")
    found = store.searches.count_causes(DeliverySearch(state="dead"), limit=1)
    assert [(one.reason, one.number) for one in found.groups] == [("late", 2)]
    assert (found.hidden_groups, found.hidden) == (1, 1)
    assert [one.reason for one in causes(store, state="discarded")] == ["lost"]
    assert causes(store, state="dead", cause=find_cause("lost")) == ()


def test_cause_is_written_with_each_reason_of_a_waiting_or_dead_delivery(
    store: Storage, skew: Skew
) -> None:
    later = store.now() + timedelta(hours=1)
    accept(store, queued("settles", settle_s=60))
    store.queue.reschedule(
        begin(store, "failed"), at=later, reason="503", failed=True, counts=False
    )
    store.queue.postpone(begin(store, "postponed"), at=later, reason="waits for a slot")
    for guid, state in (("done", "done"), ("ignored", "ignored"), ("dead", "dead")):
        end = End(state, f"{guid} at 12:00")  # type: ignore[arg-type]
        store.queue.finish(begin(store, guid), end)
    fail(store, "retried", "lost")
    begin(store, "crashed")
    store.queue.retry("retried")
    skew.advance(minutes=1)
    store.queue.claim(worker="other", lease_s=30, max_crashes=1, concurrency=0)
    found = {row.guid: (row.reason, row.cause) for row in newest(store)}
    assert found == {
        "settles": (
            "waits 60 s for a newer push (limits.settle_s)",
            find_cause("waits s for a newer push (limits.settle_s)"),
        ),
        "failed": ("503", find_cause("")),
        "postponed": ("waits for a slot", find_cause("waits for a slot")),
        "retried": ("an operator runs it again", find_cause("an operator runs it again")),
        "done": ("done at 12:00", None),
        "ignored": ("ignored at 12:00", None),
        "dead": ("dead at 12:00", find_cause("dead at")),
        "crashed": (
            "its worker died 1 time without completing another step",
            find_cause("its worker died time without completing another step"),
        ),
    }


def test_postponed_delivery_keeps_the_cause_of_its_failure(store: Storage) -> None:
    now = store.now()
    lease = begin(store, "g1")
    store.queue.reschedule(lease, at=now, reason="401 (req_1)", failed=True, counts=False)
    store.queue.postpone(claim(store), at=now, reason="waits for a slot")
    assert guids(store, state="queued", cause=find_cause("(req)")) == []
    assert guids(store, state="queued", cause=find_cause("401 (req_1)")) == ["g1"]


def test_delivery_that_is_done_or_superseded_has_no_cause(store: Storage) -> None:
    lease = begin(store, "g1")
    store.queue.reschedule(lease, at=store.now(), reason="401", failed=True, counts=False)
    store.queue.finish(claim(store), End("done", "labelled"))
    accept(store, push("g2", "aaa", settle_s=30))
    accept(store, push("g3", "bbb", settle_s=30))
    found = {row.guid: row.cause for row in newest(store)}
    assert (found["g1"], found["g2"]) == (None, None)
    assert found["g3"] is not None


def test_cause_is_that_of_the_reason_as_it_is_stored(store: Storage) -> None:
    fail(store, "g1", "half\ud800 of a\x00 name")
    (row,) = newest(store)
    assert row.reason is not None
    assert row.cause == find_cause(row.reason)


def test_pages_of_a_cause_are_read_without_its_reasons(store: Storage) -> None:
    for number in range(51):
        fail(store, f"g{number}", f"issue {number} is locked")
    search = DeliverySearch(state="dead", cause=find_cause("issue is locked"))
    with counting() as counted:
        found = list(store.searches.read_all(search))
    assert len(found) == 51
    assert counted.statements == 2


def test_pages_read_no_more_rows_of_20000_dead_ones_with_reasons_of_their_own(
    store: Storage,
) -> None:
    def copy_dead_ones(store: Storage, number: int) -> None:
        """Store copies of the delivery "seed", each with an id of its own in its reason."""
        names = [
            column.name for column in deliveries.c if column.name not in ("id", "guid", "reason")
        ]
        insert = (
            f"INSERT INTO deliveries (guid, reason, {', '.join(names)})"
            " WITH RECURSIVE numbers (n) AS"
            f" (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {number})"
            f" SELECT 'copy' || n, '401 (req_' || n || 'a)', {', '.join(names)}"
            " FROM deliveries, numbers WHERE guid = 'seed'"
        )
        with store.database.writing() as connection:
            connection.exec_driver_sql(insert)

    fail(store, "seed", "401 (req_0a)")
    browser = Browser(store)
    cause = find_cause("401 (req_0a)")
    pages = (
        "/deliveries?q=is:dead",
        f"/deliveries?q=is:dead+cause:{cause}",
        "/deliveries?q=is:done",
        "/deliveries/seed",
        "/",
    )
    rows: list[int] = []

    def add_rows(*arguments: Any) -> None:
        rows.append(arguments[1].rowcount)  # -1 of a query of SQLite

    statements = []
    for copies in (3, 20_000):
        copy_dead_ones(store, copies)
        browser.now += 60  # the overview is kept for ten seconds
        event.listen(Engine, "after_cursor_execute", add_rows)
        try:
            for page in pages:
                with counting() as counted:
                    response = browser.get(page)
                assert response.status == 200
                assert len(response.body) < 60_000
                statements.append(counted.statements)
        finally:
            event.remove(Engine, "after_cursor_execute", add_rows)
        with store.database.writing() as connection:
            connection.execute(deliveries.delete().where(deliveries.c.guid != "seed"))
    assert statements[:5] == statements[5:]
    assert max(rows) <= 51


def test_states_are_counted_without_a_limit_of_time_and_within_a_span(
    store: Storage, skew: Skew
) -> None:
    fail(store, "old", "issue is locked")
    skew.advance(days=9)
    accept(store, queued("g1"), ignored("g2"), ignored("g3", repository="octo/docs"))
    since = store.now() - timedelta(days=7)
    counts = store.searches.count_states(DeliverySearch(), since=since)
    assert counts.overall == {"queued": 1, "running": 0, "dead": 1, "discarded": 0}
    assert counts.in_span == {"queued": 1, "ignored": 2}
    of_docs = store.searches.count_states(DeliverySearch(repository="octo/docs"), since=None)
    assert of_docs.overall == {"queued": 0, "running": 0, "dead": 0, "discarded": 0}
    assert of_docs.in_span == {"ignored": 1}


def test_deliveries_of_one_retry_are_found_by_its_time(store: Storage, skew: Skew) -> None:
    times = []
    for guid in ("a", "b", "c"):
        fail(store, guid, "issue is locked")
        if guid != "c":
            times.append(store.now())
        store.queue.retry(guid, at=times[-1])
        finish(store, claim(store), "dead")
        skew.advance(minutes=1)
    accept(store, queued("waits"))
    store.queue.retry("waits", at=times[-1])
    assert guids(store, retried_ms=to_ms(times[-1])) == ["waits", "c", "b"]


def test_processing_time_is_that_of_steps_and_calls_without_the_wait(
    store: Storage, skew: Skew
) -> None:
    accept(store, queued("g1"), queued("g2"))
    skew.advance(minutes=5)
    lease = claim(store)
    call = start_call(store, lease)
    store.calls.end(lease, call, outcome="ok", usage=USAGE, error=None)
    step = Checkpoint("gather", 0, 1, "{}", took_s=0.25, started_at=store.now())
    store.checkpoints.save(lease, step, Checkpoint("rule", 0, 1, "{}"))
    expenses = store.searches.expenses(newest(store))
    assert expenses == {"g1": Expense(1.75, 0.012346)}
