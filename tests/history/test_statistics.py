"""When webhooks last came, whoever took them."""

from __future__ import annotations

from datetime import timedelta

from hls_handler.storage import Storage
from tests.queue.builders import Skew, ignored, queued


def test_the_last_webhook_is_known_of_all_and_of_each_repository_and_survives_a_restart(
    store: Storage, url: str, skew: Skew
) -> None:
    assert store.statistics.last_webhooks() == {}
    first = store.now()
    store.queue.accept([queued("a"), ignored("b", repository="octo/docs")], replay_window_h=72)
    skew.pass_by(hours=2)
    store.queue.accept([queued("a")], replay_window_h=72)  # known already: it came nevertheless
    skew.pass_by(hours=1)
    store.queue.accept([], replay_window_h=72, counts={("webhooks", ""): 1, ("event", "ping"): 1})
    store.queue.accept([], replay_window_h=72, counts={("github_requests", ""): 5})
    another = Storage.open(url)
    heard = another.statistics.last_webhooks()
    another.close()
    after = {name: round((at - first) / timedelta(hours=1), 2) for name, at in heard.items()}
    assert after == {"": 3.0, "octo/docs": 0.0, "octo/widgets": 2.0}


def test_webhooks_are_expected_since_it_was_first_asked_for(store: Storage, skew: Skew) -> None:
    since = store.statistics.expected_since(["", "octo/*"])
    skew.pass_by(hours=2)
    later = store.statistics.expected_since(["octo/*", "new/*"])
    assert later["octo/*"] == since["octo/*"] == since[""]
    assert later["new/*"] - since[""] >= timedelta(hours=2)
    assert store.statistics.expected_since([]) == {}


def test_times_are_no_counters(store: Storage) -> None:
    store.queue.accept([queued("a")], replay_window_h=72)
    store.statistics.expected_since([""])
    assert {name for name, _ in store.statistics.counters()} == {"webhooks", "event", "repository"}
