"""Reviewers of a pull request, from the settings to GitHub."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from hls_handler.errors import Permanent
from hls_handler.events import Account, Review
from hls_handler.github.values import ChangedFile
from hls_sandbox.world import World as SandboxWorld
from tests.engine.test_prompt_settings import FILES
from tests.engine.world import MakeWorld, World, settings
from tests.handlers.world import file, pull_request, pull_request_analysis

ANN, BEN, CAT = Account("ann", 11, "User"), Account("ben", 12, "User"), Account("cat", 13, "User")
DEE, EVE = Account("dee", 15, "User"), Account("eve", 16, "User")
APP = Account("renovate[bot]", 14, "Bot")
BASE = "b" * 40
REPOSITORY = "Codertocat/Hello-World"
READS = {"GET /pulls", "GET /pulls/2/reviews", "GET /commits"}
REQUEST = "POST /pulls/2/requested_reviewers"


def make(
    make_world: MakeWorld,
    mode: object,
    owners: str = "* @ann @acme/web @dee\n",
    authors: Sequence[Account] = (BEN, ANN, APP),
) -> World:
    """A repository in which `authors` made the commits of all files, the newest last."""
    world = make_world(pull_request_analysis(), given=settings(pull_requests={"reviewers": mode}))
    github = world.github
    github.commit({".github/CODEOWNERS": owners}, BASE)
    for person in (ANN, BEN, CAT, DEE):
        github.permit(person.login, "write")
    github.put_pull_request(pull_request(number=3))
    request(world, 3, ANN)
    for number, author in enumerate(authors):
        by = {"name": author.login, "email": "", "date": "2026-11-20T08:00:00Z"}
        document = {"message": "", "author": by}
        commit = {"sha": f"{number:040x}", "commit": document, "author": asdict(author)}
        github.state.change(partial(SandboxWorld.with_commit, full_name=REPOSITORY, commit=commit))
    return world


def request(world: World, number: int, *people: Account) -> None:
    """Let a person request reviews."""
    pull = world.github.conversation(number)
    document = {**pull.document, "requested_reviewers": [asdict(person) for person in people]}
    changed = replace(pull, document=document)
    world.github.state.change(lambda state: state.with_conversation(changed))


def requested(world: World) -> list[str]:
    """The people whose review of pull request 2 was requested."""
    people = world.github.conversation(2).document.get("requested_reviewers") or []
    return [person["login"] for person in people]


def review(
    world: World, guid: str = "first", files: Sequence[ChangedFile] = FILES, **known: Any
) -> str:
    known = {"changed_files": 2, "base_sha": BASE, **known}
    return world.review(*files, guid=guid, **known).reason


def test_rule_15_reviewers_are_suggested_as_code_and_none_is_requested(
    make_world: MakeWorld,
) -> None:
    world = make(make_world, "suggest")
    review(world)
    assert (
        "Possible reviewers: `dee` (code owner, 0 open review requests), `ann` (code owner, 1 open"
        " review request), `ben` (last author, 0 open review requests), `acme/web` (code owner)."
        in world.github.comments[2]
    )
    assert requested(world) == []
    assert set(world.github.calls) >= READS


def test_reviews_are_requested_at_the_first_review_only(make_world: MakeWorld) -> None:
    world = make(make_world, "request")
    assert "requested reviews from dee, ann, ben" in review(world)
    assert world.github.calls.count(REQUEST) == 1
    assert requested(world) == ["dee", "ann", "ben"]
    suggested = world.github.comments[2].split("Possible reviewers")[1].split("\n")[0]
    world.github.calls.clear()
    world.claude.replies = [pull_request_analysis(summary="Cubes.")]
    files = (FILES[0], file("z.py", "@@ -1 +1 @@\n-y\n+changed"))
    review(world, "second", files, head_sha="f" * 40)
    assert "Cubes." in world.github.comments[2]
    assert suggested in world.github.comments[2]
    assert {REQUEST, *READS} & {*world.github.calls} == set()


def test_without_the_setting_nothing_is_read(make_world: MakeWorld) -> None:
    world = make(make_world, False)
    review(world)
    assert READS & {*world.github.calls} == set()
    assert "Possible reviewers" not in world.github.comments.get(2, "")


def test_people_who_were_asked_or_have_reviewed_are_left_out_and_count(
    make_world: MakeWorld,
) -> None:
    world = make(make_world, "request", "* @Dee @eve @Ann @ben\n")
    world.github.put_pull_request(pull_request(number=2))
    request(world, 2, DEE, APP)
    world.github.put_review(2, Review(1, EVE, "commented", "", "", ""))
    review(world, user=ANN)
    assert requested(world) == ["dee", "renovate[bot]", "ben"]


def test_three_requested_reviews_are_enough(make_world: MakeWorld) -> None:
    world = make(make_world, "request")
    world.github.put_pull_request(pull_request(number=2))
    request(world, 2, BEN, CAT, DEE)
    review(world)
    assert {REQUEST, *READS} & {*world.github.calls} == {"GET /pulls"}


@pytest.mark.parametrize("owners", ["* @acme/web\n", ""], ids=["a team", "nobody"])
def test_only_people_are_requested(make_world: MakeWorld, owners: str) -> None:
    world = make(make_world, "request", owners, authors=())
    review(world)
    assert requested(world) == []
    assert (
        "Possible reviewers: `acme/web` (code owner)." in world.github.comments.get(2, "")
    ) == bool(owners)


def test_failed_read_does_not_prevent_the_review(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world = make(make_world, "request")
    world.github.raise_once(Permanent("GitHub answered 403"), "GET /pulls")
    review(world)
    assert requested(world) == []
    assert [
        record.__dict__["reason"]
        for record in caplog.records
        if record.msg == "reviewers were not suggested"
    ] == ["GitHub answered 403"]


def test_new_and_renamed_files_are_looked_up_where_the_base_has_them(
    make_world: MakeWorld,
) -> None:
    world = make(make_world, "suggest")
    files = (
        file("new.py", "@@ -0,0 +1 @@\n+a", status="added"),
        file("moved.py", "@@ -1 +1 @@\n-a\n+b", status="renamed", previous_path="old.py"),
    )
    review(world, files=files)
    (target,) = [target for target in world.github.targets if "/commits?" in target]
    assert (
        dict(parse_qsl(urlsplit(target).query)).items() >= {"path": "old.py", "sha": BASE}.items()
    )


def test_refused_request_of_reviews_is_no_failure(make_world: MakeWorld) -> None:
    world = make(make_world, "request")
    world.github.raise_once(Permanent("GitHub answered 403"), REQUEST)
    assert "; reviewers not set: GitHub answered 403" in review(world)
