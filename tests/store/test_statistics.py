"""Counters, and the times of the last webhooks, whichever process received them."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta

from hls_handler.store.storage import Storage
from tests.queue.builders import Skew, accept, ignored, queued


def test_last_webhook_is_stored_for_each_repository(store: Storage, url: str, skew: Skew) -> None:
    assert store.statistics.last_webhooks() == {}
    first = store.now()
    with closing(Storage.open(url, skew=skew)) as receiver:  # another process
        accept(receiver, queued("a"), ignored("b", repository="octo/docs"))
        skew.advance(hours=2)
        accept(receiver, queued("a"))  # a duplicate is also a webhook
        skew.advance(hours=1)
        receiver.queue.accept([], counts={("webhooks", ""): 1, ("event", "ping"): 1})
        receiver.queue.accept([], counts={("github_requests", ""): 5})
    times = store.statistics.last_webhooks()
    after = {name: round((at - first) / timedelta(hours=1), 2) for name, at in times.items()}
    assert after == {"": 3.0, "octo/docs": 0.0, "octo/widgets": 2.0}
