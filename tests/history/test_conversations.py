"""What we remember having done on a thread, and who we are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from hls_handler.deliveries import Lease
from hls_handler.events import Account
from hls_handler.handlers.labels import LabelOrigin, LabelState
from hls_handler.history.conversations import ConversationState, KnownComment
from hls_handler.queue.changes import Change, field_label
from hls_handler.storage import Storage
from tests.queue.builders import begin


def test_labels_go_from_intended_to_ours_to_gone(store: Storage) -> None:
    memory = store.conversations.history(begin(store, "g1", number=7), "hls[bot]")
    assert memory.labels() == {}
    memory.record_label_intents(["bug", "priority-high", "size/small"])
    memory.mark_labels_set(["bug", "priority-high"])
    memory.mark_labels_removed(["priority-high"])
    assert memory.labels() == {"bug": "ours", "priority-high": "gone", "size/small": "intended"}


def test_an_intent_replaces_whatever_was_remembered_of_the_label(store: Storage) -> None:
    memory = store.conversations.history(begin(store, "g1", number=7), "hls[bot]")
    memory.mark_labels_set(["bug"])
    memory.mark_labels_removed(["question"])
    memory.record_label_intents(["bug", "question"])
    assert memory.labels() == {"bug": "intended", "question": "intended"}


def test_forgotten_labels_are_no_longer_known(store: Storage) -> None:
    memory = store.conversations.history(begin(store, "g1", number=7), "hls[bot]")
    memory.mark_labels_set(["bug", "question", "bug"])
    memory.delete_labels(["bug", "never seen"])
    memory.delete_labels([])
    assert memory.labels() == {"question": "ours"}


def test_a_comment_is_remembered_for_each_family(store: Storage) -> None:
    memory = store.conversations.history(begin(store, "g1", number=7), "hls[bot]")
    assert memory.comment("issues") is None
    memory.store_comment("issues", 11, "first")
    memory.store_comment("issues", 12, "second")
    memory.store_comment("reviews", 13, "other")
    assert memory.comment("issues") == KnownComment(comment_id=12, body_digest="second")
    assert memory.comment("reviews") == KnownComment(comment_id=13, body_digest="other")


@pytest.mark.parametrize(
    ("repository_id", "number", "identity"),
    [(2, 7, "hls[bot]"), (1, 8, "hls[bot]"), (1, 7, "mona")],
    ids=["other repository", "other thread", "other account"],
)
def test_memory_belongs_to_a_thread_and_an_identity(
    store: Storage, repository_id: int, number: int, identity: str
) -> None:
    lease = begin(store, "g1", number=7)
    memory = store.conversations.history(lease, "hls[bot]")
    memory.mark_labels_set(["bug"])
    memory.store_comment("issues", 11, "digest")
    same_thread = (repository_id, number) == (1, 7)
    other_lease = lease if same_thread else begin(store, "g2", repository_id=repository_id, number=number)
    other = store.conversations.history(other_lease, identity)
    assert (other.labels(), other.comment("issues")) == ({}, None)
    other.delete_labels(["bug"])
    assert memory.labels() == {"bug": "ours"}


NEXT: dict[str, Callable[[Storage, Lease, Sequence[Change]], object]] = {
    "what is remembered": lambda s, lease, kept: s.checkpoints.save(lease, *kept),
    "a turn": lambda s, lease, kept: s.rate_limiter.take_slot(lease, "github", interval_s=0, changes=kept),
    "a lock": lambda s, lease, kept: s.locks.acquire(lease, "thread", ttl_s=60, changes=kept),
    "a call": lambda s, lease, kept: s.calls.begin(
        lease, index=0, prompt_id="p@1", model="m", sender=None, requests_per_second=1, calls_per_hour=1, changes=kept
    ),
    "the end": lambda s, lease, kept: s.queue.finish(lease, "done", reason=None, took_s=1, changes=kept),
}


@pytest.mark.parametrize("what", NEXT)
def test_what_waits_is_read_at_once_and_kept_with_the_deliverys_next_write(store: Storage, what: str) -> None:
    lease = begin(store, "g1", number=7)
    store.conversations.history(lease, "hls[bot]").mark_labels_set(["old", "older"])
    waiting: list[Change] = []
    memory = store.conversations.history(lease, "hls[bot]", pending=waiting)
    memory.record_label_intents(["bug", "size/small", "question"], {"bug": LabelOrigin("kind", "issues/analyze@1")})
    memory.mark_labels_set(["bug"])
    memory.mark_labels_removed(["old"])
    memory.delete_labels(["older", "question"])
    memory.store_comment("issues", 11, "first")
    memory.store_comment("issues", 11, "digest")
    labels: dict[str, LabelState] = {"old": "gone", "bug": "ours", "size/small": "intended"}
    assert (memory.labels(), memory.comment("issues")) == (labels, KnownComment(11, "digest"))
    assert store.conversations.find(1, 7, "hls[bot]").labels == {"old": "ours", "older": "ours"}
    NEXT[what](store, lease, waiting)
    known = ConversationState(labels=labels, comments={"issues": KnownComment(11, "digest")})
    assert store.conversations.find(1, 7, "hls[bot]") == known
    assert store.statistics.counters()["label_set", field_label("issues/analyze@1", "kind")] == 1


def test_memory_outlives_the_delivery(store: Storage) -> None:
    first = begin(store, "g1", number=7)
    store.conversations.history(first, "hls[bot]").mark_labels_set(["bug"])
    store.queue.finish(first, "done", reason=None, took_s=1)
    assert store.conversations.history(begin(store, "g2", number=7), "hls[bot]").labels() == {"bug": "ours"}


def test_a_delivery_about_no_thread_has_no_memory_of_one(store: Storage) -> None:
    with pytest.raises(ValueError, match="g1 has no issue or pull request"):
        store.conversations.history(begin(store, "g1", number=None), "hls[bot]")


def test_the_account_behind_a_credential_is_asked_for_once(store: Storage) -> None:
    assert store.bot_accounts.find("fingerprint") is None
    store.bot_accounts.save("fingerprint", Account("old-name", 5, "User"))
    store.bot_accounts.save("fingerprint", Account("hls[bot]", 5, "Bot"))
    assert store.bot_accounts.find("fingerprint") == Account("hls[bot]", 5, "Bot")
    assert store.bot_accounts.find("other") is None


def test_whoever_only_looks_is_told_all_of_one_thread_without_a_lease(store: Storage) -> None:
    memory = store.conversations.history(begin(store, "g1", number=7), "hls[bot]")
    memory.record_label_intents(["bug", "size/small"])
    memory.mark_labels_set(["bug"])
    memory.store_comment("issues", 11, "digest")
    store.conversations.history(begin(store, "g2", number=8), "hls[bot]").mark_labels_set(["other thread"])
    assert store.conversations.find(1, 7, "hls[bot]") == ConversationState(
        labels={"bug": "ours", "size/small": "intended"}, comments={"issues": KnownComment(11, "digest")}
    )
    assert store.conversations.find(1, 7, "mona") == ConversationState(labels={}, comments={})
