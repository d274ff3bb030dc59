"""The fence: a worker whose lease has ended writes nothing, whatever it tries."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from hls_handler.analysis import Answered, IssueResponse, Usage
from hls_handler.deliveries import Lease, Remembered
from hls_handler.errors import LeaseLost
from hls_handler.store import Keepable, Store
from tests.store.builders import Skew, accept, begin, claim, queued

ANSWERED = Answered(
    "issues/respond@1", "issue_response", IssueResponse(worth_saying=True, answer="42", certain=True), Usage("claude")
)

STEP = Remembered("apply", 0, 1, "{}")


def keep_what_waits(store: Store, lease: Lease) -> None:
    waiting: list[Keepable] = [STEP]
    memory = store.memory(lease, "hls", pending=waiting)
    memory.confirm_labels(["bug"])
    memory.remember_comment("issues", 1, "digest")
    store.remember(lease, *waiting)


WRITES: dict[str, Callable[[Store, Lease], object]] = {
    "renew": lambda s, lease: s.renew(lease, lease_s=30),
    "remember": lambda s, lease: s.remember(lease, Remembered("ask", 0, 1, "{}")),
    "forget": lambda s, lease: s.forget(lease, "kept"),
    "finish": lambda s, lease: s.finish(lease, "done", reason=None, took_s=1, kept=[STEP], posting="done"),
    "bury": lambda s, lease: s.bury(lease, reason="locked"),
    "postpone": lambda s, lease: s.postpone(
        lease, at=s.now() + timedelta(hours=1), reason="503", failed=True, counts=True
    ),
    "set_status": lambda s, lease: s.set_status(lease, analysis="failed", analysis_error="refused"),
    "take_turn": lambda s, lease: s.take_turn(lease, "github", interval_s=1, kept=[STEP]),
    "begin_call": lambda s, lease: s.begin_call(
        lease, index=0, prompt_id="p@1", model="m", sender=None, requests_per_second=1, calls_per_hour=1, kept=[STEP]
    ),
    "lock": lambda s, lease: s.lock(lease, "thread", ttl_s=60, kept=[STEP]),
    "unlock": lambda s, lease: s.remember(lease, unlock=True),
    "intend_labels": lambda s, lease: s.memory(lease, "hls").intend_labels(["bug"]),
    "confirm_labels": lambda s, lease: s.memory(lease, "hls").confirm_labels(["bug"]),
    "labels_gone": lambda s, lease: s.memory(lease, "hls").labels_gone(["bug"]),
    "forget_labels": lambda s, lease: s.memory(lease, "hls").forget_labels(["kept"]),
    "what waits": keep_what_waits,
    "remember_comment": lambda s, lease: s.memory(lease, "hls").remember_comment("issues", 1, "digest"),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_zombie_is_refused_and_changes_nothing(store: Store, skew: Skew, write: str) -> None:
    zombie = begin(store, "g1", number=7)
    store.remember(zombie, Remembered("kept", 0, 1, "{}"))
    store.memory(zombie, "hls").confirm_labels(["kept"])
    skew.pass_by(seconds=31)
    heir = claim(store, worker="heir")
    store.lock(heir, "held", ttl_s=3600)
    before = (store.delivery("g1"), store.counters())
    with pytest.raises(LeaseLost, match=r"the lease on delivery g1 \(attempt 1\) has ended"):
        WRITES[write](store, zombie)
    assert (store.delivery("g1"), store.counters()) == before
    assert store.steps("g1").keys() == {("kept", 0)}
    assert (store.calls("g1"), store.analyses("g1")) == ([], [])
    memory = store.memory(heir, "hls")
    assert (memory.labels(), memory.comment("issues")) == ({"kept": "ours"}, None)
    store.take_turn(heir, "github", interval_s=60)  # the zombie took none


@pytest.mark.parametrize("write", WRITES)
def test_a_lease_that_ran_out_is_refused_though_nobody_has_claimed_since(store: Store, skew: Skew, write: str) -> None:
    lease = begin(store, "g1", number=7)
    skew.pass_by(seconds=31)
    with pytest.raises(LeaseLost):
        WRITES[write](store, lease)


@pytest.mark.parametrize("write", WRITES)
def test_a_lease_given_back_is_over(store: Store, write: str) -> None:
    lease = begin(store, "g1", number=7)
    store.finish(lease, "done", reason=None, took_s=1)
    with pytest.raises(LeaseLost):
        WRITES[write](store, lease)


def test_a_zombie_does_not_release_its_heirs_lock(store: Store, skew: Skew) -> None:
    zombie = begin(store, "g1")
    store.lock(zombie, "thread", ttl_s=3600)
    skew.pass_by(seconds=31)
    heir = claim(store)
    store.lock(heir, "thread", ttl_s=3600)
    with pytest.raises(LeaseLost):
        store.remember(zombie, unlock=True)
    accept(store, queued("g2"))
    other = claim(store)
    with pytest.raises(Exception, match="which holds thread"):
        store.lock(other, "thread", ttl_s=60)
