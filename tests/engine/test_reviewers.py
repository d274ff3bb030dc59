"""Reviewers of a pull request, from the settings to GitHub."""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.errors import Permanent
from hls_handler.events import Account, Review
from hls_handler.github.values import OpenPullRequest
from tests.engine.test_prompt_settings import FILES, given
from tests.engine.world import MakeWorld, World
from tests.handlers.world import file, pull_request_analysis

ANN, BEN, CAT = Account("ann", 11, "User"), Account("ben", 12, "User"), Account("cat", 13, "User")
APP = Account("renovate[bot]", 14, "Bot")
BASE = "b" * 40
READS = {
    "open_pull_requests",
    "reviews 2",
    f"last_authors {BASE}:a.py",
    f"last_authors {BASE}:z.py",
}


def make(make_world: MakeWorld, mode: object, owners: str = "* @ann @acme/web @dee\n") -> World:
    world = make_world(pull_request_analysis(), given=given(pull_requests={"reviewers": mode}))
    github = world.github
    github.head_files[f"{BASE}:.github/CODEOWNERS"] = owners
    github.authors = {f"{BASE}:a.py": (APP, BEN), f"{BASE}:z.py": (ANN, BEN)}
    github.open_pull_requests = (OpenPullRequest(2, ()), OpenPullRequest(3, (ANN,)))
    github.reviews_of[2] = ()
    return world


def push(world: World, guid: str = "first", **known: Any) -> str:
    files = world.github.changed.get(2, FILES)
    world.open_pull_request(*files, guid=guid, **{"changed_files": 2, "base_sha": BASE, **known})
    finished = world.finish()
    assert finished.state == "done"
    return finished.reason or ""


def test_rule_15_reviewers_are_suggested_as_code_and_none_is_requested(
    make_world: MakeWorld,
) -> None:
    world = make(make_world, "suggest")
    push(world)
    assert (
        "Possible reviewers: `dee` (code owner, 0 open review requests), `ann` (code owner, 1 open"
        " review request), `ben` (last author, 0 open review requests), `acme/web` (code owner).\n"
        in world.github.comments[2]
    )
    assert world.github.requested_reviewers == {}
    assert set(world.github.calls) >= READS


def test_reviews_are_requested_at_the_first_review_only(make_world: MakeWorld) -> None:
    world = make(make_world, "request")
    assert "requested reviews from dee, ann, ben" in push(world)
    assert world.github.requested_reviewers == {2: ("dee", "ann", "ben")}
    suggested = world.github.comments[2].split("Possible reviewers")[1].split("\n")[0]
    world.github.requested_reviewers.clear()
    world.github.calls.clear()
    world.claude.replies = [pull_request_analysis(summary="Cubes.")]
    world.github.changed[2] = (FILES[0], file("z.py", "@@ -1 +1 @@\n-y\n+changed"))
    push(world, "second", head_sha="f" * 40)
    assert "Cubes." in world.github.comments[2]
    assert suggested in world.github.comments[2]
    assert (world.github.requested_reviewers, READS & {*world.github.calls}) == ({}, set())


def test_without_the_setting_nothing_is_read(make_world: MakeWorld) -> None:
    world = make(make_world, False)
    push(world)
    assert READS & {*world.github.calls} == set()
    assert "Possible reviewers" not in world.github.comments.get(2, "")


def test_people_who_were_asked_or_have_reviewed_are_left_out_and_count(
    make_world: MakeWorld,
) -> None:
    world = make(make_world, "request", "* @Dee @eve @Ann @ben\n")
    world.github.open_pull_requests = (OpenPullRequest(2, (Account("dee", 15, "User"), APP)),)
    world.github.reviews_of[2] = (Review(1, Account("eve", 16, "User"), "commented", "", "", ""),)
    push(world, user=ANN)
    assert world.github.requested_reviewers == {2: ("ben",)}


def test_three_requested_reviews_are_enough(make_world: MakeWorld) -> None:
    world = make(make_world, "request")
    world.github.open_pull_requests = (OpenPullRequest(2, (BEN, CAT, Account("dee", 15, "User"))),)
    push(world)
    assert (world.github.requested_reviewers, READS & {*world.github.calls}) == (
        {},
        {"open_pull_requests"},
    )


@pytest.mark.parametrize("owners", ["* @acme/web\n", ""], ids=["a team", "nobody"])
def test_only_people_are_requested(make_world: MakeWorld, owners: str) -> None:
    world = make(make_world, "request", owners)
    world.github.authors.clear()
    push(world)
    assert world.github.requested_reviewers == {}
    assert (
        "Possible reviewers: `acme/web` (code owner)." in world.github.comments.get(2, "")
    ) == bool(owners)


def test_failed_read_does_not_prevent_the_review(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world = make(make_world, "request")

    def refuse(what: str) -> None:
        if what == "open_pull_requests":
            raise Permanent("GitHub answered 403")

    world.github.on_call = refuse
    push(world)
    assert world.github.requested_reviewers == {}
    assert [
        record.__dict__["reason"]
        for record in caplog.records
        if record.msg == "reviewers were not suggested"
    ] == ["GitHub answered 403"]


def test_new_and_renamed_files_are_looked_up_where_the_base_has_them(make_world: MakeWorld) -> None:
    world = make(make_world, "suggest")
    world.github.changed[2] = (
        file("new.py", "@@ -0,0 +1 @@\n+a", status="added"),
        file("moved.py", "@@ -1 +1 @@\n-a\n+b", status="renamed", previous_path="old.py"),
    )
    push(world)
    asked = [call for call in world.github.calls if call.startswith("last_authors")]
    assert asked == [f"last_authors {BASE}:old.py"]


def test_refused_request_of_reviews_is_no_failure(make_world: MakeWorld) -> None:
    def refuse(what: str) -> None:
        if what == "write reviewers":
            raise Permanent("GitHub answered 403")

    world = make(make_world, "request")
    world.github.on_call = refuse
    assert "; reviewers not set: GitHub answered 403" in push(world)
