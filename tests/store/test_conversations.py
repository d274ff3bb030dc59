"""History of a conversation, and the stored bot account."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from hls_handler.actions import StoredComment
from hls_handler.deliveries import End, Lease
from hls_handler.events import Account
from hls_handler.github.labels import LabelOrigin, LabelState
from hls_handler.queue.checkpoints import Change, PendingChanges
from hls_handler.queue.rate_limiter import SlotRequest
from hls_handler.store.conversations import ConversationState, field_label
from hls_handler.store.corrections import ShownLabels
from hls_handler.store.storage import Storage
from tests.queue.builders import begin, open_history, start_call


@pytest.mark.parametrize(
    ("repository_id", "number", "identity"),
    [(2, 7, "hls[bot]"), (1, 8, "hls[bot]"), (1, 7, "mona")],
    ids=["other repository", "other conversation", "other account"],
)
def test_history_is_separate_by_conversation_and_account(
    store: Storage, repository_id: int, number: int, identity: str
) -> None:
    lease = begin(store, "g1", number=7)
    history = open_history(store, lease, "hls[bot]")
    history.change_labels(["bug"], "set")
    history.store_comment("issues", StoredComment(11, "digest"))
    same_conversation = (repository_id, number) == (1, 7)
    other_lease = (
        lease
        if same_conversation
        else begin(store, "g2", repository_id=repository_id, number=number)
    )
    other = open_history(store, other_lease, identity)
    assert (other.labels(), other.comment("issues")) == ({}, None)
    other.change_labels(["bug"], None)
    assert history.labels() == {"bug": "set"}


WRITES: dict[str, Callable[[Storage, Lease, Sequence[Change]], object]] = {
    "save": lambda s, lease, pending: s.checkpoints.save(lease, *pending),
    "take a slot": lambda s, lease, pending: s.rate_limiter.take_slot(
        lease, SlotRequest("github", 0), changes=pending
    ),
    "acquire a lock": lambda s, lease, pending: s.locks.acquire(
        lease, "comment", ttl_s=60, changes=pending
    ),
    "begin a call": lambda s, lease, pending: start_call(s, lease, changes=pending),
    "finish": lambda s, lease, pending: s.queue.finish(
        lease, End("done", ""), took_s=1, changes=pending
    ),
}


@pytest.mark.parametrize("write", WRITES)
def test_pending_changes_are_readable_and_stored_with_the_next_write(
    store: Storage, write: str
) -> None:
    lease = begin(store, "g1", number=7)
    open_history(store, lease, "hls[bot]").change_labels(["old", "older"], "set")
    changes = PendingChanges()
    history = store.conversations.history(lease, "hls[bot]", pending=changes)
    history.change_labels(
        ["bug", "size/small", "question"],
        "intended",
        {"bug": LabelOrigin("kind", "issues/analyze@1")},
    )
    history.change_labels(["bug"], "set")
    history.change_labels(["old"], "removed")
    history.change_labels(["older", "question"], None)
    history.store_comment("issues", StoredComment(11, "first"))
    history.store_comment("issues", StoredComment(11, "digest"))
    labels: dict[str, LabelState] = {"old": "removed", "bug": "set", "size/small": "intended"}
    assert (history.labels(), history.comment("issues")) == (labels, StoredComment(11, "digest"))
    assert store.conversations.find(1, 7, "hls[bot]").labels == {"old": "set", "older": "set"}
    WRITES[write](store, lease, changes.take())
    known = ConversationState(labels=labels, comments={"issues": StoredComment(11, "digest")})
    assert store.conversations.find(1, 7, "hls[bot]") == known
    assert store.statistics.counters()["label_set", field_label("issues/analyze@1", "kind")] == 1


def test_type_of_an_issue_is_no_label(store: Storage) -> None:
    lease = begin(store, "g1", number=7)
    history = open_history(store, lease, "hls[bot]")
    assert not history.was_done_once()
    history.record_done_once()
    stored = open_history(store, lease, "hls[bot]")
    assert (stored.was_done_once(), stored.labels()) == (True, {})
    shown = ShownLabels((), "Crash", pull_request=False, groups={})
    assert store.corrections.record_current(lease, "hls[bot]", shown).compared == 0


def test_bot_account_is_stored_by_fingerprint(store: Storage) -> None:
    assert store.bot_accounts.find("fingerprint") is None
    store.bot_accounts.save("fingerprint", Account("old-name", 5, "User"))
    store.bot_accounts.save("fingerprint", Account("hls[bot]", 5, "Bot"))
    assert store.bot_accounts.find("fingerprint") == Account("hls[bot]", 5, "Bot")
    assert store.bot_accounts.find("other") is None
