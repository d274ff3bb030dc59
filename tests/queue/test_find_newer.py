"""`find_newer`: later deliveries of the same conversation."""

from __future__ import annotations

from typing import Literal

import pytest

from hls_handler.analysis import IssueResponse, Reply, Usage
from hls_handler.deliveries import NewDelivery
from hls_handler.queue.checkpoints import StatusChange
from hls_handler.store.interruptions import NewerEvents
from hls_handler.store.storage import Storage
from tests.queue.builders import (
    accept,
    begin,
    claim,
    find_newer,
    finish,
    ignored,
    push,
    queued,
    record_reply,
)

PROMPT = "issues/analyze"
REPLY = IssueResponse(worth_saying=True, sources=[], answer="42", certain=True)


def _work_on_push(store: Storage) -> None:
    accept(store, push("earlier", "eee"))
    finish(store, claim(store))
    accept(store, push("g1", "aaa"))


@pytest.mark.parametrize(
    ("newer", "head"),
    [
        ([push("g2", "bbb"), push("g3", "ccc")], "ccc"),
        ([push("g2", "bbb"), push("g3", "aaa")], None),
        ([push("g2", "bbb", number=8)], None),
        ([ignored("g2", number=7, event="pull_request", head_sha="bbb")], None),
    ],
    ids=["two pushes", "pushed back", "other conversation", "ignored"],
)
def test_head_sha_is_the_newest_commit_of_the_pull_request(
    store: Storage, newer: list[NewDelivery], head: str | None
) -> None:
    _work_on_push(store)
    lease = claim(store)
    accept(store, *newer)
    assert find_newer(store, lease, PROMPT).head_sha == head


def test_facts_of_a_commit_that_is_no_longer_the_head_are_superseded(store: Storage) -> None:
    _work_on_push(store)
    lease = claim(store)
    assert find_newer(store, lease, PROMPT, described="bbb").head_sha is None
    accept(store, push("g2", "bbb"), push("g3", "aaa"))
    assert find_newer(store, lease, PROMPT, described="bbb").head_sha == "aaa"
    assert find_newer(store, lease, PROMPT, described="aaa").head_sha is None


@pytest.mark.parametrize(
    ("events", "closed"),
    [
        ([("pull_request", "closed")], True),
        ([("issues", "deleted")], True),
        ([("issues", "closed"), ("issues", "reopened")], False),
        ([("issues", "reopened"), ("issues", "closed"), ("issues", "labeled")], True),
        ([("issue_comment", "deleted")], False),
    ],
)
def test_is_closed_follows_the_events_of_the_conversation(
    store: Storage, events: list[tuple[str, str]], closed: bool
) -> None:
    accept(store, ignored("before", number=7, action="closed"))
    lease = begin(store, "g1", number=7, action="reopened")
    accept(
        store,
        *(ignored(f"later-{i}", number=7, event=e, action=a) for i, (e, a) in enumerate(events)),
    )
    accept(store, ignored("elsewhere", number=8, action="closed"))
    assert find_newer(store, lease, PROMPT).is_closed is closed


@pytest.mark.parametrize(
    ("prompt_id", "index", "posting", "is_answered"),
    [
        (f"{PROMPT}@another", 0, "done", True),
        (f"{PROMPT}-strictly@3f9c2a", 0, "done", False),
        ("issuesXanalyze@3f9c2a", 0, "done", False),
        (f"{PROMPT}@3f9c2a", 1, "done", False),
        (f"{PROMPT}@3f9c2a", 0, "dry_run", False),
    ],
    ids=["changed since", "longer name", "like it", "a follow-up's", "dry run"],
)
def test_is_answered_if_a_newer_event_was_answered_with_the_same_prompt(
    store: Storage,
    prompt_id: str,
    index: int,
    posting: Literal["done", "dry_run"],
    is_answered: bool,
) -> None:
    finish(store, begin(store, "older", number=7), "dead")
    lease = begin(store, "newer", number=7)
    record_reply(
        store, lease, Reply(prompt_id, "issue_response", REPLY, Usage("claude")), index=index
    )
    store.checkpoints.save(lease, StatusChange({"posting_status": posting}))
    finish(store, lease)
    store.queue.retry("older")
    older = claim(store)
    assert older.guid == "older"
    assert find_newer(store, older, PROMPT).is_answered is is_answered
    finish(store, older)
    assert find_newer(store, begin(store, "newest", number=7), PROMPT).is_answered is False


def test_delivery_without_conversation_is_never_superseded(store: Storage) -> None:
    lease = begin(store, "g1", number=None)
    accept(store, queued("g2", number=None, event="pull_request", head_sha="bbb", action="closed"))
    assert find_newer(store, lease, PROMPT) == NewerEvents()
    assert store.calls.count_conversation_runs(lease) == 0


@pytest.mark.parametrize(
    ("running", "stored_later", "head"),
    [
        ("request", "caught-up:1", None),
        ("request", "request", "bbb"),
        ("caught-up:1", "caught-up:2", "bbb"),
        ("caught-up:1", "request", "bbb"),
    ],
)
def test_delivery_that_catch_up_read_late_is_not_newer_than_a_received_one(
    store: Storage, running: str, stored_later: str, head: str | None
) -> None:
    accept(store, push("g1", "aaa", request_id=running))
    lease = claim(store)
    accept(
        store,
        push("g2", "bbb", request_id=stored_later),
        queued("g3", number=7, event="pull_request", action="closed", request_id=stored_later),
    )
    newer = find_newer(store, lease, PROMPT)
    assert (newer.head_sha, newer.is_closed) == (head, head is not None)
