"""Several pull requests with one head commit: GitHub shows one check for it, the worst of those of
the open ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from hls_handler.github.values import ChangedFile
from tests.engine.claude import INVALID
from tests.engine.test_commit_checks import LATE_WRITE_S
from tests.engine.test_unreviewed_checks import BOT, REPLY, SHA, Pushed, drain, make_settings
from tests.engine.world import MakeWorld, World
from tests.handlers.world import file, finding, pull_request, pull_request_analysis

FAILS = pull_request_analysis(findings=[finding(severity="critical")])
OTHER_HEAD = f"{2:040x}"
BAD_REPLIES = [INVALID] * 3  # of one delivery, which is then dead
SKIPPED = {"title": "Square it [skip hls]"}


@dataclass
class Opened(Pushed):
    path: str = "area.py"  # of its changed file

    def put(self, *files: ChangedFile) -> None:
        super().put(*(files or (file(self.path),)))


def world_of(make_world: MakeWorld, *replies: Any, **given: Any) -> World:
    return make_world(*replies, given=make_settings(fail_on="critical", verify=False, **given))


def newest(world: World, name: str = "HLS review") -> str:
    return world.github.checks_of(SHA, name)[-1]


def end(pushed: Opened, action: str, **changes: Any) -> str:
    """Send an event of the pull request; return the newest check on the commit after its end."""
    pushed.world.advance(LATE_WRITE_S)
    pushed.send(action, **changes)
    drain(pushed.world)
    pushed.world.advance(LATE_WRITE_S)
    pushed.world.end_checks()
    return newest(pushed.world)


def close(pushed: Opened) -> None:
    """Close the pull request on GitHub, and send its webhook."""
    pushed.world.advance(LATE_WRITE_S)
    pushed.send("closed")
    pushed.world.github.put_pull_request(
        pull_request(number=pushed.number, head_sha=pushed.head, state="closed")
    )
    drain(pushed.world)


@pytest.mark.parametrize(
    ("replies", "known", "shown"),
    [
        ([REPLY], {}, "success"),
        ([], {"draft": True}, "neutral"),
        (BAD_REPLIES, {}, "neutral"),
        ([], {"author": BOT}, "neutral"),
        ([], SKIPPED, "neutral"),
    ],
    ids=["reviewed", "draft", "dead", "bot", "skipped"],
)
@pytest.mark.parametrize("failing_is_first", [True, False])
def test_failure_of_one_pull_request_is_the_check_of_the_commit(
    make_world: MakeWorld, replies: list[Any], known: Any, shown: str, *, failing_is_first: bool
) -> None:
    order = [[FAILS], replies] if failing_is_first else [replies, [FAILS]]
    world = world_of(make_world, *order[0], *order[1])
    failing, other = (
        Opened(world),
        replace(Opened(world, number=3, path="cube.py", branch="same"), **known),
    )
    first, second = (failing, other) if failing_is_first else (other, failing)
    assert end(first, "opened") == ("failure" if failing_is_first else shown)
    assert end(second, "opened") == "failure"
    if failing_is_first:
        title = "Pull request 2, with the same commit, failed; "
        assert world.github.check_output(SHA)["title"].startswith(title)
    close(failing)
    assert newest(world) == shown


def test_push_of_the_failing_pull_request_frees_the_commit(make_world: MakeWorld) -> None:
    world = world_of(make_world, FAILS, REPLY, REPLY)
    failing, other = Opened(world), Opened(world, number=3, path="cube.py", branch="same")
    end(failing, "opened")
    assert end(other, "opened") == "failure"
    failing.head = OTHER_HEAD
    assert end(failing, "synchronize", before=SHA) == "success"
    assert world.github.checks_of(OTHER_HEAD) == ["failure"]


def test_failure_that_is_kept_returns_with_its_pull_request(make_world: MakeWorld) -> None:
    """Pushes are not among the events, so a push back to the commit keeps its result."""
    world = world_of(make_world, FAILS, REPLY, events=("pull_request.opened",))
    failing, other = Opened(world), Opened(world, number=3, path="cube.py", branch="same")
    end(failing, "opened")
    assert end(other, "opened") == "failure"
    failing.head = OTHER_HEAD
    assert end(failing, "synchronize", before=SHA) == "success"
    failing.head = SHA
    assert end(failing, "synchronize", before=OTHER_HEAD) == "failure"


def test_review_with_another_base_replaces_the_failure(make_world: MakeWorld) -> None:
    world = world_of(make_world, *BAD_REPLIES, REPLY, REPLY, incomplete="failure")
    failing, other = Opened(world), Opened(world, number=3, path="cube.py", branch="same")
    assert end(failing, "opened") == "failure"
    assert end(other, "opened") == "failure"
    assert end(failing, "edited", changes={"base": {"ref": {"from": "main"}}}) == "success"


def test_review_that_runs_does_not_hide_the_failure_of_another_one(
    make_world: MakeWorld,
) -> None:
    world = world_of(make_world, FAILS, REPLY)
    end(Opened(world), "opened")
    during: list[str] = []
    world.claude.on_call = lambda _: during.append(newest(world))
    assert end(Opened(world, number=3, path="cube.py", branch="same"), "opened") == "failure"
    assert during == ["failure"]


@pytest.mark.parametrize(("reply", "shown"), [(FAILS, "failure"), (REPLY, "success")])
def test_success_waits_for_the_review_of_another_pull_request(
    make_world: MakeWorld, reply: object, shown: str
) -> None:
    """Pull request 3 is opened and reviewed while Claude is asked about pull request 2."""
    world = world_of(make_world, REPLY, reply)
    during: list[str] = []

    def review_other(_: object) -> None:
        world.claude.on_call = lambda _: None
        Opened(world, number=3, path="cube.py", branch="same").send("opened")
        world.run()
        during.append(newest(world))

    world.claude.on_call = review_other
    assert end(Opened(world), "opened") == shown
    assert "success" not in during


def test_check_of_one_pull_request_ends_after_that_of_another_one(
    make_world: MakeWorld,
) -> None:
    """Pull request 3 is reviewed while GitHub writes the check of pull request 2."""
    world = world_of(make_world, FAILS, REPLY)
    ends: list[object] = []

    def review_other(call: str) -> None:
        if call.startswith("PATCH /check-runs"):
            world.github.on_call = lambda _: None
            Opened(world, number=3, path="cube.py", branch="same").send("opened")
            ends.append(world.run())

    world.github.on_call = review_other
    Opened(world).send("opened")
    world.finish()
    assert (ends, newest(world)) == ([None], "failure")
    world.advance(LATE_WRITE_S)
    drain(world)
    assert newest(world) == "failure"


def test_own_worst_result_reads_no_other_pull_request(make_world: MakeWorld) -> None:
    world = world_of(make_world, REPLY, FAILS)
    end(Opened(world, number=3, path="cube.py", branch="same"), "opened")
    before = len(world.github.calls)
    assert end(Opened(world), "opened") == "failure"
    assert not [call for call in world.github.calls[before:] if call.endswith("/pulls/3")]


def test_check_names_the_other_pull_requests_of_its_commit(make_world: MakeWorld) -> None:
    world = world_of(make_world, REPLY, REPLY)
    end(Opened(world), "opened")
    assert end(Opened(world, number=3, path="cube.py", branch="same"), "opened") == "success"
    summary = world.github.check_output(SHA)["summary"]
    assert "The commit is also that of pull request 2." in summary


def test_bad_title_of_one_pull_request_is_that_of_the_commit(make_world: MakeWorld) -> None:
    world = world_of(make_world, title="check", check=False)
    bad = Opened(world, title="Square it", draft=True)
    good = Opened(world, number=3, title="feat: square it", draft=True, branch="same")
    for pushed in (bad, good, bad):
        pushed.send("opened")
        drain(world)
        assert newest(world, "HLS title") == "failure"
    close(bad)
    assert world.github.checks_of(SHA, "HLS title") == ["failure"] * 3 + ["success"]


@pytest.mark.parametrize("number", [2, 3])
def test_titles_are_read_from_github_when_a_pull_request_is_renamed(
    make_world: MakeWorld, number: int
) -> None:
    world = world_of(make_world, title="check", check=False)
    first = Opened(world, title="Square it", draft=True)
    second = Opened(world, number=3, title="Cube it", draft=True, branch="same")
    for pushed in (first, second):
        pushed.send("opened")
    renamed = first if number == 2 else second
    renamed.title = "feat: it"
    renamed.send("edited", changes={"title": {"from": "x"}})
    drain(world)
    assert newest(world, "HLS title") == "failure"
