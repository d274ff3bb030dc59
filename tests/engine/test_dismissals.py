"""Dismissals by people: `/dismiss N`, replies in HLS's review threads, and threads that are resolved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hls_handler.deliveries import Finished
from hls_handler.events import REQUEST_KEY, parse_event
from hls_handler.handlers.reader import RepositoryPermission
from hls_handler.review.record import FindingState, LedgerEntry, ReviewRecord
from hls_handler.store.conversations import ConversationRef
from hls_handler.store.reviews import ReviewChange
from tests.engine.fakes import HLS
from tests.engine.test_commands import PULL, comment, make, receive_push, requested
from tests.engine.world import MakeWorld, World

IN_THREAD = LedgerEntry(
    key="a" * 16,
    path="area.py",
    side="RIGHT",
    quote="log(total)",
    severity="high",
    category="bugs",
    title="Logs it",
    state="open",
    prompt_id="pull_requests/analyze@111111",
    comment_id=900,
    number=1,
    raised=1,
)
IN_SUMMARY = replace(IN_THREAD, key="b" * 16, comment_id=None, number=2)


def make_reviewed(
    make_world: MakeWorld,
    *,
    state: FindingState = "open",
    octocat: RepositoryPermission = "write",
) -> World:
    """A world in which HLS has raised two findings on pull request 2; the first one has a review comment."""
    world = make(make_world, octocat=octocat)
    receive_push(world, guid="first")
    lease = world.claim()
    assert lease is not None
    assert lease.repository_id is not None
    record = ReviewRecord(rounds=1, ledger=(replace(IN_THREAD, state=state), IN_SUMMARY))
    ref = ConversationRef(lease.repository_id, HLS.login, 2)
    world.store.checkpoints.save(lease, ReviewChange(ref, record))
    world.store.queue.finish(lease, "done", reason=None, took_s=0)
    return world


def dismissals(world: World) -> list[tuple[str, ...]]:
    """What the next review reads of the findings, in the order of their numbers."""
    lease = world.claim()
    assert lease is not None
    ledger = world.store.repositories.history(lease, HLS.login).review(2).ledger
    return [entry.dismissals for entry in sorted(ledger, key=lambda entry: entry.number)]


def in_thread(action: str, *, by: str = "octocat", kind: str = "User", **known: Any) -> dict[str, Any]:
    """The payload of an event of a review thread, which is about the recorded pull request."""
    return {
        "action": action,
        "repository": PULL.payload["repository"],
        "pull_request": PULL.payload["pull_request"],
        "sender": {"login": by, "id": 5, "type": kind},
        **known,
    }


def reply(world: World, body: str, *, thread: int | None = 900, action: str = "created", **known: Any) -> Finished:
    payload = in_thread(action, **known)
    said = {"id": 901, "body": body, "user": payload["sender"], "author_association": "OWNER"}
    payload["comment"] = {**said, "in_reply_to_id": thread}
    assert world.receive("pull_request_review_comment", payload, guid="reply") == "queued"
    return world.finish()


def resolve(world: World, action: str = "resolved", *, thread: int = 900, **known: Any) -> Finished:
    comments = [{"id": thread, "body": "Logs it", "user": {"login": HLS.login, "id": 1, "type": "Bot"}}]
    payload = in_thread(action, thread={"node_id": "T", "comments": comments}, **known)
    assert world.receive("pull_request_review_thread", payload, guid="thread") == "queued"
    return world.finish()


def dismiss(world: World, text: str, *, guid: str = "command") -> Finished:
    assert world.receive("issue_comment", comment(text), guid=guid) == "queued"
    return world.finish()


def test_finding_is_dismissed_by_its_number(make_world: MakeWorld) -> None:
    world = make_reviewed(make_world)
    finished = dismiss(world, "/dismiss 2")
    assert (finished.reason or "").startswith(
        "octocat dismissed finding 2; reacted with +1; a review of what is new was requested (delivery "
    )
    assert (world.github.reactions, world.github.reacted_in) == ([(77, "+1")], ["conversation"])
    assert requested(world) == [("queued", "requested:conclude:command", "synchronize")]
    assert dismissals(world) == [(), ("command command by octocat",)]


def test_conclusion_asks_claude_nothing_if_nothing_is_new(make_world: MakeWorld) -> None:
    world = make(make_world)
    receive_push(world)
    assert world.finish().state == "done"
    payload = {**PULL.payload, "action": "synchronize", REQUEST_KEY: {"review": "conclude"}}
    world.receive("pull_request", payload, guid="conclusion")
    assert (world.finish().state, len(world.claude.asked)) == ("done", 1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("/dismiss", "nothing was dismissed: the number is missing; our comment lists the numbers"),
        ("/dismiss 9", "nothing was dismissed: no finding has the number 9; our comment lists the numbers"),
        ("/dismiss 0", "nothing was dismissed: no finding has the number 0; our comment lists the numbers"),
    ],
)
def test_command_without_a_known_number_is_not_possible(make_world: MakeWorld, text: str, reason: str) -> None:
    world = make_reviewed(make_world)
    finished = dismiss(world, text)
    assert (finished.state, finished.reason) == ("done", f"reacted with confused; {reason}")
    assert (world.github.reactions, requested(world)) == ([(77, "confused")], [])


def test_two_commands_at_once_dismiss_both_findings_with_one_review(make_world: MakeWorld) -> None:
    world = make_reviewed(make_world)
    world.receive("issue_comment", comment("/dismiss 1"), guid="one")
    dismiss(world, "/dismiss 2", guid="two")
    world.finish()
    assert sorted(state for state, _, _ in requested(world)) == ["queued", "superseded"]
    assert dismissals(world) == [("command one by octocat",), ("command two by octocat",)]


def test_dismissal_does_not_take_the_place_of_a_full_review(make_world: MakeWorld) -> None:
    world = make_reviewed(make_world)
    world.receive("issue_comment", comment("/review full"), guid="full")
    reply(world, "Won't fix.")
    world.finish()
    assert sorted(requested(world)) == [
        ("queued", "requested:conclude:reply", "synchronize"),
        ("queued", "requested:full", "synchronize"),
    ]


@pytest.mark.parametrize("body", ["Won't fix.", "Not an issue, the caller holds the lock", "/dismiss"])
def test_reply_in_a_thread_of_hls_concludes_the_check(make_world: MakeWorld, body: str) -> None:
    world = make_reviewed(make_world)
    finished = reply(world, body)
    assert (finished.reason or "").startswith("reacted with +1; a review of what is new was requested (delivery ")
    assert (world.github.reactions, world.github.reacted_in) == ([(901, "+1")], ["thread"])
    assert requested(world) == [("queued", "requested:conclude:reply", "synchronize")]
    lease = world.claim()
    assert lease is not None
    assert parse_event(lease.event, lease.guid, lease.body).requested_review == "conclude"


@pytest.mark.parametrize(
    ("action", "state"), [("resolved", "open"), ("resolved", "dismissed"), ("unresolved", "dismissed")]
)
def test_resolving_a_thread_of_hls_concludes_the_check(make_world: MakeWorld, action: str, state: FindingState) -> None:
    world = make_reviewed(make_world, state=state)
    assert resolve(world, action).state == "done"
    assert world.github.reactions == []
    assert requested(world) == [("queued", "requested:conclude:thread", "synchronize")]


@pytest.mark.parametrize("state", ["fixed", "gone"])
def test_thread_of_a_closed_finding_changes_nothing(make_world: MakeWorld, state: FindingState) -> None:
    world = make_reviewed(make_world, state=state)
    finished = resolve(world)
    assert (finished.state, finished.reason) == (
        "ignored",
        f"the finding of this review thread is {state}, so the check does not count it",
    )
    assert requested(world) == []


@pytest.mark.parametrize(("state", "number"), [("dismissed", 1), ("open", 0)])
def test_promise_takes_back_only_a_dismissal(make_world: MakeWorld, state: FindingState, number: int) -> None:
    world = make_reviewed(make_world, state=state)
    reply(world, "OK, I will fix it")
    assert (len(requested(world)), len(world.github.reactions)) == (number, number)


def test_rule_18_person_without_write_permission_concludes_no_check(make_world: MakeWorld) -> None:
    world = make_reviewed(make_world, octocat="read")
    finished = (reply(world, "Won't fix."), resolve(world), dismiss(world, "/dismiss 2"))
    for_check = "octocat has the permission read, and the check counts only dismissals of people with write permission"
    command = "octocat has the permission read, and commands need write permission"
    assert [(one.state, one.reason) for one in finished] == [
        ("ignored", for_check),
        ("ignored", for_check),
        ("ignored", command),
    ]
    assert (world.github.reactions, requested(world)) == ([], [])


def test_thread_of_somebody_else_is_no_command(make_world: MakeWorld) -> None:
    world = make_reviewed(make_world)
    finished = (reply(world, "Won't fix.", thread=800), resolve(world, thread=800))
    assert [one.state for one in finished] == ["ignored", "ignored"]
    assert (finished[0].reason or "").startswith("pull_request_review_comment.created is not among the events of ")
    assert (world.github.reactions, requested(world), world.claude.asked) == ([], [], [])
