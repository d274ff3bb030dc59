"""Pauses: what comes is kept and waits, what runs ends, and the rest goes on."""

from __future__ import annotations

from hls_handler.store import Store
from tests.store.builders import accept, begin, claim, claim_nothing, queued, state_of


def test_nothing_is_begun_while_everything_is_paused(store: Store) -> None:
    running = begin(store, "g1")
    assert store.pause(None, reason="an upgrade of the cluster")
    assert [answer.outcome for answer in accept(store, queued("g2"), queued("g3", repository=None, number=None))] == [
        "queued",
        "queued",
    ]
    assert claim_nothing(store)
    waiting = store.seconds_until_due()
    assert waiting is not None
    assert waiting > 25  # nobody wakes up in vain
    store.finish(running, "done", reason=None, took_s=1)
    assert store.seconds_until_due() is None
    assert store.resume(None)
    assert [claim(store).guid for _ in range(2)] == ["g2", "g3"]


def test_a_paused_repository_holds_back_its_own_deliveries_only(store: Store) -> None:
    store.pause("Octo/Widgets", reason=None)
    accept(store, queued("g1"), queued("g2", repository="octo/gadgets", repository_id=2), queued("g3", repository=None))
    assert [claim(store).guid for _ in range(2)] == ["g2", "g3"]
    assert claim_nothing(store)
    assert store.resume("octo/WIDGETS")
    assert claim(store).guid == "g1"


def test_a_pause_of_everything_does_not_end_that_of_a_repository(store: Store) -> None:
    accept(store, queued("g1"))
    store.pause("octo/widgets", reason=None)
    store.pause(None, reason=None)
    store.resume(None)
    assert claim_nothing(store)


def test_a_pause_is_begun_once_and_its_reason_may_change(store: Store) -> None:
    before = store.now()
    assert store.pause("octo/widgets", reason="noise")
    assert not store.pause("octo/widgets", reason="still noise")
    assert store.pause(None, reason=None)
    everything, widgets = store.pauses()
    assert (everything.repository, everything.reason) == (None, None)
    assert (widgets.repository, widgets.reason) == ("octo/widgets", "still noise")
    assert before <= widgets.paused_at <= everything.paused_at <= store.now()


def test_what_was_not_paused_cannot_be_resumed(store: Store) -> None:
    assert not store.resume(None)
    store.pause(None, reason=None)
    assert not store.resume("octo/widgets")
    assert (store.resume(None), store.resume(None), store.pauses()) == (True, False, [])


def test_a_newer_push_or_a_retry_while_paused_is_not_begun_either(store: Store) -> None:
    store.bury(begin(store, "g1"), reason="issue is locked")
    store.pause("octo/widgets", reason=None)
    assert store.requeue("g1") == "queued"
    assert claim_nothing(store)
    assert state_of(store, "g1") == "queued"
