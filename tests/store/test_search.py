"""The search for deliveries: filters, pages, and the number of rows that it reads."""

from __future__ import annotations

from datetime import timedelta

from hls_handler.storage import Storage
from hls_handler.store.search import DeliverySearch, DeliverySearches
from tests.queue.builders import Skew, accept, ignored, queued


def guids(store: Storage, **filters: object) -> list[str]:
    search = DeliverySearch(**filters)  # type: ignore[arg-type]
    found = [row.guid for row in store.searches.find(search).rows]
    assert [row.guid for row in store.searches.read_all(search)] == found
    return found


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


def test_text_that_names_a_repository_finds_its_deliveries_and_titles_with_it(store: Storage) -> None:
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


def test_page_reads_a_limited_number_of_rows(store: Storage) -> None:
    accept(store, queued("old", sender="mona"), *(queued(f"g{number:02}") for number in range(25)))
    searches = DeliverySearches(store.database, max_read=10)
    page = searches.find(DeliverySearch(sender="mona"))
    assert (page.rows, page.next, page.is_complete) == ((), "g15", False)
    page = searches.find(DeliverySearch(sender="mona", before="g15"))
    assert (page.rows, page.next, page.is_complete) == ((), "g05", False)
    page = searches.find(DeliverySearch(sender="mona", before="g05"))
    assert ([row.guid for row in page.rows], page.next, page.is_complete) == (["old"], None, True)
    assert [row.guid for row in searches.read_all(DeliverySearch(sender="mona"))] == ["old"]
    assert searches.find(DeliverySearch(before="unknown")).rows == ()


def test_times_limit_what_is_read(store: Storage, skew: Skew) -> None:
    for day in range(9):
        accept(store, *(queued(f"day{day}-{number}") for number in range(3)))
        skew.advance(days=1)
    start = store.now() - timedelta(days=9)
    searches = DeliverySearches(store.database, max_read=6)
    noon = {day: start + timedelta(days=day, hours=-12) for day in range(10)}
    page = searches.find(DeliverySearch(since=noon[2], until=noon[4]))
    assert [row.guid for row in page.rows] == ["day3-2", "day3-1", "day3-0", "day2-2", "day2-1", "day2-0"]
    assert (page.next, page.is_complete) == (None, True)
    assert len(list(searches.read_all(DeliverySearch(since=noon[1])))) == 24
    assert searches.find(DeliverySearch(since=noon[9])).rows == searches.find(DeliverySearch(until=noon[0])).rows == ()
