"""Fills an empty database with at least one row in every table.

It imports only `hls_handler`, so it also runs with the code of an earlier commit:

    PYTHONPATH=/path/to/earlier/code python tests/db/released/fill.py sqlite:////tmp/hls.db
"""

from __future__ import annotations

import hashlib
import sys
from contextlib import closing
from datetime import timedelta
from typing import Any

from hls_handler.actions import StoredComment
from hls_handler.analysis import IssueAnalysis, Reply, Usage
from hls_handler.deliveries import Checkpoint, End, Lease, NewDelivery
from hls_handler.engine.job import encode_reply
from hls_handler.errors import Postponed
from hls_handler.events import Account
from hls_handler.github.labels import LabelOrigin
from hls_handler.handlers.reader import Failure, HistoryUpdate, RunResult
from hls_handler.queue.checkpoints import ANALYSED, PendingChanges
from hls_handler.queue.rate_limiter import SlotRequest
from hls_handler.storage import Storage
from hls_handler.store.calls import ReviewBudget, StartedCall
from hls_handler.store.corrections import ShownLabels
from hls_handler.store.questions import Question
from hls_handler.store.reply_cache import CacheKey
from hls_handler.store.repositories import StoredFile

BOT = "hls-bot"
PROMPT = "issues/analyze@3f9c2a"
USAGE = Usage("claude-haiku-4-5", input_tokens=1200, output_tokens=80, cost_usd=0.0016, took_s=1.5)
REPLY = Reply(
    PROMPT,
    "issue_analysis",
    IssueAnalysis(
        worth_saying=True,
        kind="bug",
        priority="high",
        difficulty="easy",
        component="backend",
        field_confidence=None,
        summary="Saving a widget twice loses the first one: Grüße \U0001f600",
        missing=["the version"],
        recommended_response="Which version is it?",
        suggested_labels=[],
        sources=[],
        same_as=None,
    ),
    USAGE,
)


def fill(url: str) -> None:
    with closing(Storage.open(url)) as store:
        _add_deleted(store)
        _add_done(store)
        _add_ignored(store)
        end = End("dead", "issue is locked", handler="IssueHandler")
        store.queue.finish(_begin(store, "dead", 3), end)
        lease = _begin(store, "postponed", 4)
        in_a_day = store.now() + timedelta(days=1)
        store.queue.reschedule(
            lease, at=in_a_day, reason="GitHub is down", failed=True, counts=True
        )
        _add_running(store)
        _accept(store, new_delivery("queued", 6))
        store.pauses.pause("octo/Gadgets", reason="an incident", by="mona")
        store.bot_accounts.save("f" * 64, Account(login=BOT, id=2, type="User"))
        store.database.secret("prompt-delimiters")


def new_delivery(guid: str, number: int) -> NewDelivery:
    body = b'{"delivery": "%s"}' % guid.encode()
    return NewDelivery(
        guid=guid,
        event="issues",
        action="opened",
        request_id=f"request-{guid}",
        state="queued",
        repository_id=1,
        repository="octo/widgets",
        number=number,
        digest=hashlib.sha256(body).digest(),
        body=body,
    )


def _add_deleted(store: Storage) -> None:
    """A delivery that retention has deleted: the sums of its call remain."""
    lease = _begin(store, "deleted", 8)
    store.calls.end(lease, _begin_call(store, lease), outcome="ok", usage=USAGE, error=None)
    store.queue.finish(lease, End("done", "labels bug"), took_s=2.5)
    assert store.retention.delete_deliveries(after=timedelta(minutes=-1), most=1) == 1


def _add_done(store: Storage) -> None:
    lease = _begin(store, "done", 1)
    rule = Checkpoint("route", 0, 1, '"issues.opened is enabled (settings.yaml:3)"')
    call = _begin_call(store, lease)
    changes = (rule, ANALYSED)
    store.calls.end(
        lease,
        call,
        outcome="ok",
        usage=USAGE,
        error=None,
        changes=changes,
        reply=encode_reply(REPLY),
        cache_key=CacheKey(1, hashlib.sha256(b"the question").digest()),
    )
    store.calls.end(
        lease,
        _begin_call(store, lease),
        outcome="invalid",
        usage=USAGE,
        error="the reply lacks kind",
    )
    pending = PendingChanges()
    history = store.conversations.history(lease, BOT, pending=pending)
    history.change_labels(
        ["bug", "priority-high"], "intended", {"bug": LabelOrigin("kind", PROMPT)}
    )
    history.change_labels(["bug"], "set")
    history.store_comment("issues", StoredComment(11, "digest"))
    store.checkpoints.save(lease, *pending.take())
    shown = ShownLabels(("question",), "It is broken", False, {"bug": "kind", "question": "kind"})
    store.corrections.record_current(lease, BOT, shown)
    failure = Failure(
        workflow_id=9,
        run_id=3,
        attempt=1,
        job="tests",
        step="pytest",
        branch="main",
        head_sha="bbb",
    )
    end = RunResult(
        workflow_id=9,
        event="push",
        branch="main",
        run_id=3,
        run_number=4,
        attempt=1,
        passed=False,
        head_sha="bbb",
    )
    store.interruptions.stop(lease, 12, by="mona")
    store.repositories.save(lease, HistoryUpdate(ends=(end,), failures=(failure,)))
    store.repository_files.save(
        lease, 1, "octo/widgets", BOT, StoredFile(version="abc", text="enabled: true\n")
    )
    store.repository_files.claim_report(lease, 1, BOT, "abc")
    store.queue.finish(
        lease, End("done", "labels bug", handler="IssueHandler", posting="done"), took_s=2.5
    )


def _add_ignored(store: Storage) -> None:
    ignored = NewDelivery(
        guid="ignored",
        event="watch",
        action="started",
        request_id="request-ignored",
        state="ignored",
        reason="not enabled",
        reason_kind="event not enabled",
        repository_id=1,
        repository="octo/widgets",
    )
    _accept(store, ignored)


def _add_running(store: Storage) -> None:
    """A delivery whose worker was killed: with a checkpoint, a lock, a reserved slot and a call
    without an end.
    """
    lease = _begin(store, "running", 5)
    store.checkpoints.save(
        lease, Checkpoint("gather", 0, 1, '{"title": "It is broken"}', took_s=0.25)
    )
    store.locks.acquire(lease, "1#5/issues", ttl_s=60)
    _begin_call(store, lease)
    store.rate_limiter.take_slot(lease, SlotRequest("github", 600))
    try:
        store.rate_limiter.take_slot(lease, SlotRequest("github", 600))
    except Postponed:
        return
    raise AssertionError("two slots at once")


def _accept(store: Storage, delivery: NewDelivery) -> None:
    (accepted,) = store.queue.accept([delivery])
    assert accepted.outcome == delivery.state


def _begin(store: Storage, guid: str, number: int) -> Lease:
    _accept(store, new_delivery(guid, number))
    lease = store.queue.claim(worker="worker")
    assert lease is not None
    assert lease.guid == guid
    return lease


def _begin_call(store: Storage, lease: Lease) -> StartedCall:
    call: dict[str, Any] = {"index": 0, "prompt_id": PROMPT, "model": USAGE.model}
    review = ReviewBudget(2.0, "review.max_usd", 10.0, "review.max_usd_per_pull_request")
    question = Question(b"\x01" * 32, "You label issues.", "{}", "Saving a widget twice ...")
    return store.calls.begin(
        lease,
        **call,
        requests_per_second=1_000_000,
        calls_per_hour=200,
        review=review,
        question=question,
    )


if __name__ == "__main__":
    fill(sys.argv[1])
