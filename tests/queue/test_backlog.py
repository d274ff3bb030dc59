"""Order of the queue with issues of the backlog, which wait for webhooks."""

from __future__ import annotations

from typing import Any

from hls_handler.deliveries import PRIORITY_BACKLOG, NewDelivery
from hls_handler.storage import Storage
from tests.queue.builders import Skew, accept, claim, queued


def of_backlog(guid: str, **other: Any) -> NewDelivery:
    terms = {"priority": PRIORITY_BACKLOG, "request_id": "requested:triage:1"}
    return queued(guid, **(terms | other))


def test_webhook_of_the_next_hour_precedes_the_backlog(store: Storage, skew: Skew) -> None:
    accept(store, of_backlog("triage-1-7"))
    skew.advance(minutes=59)
    accept(store, queued("webhook"))
    assert [claim(store).guid, claim(store).guid] == ["webhook", "triage-1-7"]


def test_backlog_does_not_wait_forever(store: Storage, skew: Skew) -> None:
    accept(store, of_backlog("triage-1-7"))
    skew.advance(minutes=61)
    accept(store, queued("webhook"))
    assert claim(store).guid == "triage-1-7"


def test_webhook_does_not_wait_for_the_backlog_of_its_conversation(
    store: Storage, skew: Skew
) -> None:
    accept(store, of_backlog("triage-1-7", number=7, spread_s=600.0))
    accept(store, queued("webhook", number=7))
    assert claim(store).guid == "webhook"


def test_issues_of_the_backlog_begin_one_by_one(store: Storage, skew: Skew) -> None:
    accept(store, *(of_backlog(f"triage-1-{n}", spread_s=6.0 * n) for n in range(2)))
    assert claim(store).guid == "triage-1-0"
    assert store.queue.claim(worker="w") is None
    store.queue.reschedule_waiting()  # as a restart does
    assert store.queue.claim(worker="w") is None
    skew.advance(seconds=6)
    assert claim(store).guid == "triage-1-1"
