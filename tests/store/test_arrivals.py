"""When webhooks last came, whoever took them."""

from __future__ import annotations

from datetime import timedelta

from hls_handler.store import Store
from tests.store.builders import Skew, ignored, queued


def test_the_last_webhook_is_known_of_all_and_of_each_repository_and_survives_a_restart(
    store: Store, url: str, skew: Skew
) -> None:
    assert store.last_webhooks() == {}
    first = store.now()
    store.accept([queued("a"), ignored("b", repository="octo/docs")], replay_window_h=72)
    skew.pass_by(hours=2)
    store.accept([queued("a")], replay_window_h=72)  # known already: it came nevertheless
    skew.pass_by(hours=1)
    store.accept([], replay_window_h=72, counts={("webhooks", ""): 1, ("event", "ping"): 1})
    store.accept([], replay_window_h=72, counts={("github_requests", ""): 5})
    another = Store.open(url)
    heard = another.last_webhooks()
    another.close()
    after = {name: round((at - first) / timedelta(hours=1), 2) for name, at in heard.items()}
    assert after == {"": 3.0, "octo/docs": 0.0, "octo/widgets": 2.0}


def test_webhooks_are_expected_since_it_was_first_asked_for(store: Store, skew: Skew) -> None:
    since = store.expected_since(["", "octo/*"])
    skew.pass_by(hours=2)
    later = store.expected_since(["octo/*", "new/*"])
    assert later["octo/*"] == since["octo/*"] == since[""]
    assert later["new/*"] - since[""] >= timedelta(hours=2)
    assert store.expected_since([]) == {}


def test_times_are_no_counters(store: Store) -> None:
    store.accept([queued("a")], replay_window_h=72)
    store.expected_since([""])
    assert {name for name, _ in store.counters()} == {"webhooks", "event", "repository"}
