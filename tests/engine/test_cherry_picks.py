"""The command `/cherry-pick BRANCH`, with a mirror in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from hls_handler.analysis import ConflictResolutions, ReplyFields
from hls_handler.engine.job import Attempt
from hls_handler.engine.pipeline import process_delivery
from hls_handler.git.host import MirrorUnavailable
from hls_handler.git.mirror import Mirror, Pick, PickConflict
from hls_sandbox.world import World as SandboxWorld
from tests.engine.test_commands import (
    HEAD,
    PULL,
    command,
    comment,
    make,
    reactions,
    requested,
    set_pull_request,
)
from tests.engine.world import MakeWorld, World, settings
from tests.github_fake.git import LocalMirrors

MERGE, BASE, FIRST, ONTO = "a" * 40, "b" * 40, "c" * 40, "d" * 40
CONFLICT = "<<<<<<< branch\n    return 1\n=======\n    return 2\n>>>>>>> change\n"
CART = PickConflict(
    "shop/cart.py", "def a():\n    return 1\n# end\n", ("def a():\n", CONFLICT, "# end\n")
)
ON = settings(features={"cherry_pick": True})
GUIDE = "HLS needs git and its mirror of the repository (mirror.enabled in its settings)"


CLEAN = Pick(is_empty=False, conflicts=())


def resolutions(*texts: str) -> ConflictResolutions:
    known = [
        {"number": number, "code": text, "why": "Kept."} for number, text in enumerate(texts, 1)
    ]
    return ConflictResolutions.model_validate({"resolutions": known})


def make_merged(
    make_world: MakeWorld,
    *conflicts: PickConflict,
    reply: ReplyFields | None = None,
    **known: Any,
) -> World:
    """A world with a pull request that was merged in one commit, and its conflicts with the branch
    Release/1.2.
    """
    world = make(make_world, reply or resolutions(), given=ON)
    set_pull_request(
        world,
        **{"merged": True, "state": "closed", "merge_commit_sha": MERGE, "commits": 1, **known},
    )
    github = world.github
    github.state.change(lambda state: state.with_ref(github.repository, "Release/1.2", ONTO))
    github.mirrors = PickMirrors({MERGE: (BASE,)}, Pick(is_empty=False, conflicts=conflicts))
    return world


@dataclass
class PickMirrors(LocalMirrors):
    """Mirrors in which the parents of commits and the result of a cherry-pick are fixed."""

    parents_of: Mapping[str, tuple[str, ...]]
    pick: Pick | None = CLEAN  # None: there is no mirror

    def of(self, base_url: str, repository: str, token: Callable[[], str]) -> PickMirror:
        return PickMirror(self)


@dataclass
class PickMirror(Mirror):
    home: PickMirrors

    def prepare(self, commits: Sequence[str]) -> None:
        if self.home.pick is None:
            raise MirrorUnavailable("mirror.enabled is false")

    def parents(self, commit: str) -> tuple[str, ...]:
        return self.home.parents_of.get(commit, ())

    def cherry_pick(self, commit: str, base: str, onto: str) -> Pick:
        assert self.home.pick is not None
        assert (commit, onto) == (MERGE, ONTO)
        return self.home.pick


def set_history(world: World, *commits: tuple[str, str]) -> None:
    """Set the commits of GitHub, oldest first: SHA and message. The first is the base."""
    github = world.github
    base = PULL.payload["pull_request"]["base"]["sha"]
    for sha, message in ((base, "Base"), *commits):
        commit = {"sha": sha, "commit": {"message": message}}
        github.state.change(
            partial(SandboxWorld.with_commit, full_name=github.repository, commit=commit)
        )


def test_clean_change_gets_the_commands_without_a_call_to_claude(
    make_world: MakeWorld,
) -> None:
    world = make_merged(make_world)
    finished = command(world, "/cherry-pick Release/1.2")
    assert (finished.state, finished.reason) == ("done", "there is no conflict; commented")
    assert reactions(world) == [(77, "eyes")]
    text = world.github.comments[2]
    assert text.startswith("This applies cleanly to `Release/1.2`.\n")
    switch = "git switch --create pick-2 origin/Release/1.2"
    assert f"```sh\ngit fetch origin\n{switch}\ngit cherry-pick -x {MERGE}\n```" in text
    assert (world.claude.asked, requested(world)) == ([], [])


def test_conflicts_get_a_patch_from_the_branch_to_the_resolution(
    make_world: MakeWorld,
) -> None:
    deleted = PickConflict("gone.py", "", ("x\n",))
    world = make_merged(make_world, CART, deleted, reply=resolutions("    return 3"))
    finished = command(world, "/cherry-pick Release/1.2")
    assert finished.reason == "commented"
    (asked,) = world.claude.asked
    assert "Conflict 1, <untrusted" in asked.task
    assert f"\ndef a():\n{CONFLICT}# end\n" in asked.task
    text = world.github.comments[2]
    reason = "git names no lines of it, as of a deleted, renamed or binary file"
    assert f"- `shop/cart.py`: Kept.\n- `gone.py`: no suggestion, {reason}\n" in text
    patch = (
        "--- a/shop/cart.py\n+++ b/shop/cart.py\n@@ -1,3 +1,3 @@\n def a():\n-    return 1\n+   "
        " return 3\n # end"
    )
    assert f"```diff\n{patch}\n```" in text


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (resolutions(), "Claude did not resolve all of its conflicts"),
        (resolutions("<<<<<<< branch\n"), "Claude did not resolve all of its conflicts"),
        (resolutions("    return 1\n"), "the branch's file stays as it is"),
        (resolutions("/deploy now\n"), ""),
        (
            resolutions("x = '@dependabot merge'\n"),
            "its patch is too long for a comment, or has text that HLS does not",
        ),
        (
            resolutions("x" * 40_001),
            "its patch is too long for a comment, or has text that HLS does not",
        ),
    ],
    ids=["none", "marks", "unchanged", "no command in a patch", "command of a bot", "long"],
)
def test_resolution_that_cannot_be_shown_is_named(
    make_world: MakeWorld, reply: ReplyFields, reason: str
) -> None:
    world = make_merged(make_world, CART, reply=reply)
    command(world, "/cherry-pick Release/1.2")
    text = world.github.comments[2]
    assert (f"no suggestion, {reason}" in text, "```diff" in text) == (bool(reason), not reason)


@pytest.mark.parametrize(
    ("conflict", "reason"),
    [
        (
            PickConflict('a"b.py', "x\n", ("x\n", CONFLICT, "")),
            "it has characters or text that HLS does not show",
        ),
        (PickConflict("a.py", "x\n", ("x" * 100_001, CONFLICT, "")), "it is too long"),
        (PickConflict("a.py", "x\n" * 2_001, ("", CONFLICT, "")), "it is too long"),
        (
            PickConflict("a.py", "x\n", ("ghp_" + "a1B2" * 9 + "\n", CONFLICT, "")),
            "it has characters or text that HLS",
        ),
    ],
    ids=["path", "long", "many lines", "credential"],
)
def test_file_that_claude_is_not_shown_is_named(
    make_world: MakeWorld, conflict: PickConflict, reason: str
) -> None:
    world = make_merged(make_world, conflict)
    finished = command(world, "/cherry-pick Release/1.2")
    assert (finished.reason, world.claude.asked) == (
        "Claude can be shown no conflict; commented",
        [],
    )
    assert f"no suggestion, {reason}" in world.github.comments[2]


def test_claude_is_shown_five_files(make_world: MakeWorld) -> None:
    files = [PickConflict(f"{number}.py", CART.ours, CART.parts) for number in range(6)]
    world = make_merged(make_world, *files, reply=resolutions(*["    return 2\n"] * 6))
    command(world, "/cherry-pick Release/1.2")
    text = world.github.comments[2]
    assert "`5.py`: no suggestion, Claude is shown 5 files at most" in text
    assert text.count("```diff") == 5


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("/cherry-pick", "the command needs the name of one branch"),
        ("/cherry-pick --all", "the command needs the name of one branch"),
        ("/cherry-pick a..b", "the command needs the name of one branch"),
        ("/cherry-pick $(id)", "the command needs the name of one branch"),
        ("/cherry-pick release/1.2", "the repository has no branch of this name"),
    ],
)
def test_name_that_is_no_branch_is_answered_without_git(
    make_world: MakeWorld, text: str, problem: str
) -> None:
    world = make_merged(make_world)
    assert command(world, text).reason.startswith(problem)
    assert f"was not computed: {problem}" in world.github.comments[2]


def test_without_the_mirror_the_comment_says_what_to_switch_on(make_world: MakeWorld) -> None:
    world = make_merged(make_world)
    world.github.mirrors = PickMirrors({}, None)
    assert (
        command(world, "/cherry-pick Release/1.2").reason
        == f"{GUIDE}: mirror.enabled is false; commented"
    )
    assert f"was not computed: {GUIDE}: mirror.enabled is false." in world.github.comments[2]


@pytest.mark.parametrize(
    ("known", "parents", "picked"),
    [
        ({}, {MERGE: (BASE, FIRST)}, f"-m 1 {MERGE}"),
        ({"commits": 2}, {MERGE: (BASE,)}, MERGE),
    ],
    ids=["merge", "squash"],
)
def test_change_of_a_merge_or_a_squash_is_that_of_its_commit(
    make_world: MakeWorld,
    known: dict[str, Any],
    parents: dict[str, tuple[str, ...]],
    picked: str,
) -> None:
    world = make_merged(make_world, **known)
    world.github.mirrors = PickMirrors(parents)
    set_history(world, (FIRST, "One"), (HEAD, "Two"), (MERGE, "Add it (#2)"))
    command(world, "/cherry-pick Release/1.2")
    assert f"git cherry-pick -x {picked}\n" in world.github.comments[2]


@pytest.mark.parametrize(
    ("own", "answer"),
    [
        (("One", "Two"), f"git cherry-pick -x {BASE}..{MERGE}\n"),
        (("Other", "Two"), "the merged commits are not those of the pull request"),
    ],
    ids=["rebased", "dropped"],
)
def test_change_of_a_rebase_is_its_range(
    make_world: MakeWorld, own: tuple[str, ...], answer: str
) -> None:
    world = make_merged(make_world, commits=2)
    world.github.mirrors = PickMirrors({MERGE: (FIRST,), FIRST: (BASE,)})
    own_commits = zip(("e" * 40, HEAD), own, strict=True)
    set_history(world, *own_commits, (FIRST, "One"), (MERGE, "Two"))
    command(world, "/cherry-pick Release/1.2")
    assert answer in world.github.comments[2]


def test_change_of_an_open_pull_request_is_githubs_test_merge(make_world: MakeWorld) -> None:
    world = make_merged(make_world, merged=False, state="open")
    world.github.mirrors = PickMirrors({MERGE: (BASE, FIRST)})
    command(world, "/cherry-pick Release/1.2")
    text = world.github.comments[2]
    assert "git fetch origin refs/heads/Release/1.2 pull/2/merge\n" in text
    assert "It is not merged yet, so this is GitHub's test merge of it, as one change." in text


def test_closed_pull_request_that_was_not_merged_has_nothing_to_pick(
    make_world: MakeWorld,
) -> None:
    world = make_merged(make_world, merged=False)
    command(world, "/cherry-pick Release/1.2")
    assert "GitHub has no merge commit of the pull request" in world.github.comments[2]


def test_branch_with_the_change_is_named(make_world: MakeWorld) -> None:
    world = make_merged(make_world)
    empty = Pick(is_empty=True, conflicts=())
    world.github.mirrors = PickMirrors({MERGE: (BASE,)}, empty)
    command(world, "/cherry-pick Release/1.2")
    assert world.github.comments[2] == "`Release/1.2` has this change already."


def test_retry_neither_asks_nor_comments_twice(make_world: MakeWorld) -> None:
    world = make_merged(make_world, CART, reply=resolutions("    return 3\n"))
    world.receive("issue_comment", comment("/cherry-pick Release/1.2"), guid="command")
    for _ in range(2):
        lease = world.claim()
        process_delivery(
            lease, world.tools(), Attempt()
        )  # the process is killed before the result is stored
        world.advance(60)
    assert len(world.claude.asked) == 1
    assert world.github.writes.count("POST /issues/2/comments") == 1


def test_stopped_pull_request_is_not_picked(make_world: MakeWorld) -> None:
    world = make_merged(make_world)
    command(world, "/stop", guid="stop")
    assert "octocat stopped HLS" in command(world, "/cherry-pick Release/1.2").reason
    assert world.github.comments == {}
