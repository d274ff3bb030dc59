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
    newest,
    queued,
    record_reply,
)

PROMPT = "issues/analyze"
REPLY = IssueResponse(worth_saying=True, sources=[], answer="42", certain=True)


@pytest.mark.parametrize(
    ("story", "newer"),
    [
        ("push aaa, push bbb, push ccc", "head ccc"),
        ("push aaa, push bbb, push aaa", ""),
        ("push aaa, push bbb elsewhere", ""),
        ("push aaa, push bbb ignored", ""),
        # a delivery whose facts are of another commit than its own
        ("push aaa read bbb", ""),
        ("push aaa read bbb, push bbb, push aaa", "head aaa"),
        ("push aaa read aaa, push bbb, push aaa", ""),
        ("issues reopened, pull_request closed ignored", "closed"),
        ("issues reopened, issues deleted ignored", "closed"),
        ("issues reopened, issues closed ignored, issues reopened ignored", ""),
        ("issues reopened, issues closed ignored, issues labeled ignored", "closed"),
        ("issues reopened, issues reopened ignored, issues closed ignored", "closed"),
        ("issues reopened, issue_comment deleted ignored", ""),
        ("issues reopened, issues closed ignored elsewhere", ""),
        # catch-up stores a delivery later than it happened
        ("push aaa, push bbb caught-up, pull_request closed caught-up", ""),
        ("push aaa, push bbb, pull_request closed", "head bbb closed"),
        (
            "push aaa caught-up, push bbb caught-up, pull_request closed caught-up",
            "head bbb closed",
        ),
        ("push aaa caught-up, push bbb, pull_request closed", "head bbb closed"),
    ],
)
def test_later_events_supersede_the_one_that_runs(store: Storage, story: str, newer: str) -> None:
    def as_delivery(event: str) -> NewDelivery:
        name, action, *words = event.split()
        is_push = name == "push"
        return (ignored if "ignored" in words else queued)(
            f"{event} {len(newest(store))}",
            event="pull_request" if is_push else name,
            action="synchronize" if is_push else action,
            head_sha=action if is_push else None,
            number=8 if "elsewhere" in words else 7,
            request_id="caught-up:1" if "caught-up" in words else "request",
        )

    accept(store, as_delivery("push eee"))
    finish(store, claim(store))
    accept(store, as_delivery("pull_request closed ignored"))
    running, *later = story.split(", ")
    accept(store, as_delivery(running))
    lease = claim(store)
    for event in later:
        accept(store, as_delivery(event))
    described = running.split(" read ")[1] if " read " in running else None
    events = find_newer(store, lease, PROMPT, described=described)
    head = f"head {events.commit}" if events.commit else ""
    assert f"{head} {'closed' if events.is_closed else ''}".strip() == newer


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
