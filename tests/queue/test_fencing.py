"""The fence: a worker whose lease has ended writes nothing, whatever it tries."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from hls_handler.analysis import IssueResponse, Usage, ValidReply
from hls_handler.deliveries import Checkpoint, Lease
from hls_handler.errors import LeaseLost
from hls_handler.queue.changes import Change
from hls_handler.storage import Storage
from tests.queue.builders import Skew, accept, begin, claim, queued

ANSWERED = ValidReply(
    "issues/respond@1", "issue_response", IssueResponse(worth_saying=True, answer="42", certain=True), Usage("claude")
)

STEP = Checkpoint("apply", 0, 1, "{}")


def keep_what_waits(store: Storage, lease: Lease) -> None:
    waiting: list[Change] = [STEP]
    memory = store.conversations.history(lease, "hls", pending=waiting)
    memory.mark_labels_set(["bug"])
    memory.store_comment("issues", 1, "digest")
    store.checkpoints.save(lease, *waiting)


WRITES: dict[str, Callable[[Storage, Lease], object]] = {
    "renew": lambda s, lease: s.queue.renew(lease, lease_s=30),
    "remember": lambda s, lease: s.checkpoints.save(lease, Checkpoint("ask", 0, 1, "{}")),
    "forget": lambda s, lease: s.checkpoints.delete(lease, "kept"),
    "finish": lambda s, lease: s.queue.finish(lease, "done", reason=None, took_s=1, changes=[STEP], posting="done"),
    "bury": lambda s, lease: s.queue.dead_letter(lease, reason="locked"),
    "postpone": lambda s, lease: s.queue.reschedule(
        lease, at=s.now() + timedelta(hours=1), reason="503", failed=True, counts=True
    ),
    "set_status": lambda s, lease: s.queue.set_status(lease, analysis="failed", analysis_error="refused"),
    "take_turn": lambda s, lease: s.rate_limiter.take_slot(lease, "github", interval_s=1, changes=[STEP]),
    "begin_call": lambda s, lease: s.calls.begin(
        lease, index=0, prompt_id="p@1", model="m", sender=None, requests_per_second=1, calls_per_hour=1, changes=[STEP]
    ),
    "lock": lambda s, lease: s.locks.acquire(lease, "thread", ttl_s=60, changes=[STEP]),
    "unlock": lambda s, lease: s.checkpoints.save(lease, unlock=True),
    "intend_labels": lambda s, lease: s.conversations.history(lease, "hls").record_label_intents(["bug"]),
    "confirm_labels": lambda s, lease: s.conversations.history(lease, "hls").mark_labels_set(["bug"]),
    "labels_gone": lambda s, lease: s.conversations.history(lease, "hls").mark_labels_removed(["bug"]),
    "forget_labels": lambda s, lease: s.conversations.history(lease, "hls").delete_labels(["kept"]),
    "what waits": keep_what_waits,
    "remember_comment": lambda s, lease: s.conversations.history(lease, "hls").store_comment("issues", 1, "digest"),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_zombie_is_refused_and_changes_nothing(store: Storage, skew: Skew, write: str) -> None:
    zombie = begin(store, "g1", number=7)
    store.checkpoints.save(zombie, Checkpoint("kept", 0, 1, "{}"))
    store.conversations.history(zombie, "hls").mark_labels_set(["kept"])
    skew.pass_by(seconds=31)
    heir = claim(store, worker="heir")
    store.locks.acquire(heir, "held", ttl_s=3600)
    before = (store.deliveries.find("g1"), store.statistics.counters())
    with pytest.raises(LeaseLost, match=r"the lease on delivery g1 \(attempt 1\) has ended"):
        WRITES[write](store, zombie)
    assert (store.deliveries.find("g1"), store.statistics.counters()) == before
    assert store.checkpoints.load("g1").keys() == {("kept", 0)}
    assert (store.calls.calls_of("g1"), store.calls.analyses_of("g1")) == ([], [])
    memory = store.conversations.history(heir, "hls")
    assert (memory.labels(), memory.comment("issues")) == ({"kept": "ours"}, None)
    store.rate_limiter.take_slot(heir, "github", interval_s=60)  # the zombie took none


@pytest.mark.parametrize("write", WRITES)
def test_a_lease_that_ran_out_is_refused_though_nobody_has_claimed_since(
    store: Storage, skew: Skew, write: str
) -> None:
    lease = begin(store, "g1", number=7)
    skew.pass_by(seconds=31)
    with pytest.raises(LeaseLost):
        WRITES[write](store, lease)


@pytest.mark.parametrize("write", WRITES)
def test_a_lease_given_back_is_over(store: Storage, write: str) -> None:
    lease = begin(store, "g1", number=7)
    store.queue.finish(lease, "done", reason=None, took_s=1)
    with pytest.raises(LeaseLost):
        WRITES[write](store, lease)


def test_a_zombie_does_not_release_its_heirs_lock(store: Storage, skew: Skew) -> None:
    zombie = begin(store, "g1")
    store.locks.acquire(zombie, "thread", ttl_s=3600)
    skew.pass_by(seconds=31)
    heir = claim(store)
    store.locks.acquire(heir, "thread", ttl_s=3600)
    with pytest.raises(LeaseLost):
        store.checkpoints.save(zombie, unlock=True)
    accept(store, queued("g2"))
    other = claim(store)
    with pytest.raises(Exception, match="which holds thread"):
        store.locks.acquire(other, "thread", ttl_s=60)
