"""The search for deliveries: filters, pages, and the number of rows that it reads."""

from __future__ import annotations

from hls_handler.storage import Storage
from hls_handler.store.search import DeliverySearch
from tests.queue.builders import Skew, accept, ignored, queued


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
