"""Pauses: new deliveries are stored and wait, running ones end, and other repositories continue."""

from __future__ import annotations

from hls_handler.queue.pauses import find_pause
from hls_handler.store.storage import Storage
from tests.queue.builders import accept, begin, claim, finish, nothing_is_due, queued


def test_nothing_is_claimed_while_everything_is_paused(store: Storage) -> None:
    running = begin(store, "g1")
    assert store.pauses.pause(None, reason="an upgrade of the cluster", by="mona")
    assert [
        answer.outcome
        for answer in accept(store, queued("g2"), queued("g3", repository=None, number=None))
    ] == [
        "queued",
        "queued",
    ]
    assert nothing_is_due(store)
    assert (
        store.queue.seconds_until_due() or 0
    ) > 25  # workers do not wake up for paused deliveries
    finish(store, running)
    assert store.queue.seconds_until_due() is None
    assert store.pauses.resume(None, by="mona")
    assert [claim(store).guid for _ in range(2)] == ["g2", "g3"]


def test_paused_repository_holds_only_its_own_deliveries(store: Storage) -> None:
    store.pauses.pause("Octo/Widgets", reason=None, by="mona")
    accept(
        store,
        queued("g1"),
        queued("g2", repository="octo/gadgets", repository_id=2),
        queued("g3", repository=None),
    )
    assert [claim(store).guid for _ in range(2)] == ["g2", "g3"]
    assert nothing_is_due(store)
    assert store.pauses.resume("octo/WIDGETS", by="mona")
    assert claim(store).guid == "g1"


def test_second_pause_changes_only_the_reason(store: Storage) -> None:
    before = store.now()
    assert store.pauses.pause("octo/widgets", reason="noise", by="mona")
    assert not store.pauses.pause("octo/widgets", reason="still noise", by="mona")
    assert store.pauses.pause(None, reason=None, by="mona")
    everything, widgets = store.pauses.active()
    assert (everything.repository, everything.reason) == (None, None)
    assert (widgets.repository, widgets.reason) == ("octo/widgets", "still noise")
    assert before <= widgets.paused_at <= everything.paused_at <= store.now()


def test_pause_of_everything_is_named_before_that_of_the_repository(store: Storage) -> None:
    store.pauses.pause("octo/widgets", reason=None, by="mona")
    store.pauses.pause(None, reason="an upgrade", by="mona")
    pause = find_pause("octo/Widgets", store.pauses.active())
    assert pause is not None
    assert (pause.repository, pause.reason) == (None, "an upgrade")
