"""Every head commit of an enabled repository's pull request ends with a check, also if its event is
ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest

from hls_handler.events import Account, Label, PullRequest
from hls_handler.github.values import ChangedFile
from hls_handler.settings.model import Settings
from hls_sandbox.world import World as SandboxWorld
from tests.engine.claude import CLAUDE_DOWN
from tests.engine.stand_in import pull_document
from tests.engine.world import MakeWorld, World, settings
from tests.github_fake.files import set_file
from tests.handlers.world import file, finding, pull_request, pull_request_analysis

NAME = "Codertocat/Hello-World"
REPLY = pull_request_analysis()
BOT, PERSON = (
    {"login": "renovate[bot]", "id": 5, "type": "Bot"},
    {"login": "octocat", "id": 1, "type": "User"},
)
SHA = f"{1:040x}"


def make_settings(
    *,
    events: tuple[str, ...] = ("pull_request",),
    features: Mapping[str, Any] | None = None,
    entry: Mapping[str, Any] | None = None,
    runs: int = 20,
    title: object = False,
    **review: Any,
) -> Settings:
    """Settings of one repository whose pull requests HLS reviews."""
    return settings(
        repository={"events": events, **(entry or {})},
        features=features or {},
        limits={"settle_s": 0, "thread_runs_per_hour": runs},
        review=review,
        pull_requests={"title": title},
    )


@dataclass
class Pushed:
    """A pull request on GitHub, and the webhooks that it sends."""

    world: World
    number: int = 2
    head: str = SHA
    title: str = "Square it"
    draft: bool = False
    labels: list[str] = field(default_factory=list)
    author: Mapping[str, Any] = field(default_factory=lambda: PERSON)
    branch: str = "square"
    sent: int = 0

    @property
    def now(self) -> PullRequest:
        return pull_request(
            number=self.number,
            title=self.title,
            draft=self.draft,
            user=Account(self.author["login"], self.author["id"], self.author["type"]),
            head_sha=self.head,
            head_ref=self.branch,
            labels=tuple(Label(name) for name in self.labels),
        )

    def put(self, *files: ChangedFile) -> None:
        """Change the pull request on GitHub, without a webhook."""
        self.world.github.put_pull_request(self.now, *(files or (file(),)))

    def send(self, action: str, **changes: Any) -> str:
        """Send an event after GitHub has changed, as the receiver would store it; return how it was
        accepted.
        """
        self.sent += 1
        self.put()
        payload = {
            "action": action,
            "number": self.number,
            "pull_request": pull_document(self.now),
            "repository": {"id": 186853002, "full_name": NAME},
            "sender": self.author,
            "nonce": self.sent,  # so that no body is a replay
            **changes,
        }
        return self.world.receive("pull_request", payload, guid=f"{self.number}-{self.sent}")

    @property
    def check(self) -> str | None:
        """State of the newest check on the head commit; None if it has none."""
        return next(reversed(self.world.github.checks_of(self.head)), None)


def drain(world: World) -> None:
    """Run all deliveries, also after outages, and then end the checks of those without a result."""
    while (due_s := world.store.queue.seconds_until_due()) is not None:
        if due_s > 0:
            world.advance(due_s)
        if world.store.queue.seconds_until_due() == 0:
            world.run()
    world.end_checks()


BASE = {"changes": {"base": {"ref": {"from": "main"}}}}


@pytest.mark.parametrize(
    ("given", "known", "check", "title"),
    [
        (
            {"incomplete": "failure"},
            {"author": BOT},
            "neutral",
            "Not reviewed: renovate[bot] is a bot",
        ),
        (
            {"incomplete": "failure", "events": ("pull_request.labeled",)},
            {},
            "neutral",
            (
                "Not reviewed: pull_request.opened is not among the events of settings"
                " (repositories[0].events)"
            ),
        ),
        ({}, {"draft": True}, "neutral", "Not reviewed: the pull request is a draft"),
        (
            {"incomplete": "failure"},
            {"title": "x [skip hls]"},
            "failure",
            "Not reviewed: [skip hls] in the title asks HLS to skip this conversation",
        ),
    ],
    ids=["bot", "event", "draft", "title"],
)
def test_ignored_head_gets_a_check_at_once_that_says_why(
    make_world: MakeWorld,
    given: dict[str, Any],
    known: dict[str, Any],
    check: str,
    title: str,
) -> None:
    world = make_world(REPLY, given=make_settings(**given))
    pushed = replace(Pushed(world), **known)
    assert pushed.send("opened") == "queued"
    finished = world.finish()
    assert (finished.state, pushed.check, world.claude.asked) == ("ignored", check, [])
    assert world.github.check_output(SHA)["title"] == title
    assert finished.reason.endswith(f"; set the check to {check}: {title}")


@pytest.mark.parametrize(
    "given",
    [
        {"entry": {"enabled": False}},
        {"entry": {"name": "octo/other"}},
        {"check": False},
        {"features": {"dry_run": True}},
        {"events": ("issues",)},
    ],
    ids=["disabled", "not named", "no checks", "dry run", "no pull requests"],
)
def test_nothing_is_written_where_hls_sets_no_checks(
    make_world: MakeWorld, given: dict[str, Any]
) -> None:
    world = make_world(REPLY, given=make_settings(**given))
    assert Pushed(world, draft=True).send("opened") == request_checks(world) == "ignored"
    drain(world)
    assert world.github.calls == []


def test_nothing_is_written_if_the_repository_settings_disable_hls(
    make_world: MakeWorld,
) -> None:
    world = make_world(REPLY, given=make_settings(features={"repository_settings": True}))
    set_file(world.github.state, NAME, ".github/hls.yaml", "enabled: false")
    pushed = Pushed(world, draft=True)
    pushed.send("opened")
    drain(world)
    assert (world.row("2-1").state, world.github.checks_of(SHA)) == ("ignored", [])


def test_operator_that_excludes_an_event_keeps_the_result_of_the_same_diff(
    make_world: MakeWorld,
) -> None:
    world = make_world(
        REPLY, given=make_settings(events=("pull_request.opened",), incomplete="failure")
    )
    pushed = Pushed(world)
    pushed.send("opened")
    world.finish()
    for action, changes, check in (("reopened", {}, "success"), ("edited", BASE, "failure")):
        pushed.send(action, **changes)
        assert (world.finish().state, pushed.check) == ("ignored", check)


@pytest.mark.parametrize(
    ("runs", "action", "known", "is_denied", "state"),
    [
        (20, "edited", {"title": "[skip hls] x"}, False, "ignored"),
        (1, "edited", {}, False, "ignored"),
        (20, "edited", {}, True, "dead"),
        (20, "synchronize", {"title": "[skip hls] x"}, False, "ignored"),
    ],
    ids=["skipped", "limit", "dead letter", "push to an older commit"],
)
def test_success_ends_if_another_diff_of_its_commit_is_not_reviewed(
    make_world: MakeWorld,
    runs: int,
    action: str,
    known: dict[str, Any],
    is_denied: bool,
    state: str,
) -> None:
    world = make_world(REPLY, given=make_settings(runs=runs))
    Pushed(world).send("opened")
    assert world.finish().state == "done"
    pushed = replace(Pushed(world, sent=1), **known)
    pushed.send(action, **(BASE if action == "edited" else {}))
    if is_denied:
        world.github.fail(403, "GET /pulls/2")
    assert world.finish().state == state
    drain(world)
    assert world.github.checks_of(SHA) == ["success", "neutral"]


@pytest.mark.parametrize("is_running", [True, False], ids=["while Claude works", "while it waits"])
@pytest.mark.parametrize(
    ("given", "action", "changes"),
    [
        ({"when": "opened"}, "opened", {}),
        ({"when": "label:ai"}, "labeled", {"label": {"name": "ai"}}),
        ({"when": "request"}, "synchronize", {"hls": {"review": "full"}}),
        ({}, "synchronize", {"hls": {"review": "new"}, "sender": PERSON}),
    ],
    ids=["opened", "label on a draft", "request", "request by a person, push by a bot"],
)
def test_push_takes_over_the_review_that_it_superseded(
    make_world: MakeWorld,
    given: dict[str, Any],
    action: str,
    changes: dict[str, Any],
    is_running: bool,
) -> None:
    world = make_world(REPLY, given=make_settings(incomplete="failure", **given))
    pull = Pushed(world, labels=["ai"], draft=action == "labeled")
    if "sender" in changes:
        pull.author = BOT

    def push(_: str = "") -> None:
        if pull.head == SHA:
            pull.head = "2" * 40
            pull.send("synchronize")

    pull.send(action, **changes)
    if is_running:
        world.claude.on_call = push
    else:
        push()
    drain(world)
    assert [world.row(guid).state for guid in ("2-1", "2-2")] == ["superseded", "done"]
    assert world.github.checks_of("2" * 40) == ["success"]
    pull.head = "3" * 40
    pull.send("synchronize")
    drain(world)
    assert world.row("2-3").state == "ignored"
    assert world.github.checks_of("3" * 40)[-1] != "success"


@pytest.mark.parametrize(
    ("previous", "patch"),
    [("old.py", None), ("dist/old.py", None), ("old.py", "@@ -1 +1,2 @@\n def f(user_input):\n+")],
    ids=["renamed", "moved out of dist", "with a blank line"],
)
def test_finding_stays_while_its_code_is_added_in_a_file_that_added_no_text_before(
    make_world: MakeWorld, previous: str, patch: str | None
) -> None:
    code = "def f(user_input):\n+    os.system(user_input)"
    found = finding(path="a.py", quote="os.system(user_input)", severity="critical").model_dump()
    gone = {
        "number": 1,
        "path": None,
        "line": None,
        "quote": "",
        "verdict": "gone",
        "severity": None,
    }
    replies = pull_request_analysis(findings=[found]), pull_request_analysis(earlier=[gone])
    world = make_world(*replies, given=make_settings(fail_on="critical", verify=False))
    pull = Pushed(world)
    pull.send("opened")
    renamed = replace(
        file("b.py", None, additions=0, deletions=0, sha="5" * 40),
        status="renamed",
        previous_path="old.py",
    )
    pull.put(file("a.py", f"@@ -1 +1,2 @@\n {code}", additions=1, deletions=0), renamed)
    drain(world)
    pull.head = "2" * 40
    pull.send("synchronize")  # the author restores old.py, and drops the line of a.py
    pull.put(file("b.py", f"@@ -0,0 +1,2 @@\n+{code}", additions=2, deletions=0, sha="5" * 40))
    drain(world)
    assert (len(world.claude.asked), world.github.checks_of("2" * 40)[-1]) == (
        2,
        "failure",
    )


# Merge queues: concluded from reviews that ended, without a call to Claude


QUEUE = "c" * 40


def request_checks(world: World, *messages: str, action: str = "checks_requested") -> str:
    """Let GitHub request the checks on a commit of the queue; return how the event was accepted."""
    shas = ["b" * 40, *(f"{at:040x}" for at in range(1, len(messages))), QUEUE]
    for sha, message in zip(shas, ("Base", *(messages or ("Fix (#2)",))), strict=True):
        commit = {"sha": sha, "commit": {"message": message}, "author": PERSON}
        world.github.state.change(partial(SandboxWorld.with_commit, full_name=NAME, commit=commit))
    payload = {
        "action": action,
        "merge_group": {
            "head_sha": QUEUE,
            "head_ref": f"refs/heads/gh-readonly-queue/main/pr-2-{'b' * 40}",
            "base_sha": "b" * 40,
            "base_ref": "refs/heads/main",
        },
        "repository": {"id": 186853002, "full_name": NAME},
        "sender": {"login": "github-merge-queue[bot]", "id": 9, "type": "Bot"},
    }
    return world.receive("merge_group", payload, guid="queue")


def queue_check(world: World) -> list[str]:
    return world.github.checks_of(QUEUE)


def test_reviewed_pull_request_gets_a_success_without_a_call(make_world: MakeWorld) -> None:
    world = make_world(REPLY, given=make_settings())
    Pushed(world).send("opened")
    world.finish()
    assert request_checks(world) == "queued"
    finished = world.finish()
    assert (finished.state, queue_check(world), len(world.claude.asked)) == ("done", ["success"], 1)
    assert (
        finished.reason
        == "set the check to success: Merge queue: 1 pull request was reviewed at the head"
    )
    assert world.row("queue").number == 2
    assert f"2 at {'0' * 10}" in world.github.check_output(QUEUE)["summary"]


@pytest.mark.parametrize(
    ("second", "incomplete", "check"),
    [
        ({}, "failure", "success"),
        ({"draft": True}, "failure", "failure"),
        ({"draft": True}, "neutral", "neutral"),
        ({"author": BOT}, "failure", "neutral"),
        (None, "failure", "failure"),
    ],
    ids=["reviewed", "draft", "draft, neutral", "bot", "newer commit"],
)
def test_group_is_as_its_least_reviewed_pull_request(
    make_world: MakeWorld, second: dict[str, Any] | None, incomplete: str, check: str
) -> None:
    world = make_world(REPLY, given=make_settings(incomplete=incomplete))
    for number, known in ((2, {}), (3, second or {})):
        pushed = Pushed(world, number, f"{number:040x}", **known)
        pushed.send("opened")
    drain(world)
    if second is None:  # a push whose webhook has not arrived
        pushed.head = "d" * 40
        pushed.put()
    request_checks(world, "Fix (#2)", "Merge pull request #3 from mona/fix")
    assert (world.finish().state, queue_check(world)) == ("done", [check])


def test_group_waits_for_a_review_in_progress(make_world: MakeWorld) -> None:
    world = make_world(REPLY, given=make_settings())
    for number in (2, 3):
        pushed = Pushed(world, number, f"{number:040x}")
        pushed.send("opened")
    pushed.put(file("other.py"))
    world.finish()
    during: list[object] = []

    def request(_: str) -> None:
        request_checks(world, "Fix (#2)", "Add (#3)")
        during.extend([world.run(), queue_check(world), world.row("queue").reason])

    world.claude.on_call = request
    assert world.finish().state == "done"
    assert during == [None, [], "pull request 3 of the merge queue is being reviewed"]
    world.claude.on_call = lambda _: None
    drain(world)
    assert queue_check(world) == ["success"]


def test_group_waits_for_a_review_that_has_not_begun_its_check(make_world: MakeWorld) -> None:
    world = make_world(REPLY, given=make_settings(incomplete="failure"))
    for number in (2, 3):
        pushed = Pushed(world, number, f"{number:040x}")
        pushed.send("opened")
    drain(world)
    pushed.head = "e" * 40
    pushed.send("synchronize")
    world.claim()
    request_checks(world, "Fix (#2)", "Add (#3)")
    assert (world.run(), queue_check(world)) == (None, [])
    assert world.row("queue").reason == "pull request 3 of the merge queue is being reviewed"
    sent = len(world.github.calls)
    world.advance(10)
    assert (world.run(), world.github.calls[sent:]) == (None, [])
    assert world.row("queue").reason == "pull request 3 of the merge queue is being reviewed"


def test_commits_of_a_group_that_were_unknown_are_read_again(make_world: MakeWorld) -> None:
    world = make_world(REPLY, given=make_settings(incomplete="failure"))
    Pushed(world).send("opened")
    world.finish()
    request_checks(world)
    world.github.fail(404, "GET /compare")
    world.github.fail(502, "POST /check-runs")
    assert world.run() is None
    drain(world)
    assert queue_check(world) == ["success"]


def test_repeated_group_does_not_wait_for_a_review_that_waits_for_it(
    make_world: MakeWorld,
) -> None:
    world = make_world(REPLY, CLAUDE_DOWN, REPLY, given=make_settings())
    pushed = Pushed(world)
    pushed.send("opened")
    world.finish()
    request_checks(world)
    world.github.fail(403, "GET /compare")
    assert world.finish().state == "dead"
    pushed.head = "e" * 40
    pushed.send("synchronize")
    pushed.put(file("other.py"))
    assert world.run() is None  # its check is in progress, and Claude is down
    world.store.queue.retry("queue")  # or GitHub delivers the group again
    for _ in range(100):
        if (due_s := world.store.queue.seconds_until_due()) is not None:
            world.advance(due_s + 0.01)
            world.run()
    assert [world.row(guid).state for guid in ("queue", "2-2")] == ["done", "done"]


@pytest.mark.parametrize(
    ("was_draft", "action", "changes"), [(False, "edited", BASE), (True, "ready_for_review", {})]
)
def test_group_waits_for_another_review_of_a_commit_that_has_a_check(
    make_world: MakeWorld, was_draft: bool, action: str, changes: dict[str, Any]
) -> None:
    world = make_world(REPLY, given=make_settings(incomplete="failure"))
    for number in (2, 3):
        pushed = Pushed(world, number, f"{number:040x}", draft=was_draft and number == 3)
        pushed.send("opened")
    drain(world)
    pushed.draft = False
    pushed.send(action, **changes)
    assert world.claim() is not None
    request_checks(world, "Fix (#2)", "Add (#3)")
    assert (world.run(), queue_check(world)) == (None, [])


def test_group_whose_pull_request_cannot_be_read_ends_as_incomplete(
    make_world: MakeWorld,
) -> None:
    world = make_world(REPLY, given=make_settings(incomplete="failure"))
    assert [
        request_checks(world, action=action) for action in ("destroyed", "checks_requested")
    ] == [
        "ignored",
        "queued",
    ]
    world.github.fail(403, "GET /compare")
    assert world.finish().state == "dead"
    drain(world)
    assert queue_check(world) == ["failure"]
