"""Commands and dismissals in comments on a pull request, and checks that people run again."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr
from sqlalchemy import select

from hls_handler.analysis import FindingVerdicts, ReplyFields, Severity, UnusableReply
from hls_handler.db.tables import deliveries
from hls_handler.deliveries import End
from hls_handler.engine.job import Attempt
from hls_handler.engine.pipeline import process_delivery
from hls_handler.events import parse_event
from hls_handler.github.values import ChangedFile
from hls_handler.prompting import recorded
from hls_handler.review.record import FindingState, LedgerEntry, ReviewRecord
from hls_handler.settings.model import GithubApp, Settings
from hls_handler.store.conversations import ConversationRef
from hls_handler.store.review_records import ReviewChange
from hls_sandbox.objects import Permission
from tests.engine.claude import INVALID
from tests.engine.stand_in import file_document, visible_text
from tests.engine.world import Ended, MakeWorld, World, settings
from tests.github_fake.files import set_file
from tests.handlers.world import HLS, PATCH, file, finding, pull_request_analysis
from tests.queue.builders import newest

PULL = recorded.load("pull_request.opened")
HEAD = "ec26c3e57ca3a959ca5aad62de7213c562f8c821"
REPLY = pull_request_analysis()


def make(
    make_world: MakeWorld,
    *replies: object,
    given: Settings | None = None,
    **permissions: Permission,
) -> World:
    """A world with the open pull request 2, on which octocat may write."""
    world = make_world(*(replies or (REPLY,)), given=given)
    set_files(world, file())
    for login, permission in {"octocat": "write", **permissions}.items():
        world.github.permit(login, permission)
    return world


def set_files(world: World, *files: ChangedFile) -> None:
    documents = [file_document(file) for file in files]
    world.github.seed_event("pull_request", PULL.payload, files=documents)


def set_pull_request(world: World, **changes: Any) -> None:
    """Change pull request 2 on GitHub."""
    changed = {**PULL.payload["pull_request"], **changes}
    world.github.seed_event("pull_request", {**PULL.payload, "pull_request": changed})


def reactions(world: World) -> list[tuple[int, str]]:
    """The id of the comment, and the content."""
    return [
        (reaction.comment, reaction.content) for reaction in world.github.conversation(2).reactions
    ]


def comment(body: str, *, by: str = "octocat") -> dict[str, Any]:
    """The payload of a comment on pull request 2."""
    author = {"login": by, "id": 5, "type": "User"}
    return {
        "action": "created",
        "repository": PULL.payload["repository"],
        "sender": author,
        "issue": {
            "number": 2,
            "title": "Update the README",
            "user": PULL.payload["pull_request"]["user"],
            "pull_request": {},
        },
        "comment": {"id": 77, "body": body, "user": author, "author_association": "OWNER"},
    }


def receive_push(world: World, *, guid: str = "push", settle_s: float = 0, sha: str = HEAD) -> None:
    payload = copy.deepcopy(dict(PULL.payload)) | {"action": "synchronize"}
    payload["pull_request"]["head"]["sha"] = sha
    assert world.receive("pull_request", payload, guid=guid, settle_s=settle_s) == "queued"


def command(world: World, body: str, *, guid: str = "command", **known: Any) -> Ended:
    assert world.receive("issue_comment", comment(body, **known), guid=guid) == "queued"
    return world.finish()


def requested(world: World) -> list[tuple[str, str, str | None]]:
    """State, request id and action of the reviews that were requested."""
    rows = newest(world.store)
    return [
        (row.state, row.request_id, row.action)
        for row in rows
        if row.request_id.startswith("requested:")
    ]


@pytest.mark.parametrize(("text", "is_full"), [("/review", False), ("/review full", True)])
def test_review_is_requested_for_the_present_state_and_runs(
    make_world: MakeWorld, text: str, is_full: bool
) -> None:
    world = make(make_world)
    finished = command(world, f"{text}\nplease")
    assert (finished.state, reactions(world)) == ("done", [(77, "eyes")])
    assert requested(world) == [("queued", "requested:review:command", "synchronize")]
    lease = world.claim()
    event = parse_event(lease.event, lease.guid, lease.body)
    assert (event.is_full_review_requested, lease.number, lease.head_sha) == (is_full, 2, HEAD)
    assert event.requested_review == ("full" if is_full else "new")
    assert event.sender.login == "octocat"
    row = world.row(lease.guid)
    assert (row.sender, row.title) == ("octocat", event.pull_request and event.pull_request.title)


def test_requested_review_asks_about_an_open_finding_although_no_file_is_read(
    make_world: MakeWorld,
) -> None:
    of_file = finding(line=99, quote="entirely different words").model_dump()
    look = FindingVerdicts(verdicts=[])
    world = make(make_world, pull_request_analysis(findings=[of_file]), look, REPLY)
    world.process("pull_request.opened")
    blank = file("area.py", "@@ -1,1 +1,2 @@\n def area(side):\n+", additions=1, deletions=0)
    set_files(world, blank)
    receive_push(world)
    title = "1 open finding, 1 high; nothing needs a review: 1 changed in blank lines only"
    assert (world.finish().state, world.github.check_output(HEAD)["title"]) == ("done", title)
    command(world, "/review")
    world.finish()
    assert len(world.claude.asked) == 3


def test_retry_of_a_command_requests_one_review(make_world: MakeWorld) -> None:
    world = make(make_world)
    world.receive("issue_comment", comment("/review"), guid="command")
    lease = world.claim()
    process_delivery(
        lease, world.tools(), Attempt()
    )  # the process is killed before the result is stored
    world.advance(60)
    again = world.claim()
    assert again.guid == "command"
    process_delivery(again, world.tools(), Attempt())
    assert len(requested(world)) == 1
    assert reactions(world) == [(77, "eyes")]


@pytest.mark.parametrize(
    ("permission", "text"),
    [("read", "/stop"), ("none", "/review"), ("read", "/reveiw")],
    ids=["read", "none", "unknown"],
)
def test_rule_18_command_without_write_permission_has_no_effect(
    make_world: MakeWorld, permission: Permission, text: str
) -> None:
    world = make(make_world, octocat=permission)
    finished = command(world, text)  # its `author_association` is OWNER
    assert (finished.state, finished.reason) == (
        "ignored",
        f"octocat has the permission {permission}, and commands need write permission",
    )
    assert (reactions(world), world.github.comments, requested(world)) == ([], {}, [])
    assert world.store.interruptions.find_stop(186853002, 2) is None


def test_stop_ends_queued_and_later_deliveries_until_resume(make_world: MakeWorld) -> None:
    world = make(make_world)
    receive_push(world, guid="before", settle_s=0)
    assert world.receive("issue_comment", comment("/stop"), guid="command") == "queued"
    ended = {finished.guid: finished for finished in (world.finish(), world.finish())}
    assert ended["command"].state == "done"
    assert reactions(world) == [(77, "+1")]
    receive_push(world, guid="after", sha="b" * 40)
    later = world.finish()
    assert (later.guid, later.state) == ("after", "ignored")
    assert later.reason.startswith("octocat stopped HLS on this pull request at ")
    assert world.claude.asked == []
    assert command(world, "/resume", guid="resume").state == "done"
    assert world.store.interruptions.find_stop(186853002, 2) is None
    assert (world.finish().state, len(world.claude.asked)) == ("done", 1)


@pytest.mark.parametrize(
    "replies", [[INVALID, REPLY], [REPLY]], ids=["between two calls", "before posting"]
)
def test_command_does_not_wait_for_a_running_review_and_stops_it(
    make_world: MakeWorld, replies: list[ReplyFields | UnusableReply]
) -> None:
    world = make(make_world, *replies, octocat="admin")
    receive_push(world)

    def stop(_: str) -> None:
        world.claude.on_call = lambda _: None
        assert command(world, "/stop").state == "done"

    world.claude.on_call = stop
    finished = world.finish()
    assert (finished.guid, finished.state, len(world.claude.asked)) == ("push", "ignored", 1)
    assert finished.reason.startswith("octocat stopped HLS on this pull request at ")
    assert (world.github.comments, world.github.labels) == ({}, {})


def test_review_that_is_not_possible_gets_a_reaction_and_a_reason(
    make_world: MakeWorld,
) -> None:
    world = make(make_world)
    set_pull_request(world, locked=True)
    finished = command(world, "/review full")
    assert reactions(world) == [(77, "confused")]
    reason = (
        "reacted with confused; no review was requested: the pull request Codertocat/Hello-World#2"
        " is locked"
    )
    assert finished.reason.startswith(reason)
    assert requested(world) == []


def test_unknown_command_of_a_person_with_write_permission_gets_a_reaction_and_one_list(
    make_world: MakeWorld,
) -> None:
    world = make(make_world)
    assert command(world, "/reveiw").reason == "reacted with confused; commented"
    assert "`/review full`" in world.github.comments[2]
    assert (
        command(world, "/stopp", guid="again").reason
        == "reacted with confused; our comment is up to date"
    )
    assert reactions(world) == [(77, "confused")]
    assert (len(world.github.conversation(2).comments), world.claude.asked) == (2, [])


def test_dry_run_writes_nothing(make_world: MakeWorld) -> None:
    world = make(make_world, given=settings(features={"dry_run": True}))
    assert command(world, "/help").reason == "would have reacted with +1; would have commented"
    assert (reactions(world), world.github.comments) == ([], {})


def test_failed_reaction_is_retried_and_the_stop_applies_at_once(
    make_world: MakeWorld,
) -> None:
    world = make(make_world)
    world.github.fail(502, "POST /reactions")
    world.receive("issue_comment", comment("/stop"), guid="command")
    assert world.run() is None
    assert world.store.interruptions.find_stop(186853002, 2) is not None
    world.advance(600)
    assert (world.finish().state, reactions(world)) == ("done", [(77, "+1")])


def test_repository_settings_that_switch_hls_off_apply_to_commands(
    make_world: MakeWorld,
) -> None:
    world = make(make_world, given=settings(features={"repository_settings": True}))
    github = world.github
    set_file(github.state, github.repository, ".github/hls.yaml", "enabled: false\n")
    finished = command(world, "/stop")
    assert (finished.state, reactions(world)) == ("ignored", [])
    assert "is switched off by" in finished.reason


def check_run(*, sha: str = HEAD, numbers: tuple[int, ...] = ()) -> dict[str, Any]:
    repository = {"id": 186853002}
    return {
        "action": "rerequested",
        "repository": PULL.payload["repository"],
        "sender": {"login": "octocat", "id": 5, "type": "User"},
        "check_run": {
            "id": 9,
            "head_sha": sha,
            "app": {"id": 12345, "slug": "hls"},
            "pull_requests": [
                {"number": number, "base": {"repo": repository}} for number in numbers
            ],
        },
    }


def app_settings() -> Settings:
    given = settings()
    # no key, because no request is sent
    app = GithubApp.model_construct(id=12345, private_key=SecretStr("unused"))
    return given.model_copy(
        update={"github": given.github.model_copy(update={"app": app, "token": None})}
    )


def test_check_that_a_person_runs_again_requests_a_full_review(make_world: MakeWorld) -> None:
    world = make(make_world, given=app_settings())
    receive_push(world)  # the commit of a fork, of whose pull request the check has no number
    assert world.finish().state == "done"
    assert world.receive("check_run", check_run(), guid="rerun") == "queued"
    finished = world.finish()
    assert (finished.guid, finished.state) == ("rerun", "done")
    assert finished.reason.startswith("a review of all changes was requested (delivery ")
    rows = world.store.deliveries.of_conversation("Codertocat/Hello-World", 2)
    assert "rerun" in [row.guid for row in rows]
    lease = world.claim()
    assert msgspec.json.decode(lease.body)["hls"] == {"review": "full"}


def test_check_of_another_commit_requests_no_review(make_world: MakeWorld) -> None:
    world = make(make_world, given=app_settings())
    world.receive("check_run", check_run(sha="c" * 40, numbers=(2,)), guid="rerun")
    reason = (
        "no review was requested: the check is that of cccccccccc, and pull request 2 has a newer"
        " commit"
    )
    assert world.finish().reason == reason
    assert requested(world) == []


# Dismissals: `/dismiss N`, replies in HLS's review threads, and threads that are resolved


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
BOT = {"login": HLS.login, "id": HLS.id, "type": "Bot"}
IN_SUMMARY = replace(IN_THREAD, key="b" * 16, comment_id=None, number=2)


OPEN_AGAIN = "Finding 1 is open again: octocat took its dismissal back."


def make_reviewed(
    make_world: MakeWorld,
    *,
    state: FindingState = "open",
    octocat: Permission = "write",
    dismissals: tuple[str, ...] = (),
    void: tuple[str, ...] = (),
    given: Settings | None = None,
) -> World:
    """A world in which HLS has raised two findings on pull request 2; the first one has a review
    comment.
    """
    world = make(make_world, given=given, octocat=octocat)
    receive_push(world, guid="first")
    lease = world.claim()
    assert lease.repository_id is not None
    dismissed_by = dismissals[0].partition(" by ")[2] if dismissals else None
    known = replace(IN_THREAD, state=state, dismissals=dismissals, dismissed_by=dismissed_by)
    known = replace(known, void_dismissals=void)
    record = ReviewRecord(rounds=1, ledger=(known, IN_SUMMARY))
    ref = ConversationRef(lease.repository_id, HLS.login, 2)
    world.store.checkpoints.save(lease, ReviewChange(ref, record))
    world.store.queue.finish(lease, End("done", ""), took_s=0)
    add_to_thread(world, f"Logs it\n\n<!-- hls:finding {IN_THREAD.key} -->", by=BOT, id=900)
    return world


def add_to_thread(world: World, body: str, *, by: Mapping[str, Any], **known: Any) -> None:
    """Add a comment to the thread of the first finding, as its author does."""
    line = {"path": "area.py", "side": "RIGHT", "line": 2, "diff_hunk": PATCH}
    comment = {**line, "body": body, "user": by, "pull_request_review_id": known["id"] + 50}
    payload = in_thread("created", comment={**comment, **known})
    world.github.seed_event("pull_request_review_comment", payload)


def thread_replies(world: World) -> list[str]:
    """What HLS replied in the thread of the first finding."""
    comments = world.github.conversation(2).review_comments()
    return [
        visible_text(comment["body"])
        for review, comment in comments
        if review.author.login == HLS.login and comment.get("in_reply_to_id") == 900
    ]


def dismissals(world: World) -> list[tuple[str, ...]]:
    """What the next review reads of the findings, in the order of their numbers."""
    lease = world.claim()
    ledger = world.store.repositories.history(lease.repository_id, HLS.login).review(2).ledger
    return [entry.dismissals for entry in sorted(ledger, key=lambda entry: entry.number)]


def in_thread(action: str, *, by: str = "octocat", **known: Any) -> dict[str, Any]:
    """The payload of an event of a review thread, which is about the recorded pull request."""
    return {
        "action": action,
        "repository": PULL.payload["repository"],
        "pull_request": PULL.payload["pull_request"],
        "sender": {"login": by, "id": 5, "type": "User"},
        **known,
    }


def reply(
    world: World, body: str, *, thread: int | None = 900, guid: str = "reply", **known: Any
) -> Ended:
    payload = in_thread("created", **known)
    written = {"id": 901, "body": body, "user": payload["sender"], "author_association": "OWNER"}
    payload["comment"] = {**written, "in_reply_to_id": thread, "pull_request_review_id": 951}
    assert world.receive("pull_request_review_comment", payload, guid=guid) == "queued"
    return world.finish()


def resolve(world: World, action: str = "resolved", *, thread: int = 900, **known: Any) -> Ended:
    comments = [{"id": thread, "body": "Logs it", "user": BOT}]
    payload = in_thread(action, thread={"node_id": "T", "comments": comments}, **known)
    assert world.receive("pull_request_review_thread", payload, guid="thread") == "queued"
    return world.finish()


def test_finding_is_dismissed_by_its_number(make_world: MakeWorld) -> None:
    world = make_reviewed(make_world)
    finished = command(world, "/dismiss 2")
    assert finished.reason.startswith(
        "octocat dismissed finding 2; reacted with +1; a review of what is new was requested"
        " (delivery "
    )
    assert reactions(world) == [(77, "+1")]
    assert requested(world) == [("queued", "requested:conclude:command", "synchronize")]
    assert dismissals(world) == [(), ("command command by octocat",)]


def test_undismiss_takes_a_dismissal_back_by_its_number(make_world: MakeWorld) -> None:
    world = make_reviewed(make_world, state="dismissed", dismissals=("thumbs down by octocat",))
    finished = command(world, "/undismiss 1")
    assert finished.reason.startswith(
        "octocat took the dismissal of finding 1 back; replied in a review thread; reacted with +1"
    )
    assert thread_replies(world) == [OPEN_AGAIN]
    assert reactions(world) == [(77, "+1")]
    assert requested(world) == [("queued", "requested:conclude:command", "synchronize")]
    assert dismissals(world)[0] == ("thumbs down by octocat", "undismissed command by octocat")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("/dismiss 9", "no finding has the number 9; our comment lists the numbers"),
        ("/undismiss 2", "finding 2 is not dismissed"),
    ],
)
def test_command_about_a_finding_that_it_cannot_change_is_not_possible(
    make_world: MakeWorld, text: str, problem: str
) -> None:
    world = make_reviewed(make_world)
    finished = command(world, text)
    reason = f"reacted with confused; nothing was changed: {problem}"
    assert (finished.state, finished.reason) == ("done", reason)
    assert (reactions(world), requested(world)) == ([(77, "confused")], [])


@pytest.mark.parametrize("body", ["/dismiss", "/dismiss 1"])
def test_dismiss_in_a_thread_needs_no_number(make_world: MakeWorld, body: str) -> None:
    world = make_reviewed(make_world)
    finished = reply(world, body)
    assert finished.reason.startswith("octocat dismissed finding 1; reacted with +1; ")
    assert reactions(world) == [(901, "+1")]
    assert dismissals(world)[0] == ("command reply by octocat",)


def test_number_of_another_finding_in_a_thread_gets_one_sentence(make_world: MakeWorld) -> None:
    world = make_reviewed(make_world)
    reply(world, "/undismiss 2")
    text = "This is the thread of finding 1: write `/undismiss 2` outside of it."
    assert thread_replies(world) == [text]
    assert (reactions(world), requested(world)) == ([(901, "confused")], [])


@pytest.mark.parametrize("by", ["mona", "octocat"])
def test_objection_of_the_dismisser_or_another_writer_opens_a_dismissed_finding(
    make_world: MakeWorld, by: str
) -> None:
    world = make_reviewed(make_world, state="dismissed", dismissals=(f"words 1 by {by}",))
    reply(world, "No, please fix this before we merge.")
    assert thread_replies(world) == [OPEN_AGAIN]
    assert dismissals(world)[0] == (f"words 1 by {by}", "undismissed reply by octocat")


def test_objection_to_a_finding_that_is_not_dismissed_changes_nothing(
    make_world: MakeWorld,
) -> None:
    world = make_reviewed(make_world)
    reply(world, "Please fix the quoting.")
    assert (reactions(world), thread_replies(world)) == ([], [])


@pytest.mark.parametrize("body", ["/undismiss", "No, please fix this."])
@pytest.mark.parametrize(
    ("mona", "void"), [("write", ()), ("read", ()), ("write", ("words 1 by mona",))]
)
def test_dismissal_that_no_review_has_read_is_taken_back(
    make_world: MakeWorld, body: str, mona: Permission, void: tuple[str, ...]
) -> None:
    world = make_reviewed(make_world, void=void)
    world.github.permit("mona", mona)
    mona_account = {"login": "mona", "id": 6, "type": "User"}
    add_to_thread(world, "Won't fix.", by=mona_account, id=910, in_reply_to_id=900)
    reply(world, body)
    if mona == "read" or void:
        assert thread_replies(world) == []
        return
    assert thread_replies(world) == [OPEN_AGAIN]
    assert dismissals(world)[0] == ("undismissed reply by octocat",)


def test_unresolving_opens_a_dismissed_finding(make_world: MakeWorld) -> None:
    dismissed = ("resolved by mona", "words 1 by mona")
    world = make_reviewed(make_world, state="dismissed", dismissals=dismissed)
    resolve(world, "unresolved")
    assert thread_replies(world) == [OPEN_AGAIN]
    assert requested(world) == [("queued", "requested:conclude:thread", "synchronize")]
    assert dismissals(world)[0] == (*dismissed, "undismissed thread by octocat")


@pytest.mark.parametrize("fail_on", ["high", "critical", None])
@pytest.mark.parametrize("body", ["/dismiss", "Won't fix."])
def test_rule_18_author_dismisses_only_a_finding_that_fails_no_check(
    make_world: MakeWorld, body: str, fail_on: Severity | None
) -> None:
    world = make_reviewed(make_world, given=settings(review={"fail_on": fail_on}))
    world.github.permit("Codertocat", "read")
    finished = reply(world, body, by="Codertocat")
    if fail_on == "high":
        why = "inding 1 fails the check, so only people with write permission may dismiss it"
        assert finished.reason.startswith(f"f{why}; Codertocat has the permission read")
        assert (reactions(world), requested(world)) == ([], [])
        assert thread_replies(world) == ([f"F{why}."] if body == "/dismiss" else [])
        return
    assert reactions(world) == [(901, "+1")]
    assert requested(world) == [("queued", "requested:conclude:reply", "synchronize")]


def test_rule_18_author_who_may_not_dismiss_gets_one_reply_in_a_thread(
    make_world: MakeWorld,
) -> None:
    world = make_reviewed(make_world, given=settings(review={"fail_on": "high"}))
    world.github.permit("Codertocat", "read")
    ended = [
        reply(world, f"/dismiss because {why}", by="Codertocat", guid=why).state for why in "abc"
    ]
    assert (ended, len(thread_replies(world))) == (["done", "ignored", "ignored"], 1)


def test_author_who_may_not_dismiss_gets_no_reply_without_comments(make_world: MakeWorld) -> None:
    given = settings(review={"fail_on": "high"}, features={"auto_commenting": False})
    world = make_reviewed(make_world, given=given)
    world.github.permit("Codertocat", "read")
    assert reply(world, "/dismiss", by="Codertocat").state == "ignored"
    assert thread_replies(world) == []


@pytest.mark.parametrize("body", ["/review", "/stop", "No, please fix this."])
def test_rule_18_author_gives_no_other_command_in_a_thread(
    make_world: MakeWorld, body: str
) -> None:
    world = make_reviewed(make_world, state="dismissed", dismissals=("reply 1 by octocat",))
    world.github.permit("Codertocat", "read")
    finished = reply(world, body, by="Codertocat")
    reason = "Codertocat has the permission read, and commands need write permission"
    assert (finished.state, finished.reason) == ("ignored", reason)


def test_dismissal_by_a_stranger_gets_no_reply(make_world: MakeWorld) -> None:
    world = make_reviewed(make_world)
    world.github.permit("mona", "read")
    finished = reply(world, "/dismiss", by="mona")
    assert (finished.state, finished.reason) == (
        "ignored",
        (
            "only the author of the pull request and people with write permission may dismiss"
            " finding 1; mona has the permission read"
        ),
    )
    assert (reactions(world), thread_replies(world)) == ([], [])


def test_reply_in_a_thread_of_hls_concludes_the_check(make_world: MakeWorld) -> None:
    world = make_reviewed(make_world)
    finished = reply(world, "Won't fix.")
    assert finished.reason.startswith(
        "reacted with +1; a review of what is new was requested (delivery "
    )
    assert reactions(world) == [(901, "+1")]
    assert "POST /pulls/comments/901/reactions" in world.github.calls
    assert requested(world) == [("queued", "requested:conclude:reply", "synchronize")]
    lease = world.claim()
    assert parse_event(lease.event, lease.guid, lease.body).requested_review == "conclude"


def test_resolving_a_thread_of_hls_concludes_the_check(make_world: MakeWorld) -> None:
    world = make_reviewed(make_world)
    assert resolve(world).state == "done"
    assert reactions(world) == []
    assert requested(world) == [("queued", "requested:conclude:thread", "synchronize")]


def test_rule_18_person_without_write_permission_concludes_no_check(
    make_world: MakeWorld,
) -> None:
    world = make_reviewed(make_world, octocat="read")
    finished = [reply(world, "Won't fix."), resolve(world), command(world, "/dismiss 2")]
    finished.append(delete(world))
    assert [one.state for one in finished] == ["ignored"] * 4
    assert [one.reason.rpartition("octocat ")[2] for one in finished] == [
        "has the permission read"
    ] * 4
    assert (reactions(world), requested(world)) == ([], [])


def delete(world: World) -> Ended:
    """octocat deletes the comment 900 of HLS."""
    payload = in_thread("deleted")
    payload["comment"] = {
        "id": 900,
        "body": f"Logs it\n\n<!-- hls:finding {'1a' * 8} -->",  # it looks like a commit
        "user": BOT,
        "author_association": "NONE",
    }
    assert world.receive("pull_request_review_comment", payload, guid="deletion") == "queued"
    return world.finish()


def test_writer_who_deletes_the_comment_of_a_finding_dismisses_it(
    make_world: MakeWorld,
) -> None:
    world = make_reviewed(make_world)
    finished = delete(world)
    reason = "octocat dismissed finding 1; a review of what is new was requested"
    assert finished.reason.startswith(reason)
    assert reactions(world) == []
    assert requested(world) == [("queued", "requested:conclude:deletion", "synchronize")]
    assert dismissals(world) == [("deleted deletion by octocat",), ()]


HINT = (
    "HLS did not read this as a dismissal, so finding 1 stays as it is. If it is not to be fixed,"
    ' reply `/dismiss`, or begin a reply with "won\'t fix: ...".'
)
FAILING = settings(review={"fail_on": "high"})


def test_reply_that_may_be_a_dismissal_gets_one_hint(make_world: MakeWorld) -> None:
    world = make_reviewed(make_world, given=FAILING)
    for guid in ("reply 1", "reply 2"):
        assert reply(world, f"By design, I guess, {guid}", guid=guid).state == "done"
        assert thread_replies(world) == [HINT]
    assert (requested(world), world.claude.asked, reactions(world)) == ([], [], [])


@pytest.mark.parametrize(
    ("state", "permission"),
    [("dismissed", "write"), ("open", "read")],
    ids=["it is dismissed", "the person may not write"],
)
def test_no_hint_where_it_does_not_help(
    make_world: MakeWorld,
    state: FindingState,
    permission: Permission,
) -> None:
    world = make_reviewed(make_world, state=state, octocat=permission, given=FAILING)
    assert reply(world, "I disagree").state == "ignored"
    assert thread_replies(world) == []


@pytest.mark.parametrize("thread", [800, None])
def test_command_in_a_review_comment_elsewhere_names_the_finding(
    make_world: MakeWorld, thread: int | None
) -> None:
    world = make_reviewed(make_world)
    finished = reply(world, "/dismiss 2", thread=thread)
    assert finished.reason.startswith("octocat dismissed finding 2; reacted with +1; ")
    assert reactions(world) == [(901, "+1")]
    assert "POST /pulls/comments/901/reactions" in world.github.calls


def test_reply_in_a_thread_of_somebody_else_is_no_dismissal(make_world: MakeWorld) -> None:
    world = make_reviewed(make_world)
    finished = (reply(world, "Won't fix.", thread=800), resolve(world, thread=800))
    assert [one.state for one in finished] == ["ignored", "ignored"]
    assert finished[0].reason == "the comment asks nothing in a review thread of HLS"
    assert (reactions(world), requested(world), world.claude.asked) == ([], [], [])


@pytest.mark.parametrize(("is_stored", "author"), [(True, "Codertocat"), (False, None)])
def test_requested_review_has_the_author_of_the_pull_request(
    make_world: MakeWorld, is_stored: bool, author: str | None
) -> None:
    world = make(make_world, given=settings(metrics={"authors": is_stored}))
    command(world, "/review")
    with world.store.database.reading() as connection:
        requested = select(deliveries.c.author).where(deliveries.c.event == "pull_request")
        assert connection.execute(requested).scalars().all() == [author]


def test_draft_is_reviewed_on_request(make_world: MakeWorld) -> None:
    world = make(make_world)
    set_pull_request(world, draft=True)
    finished = command(world, "/review")
    assert finished.reason.startswith(
        "reacted with eyes; a review of what is new was requested (delivery "
    )
    assert (world.finish().state, len(world.claude.asked)) == ("done", 1)
