"""Conversations about releases: the commits that are read, and the draft on the fallback issue."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.handlers.conversation import REPOSITORY, Home, release
from tests.handlers.events import ANNOUNCEMENT


def commit(home: Home, message: str, tag: str = "") -> None:
    sha = f"{len(home.state.world.history.get(REPOSITORY, ())) + 1:040x}"
    by = {"name": "Mona", "email": "", "date": "2026-11-20T08:00:00Z"}
    one = {"sha": sha, "commit": {"message": message, "author": by}, "author": None}
    home.state.change(lambda world: world.with_commit(REPOSITORY, one))
    if tag:
        home.state.change(lambda world: world.with_ref(REPOSITORY, tag, sha))


def publish(home: Home, published: dict[str, Any] | None = None) -> str:
    home.says(ANNOUNCEMENT)
    return home.send("release", "published", release=published or release())


def test_draft_is_posted_on_the_fallback_issue_with_the_commits_since_the_previous_release(
    home: Home,
) -> None:
    commit(home, "Old", tag="v1.3.0")
    commit(home, "First change")
    commit(home, "x" * 5_000)
    commit(home, "Third change", tag="v1.4.0")
    home.seed("release", "published", release=release(500, "v1.3.0", hour=8))
    assert publish(home) == "done: commented"
    newest, long, *others = home.question.partition(", the newest first:\n")[2].split("\n")
    assert (newest, others[0]) == ("Third change", "First change")
    assert long.endswith("… [24 characters cut]")
    assert home.fallback.shown() == (
        "\n--\n"
        f"**Draft of an announcement of [`v1.4.0`](https://github.com/{REPOSITORY}/releases/tag"
        "/v1.4.0)**: More\n"
        "There is more."
    )
    publish(home, release(502, "v1.4.1", hour=10))
    assert home.fallback.shown().count("**Draft of") == 2
    silent = ANNOUNCEMENT.model_copy(update={"worth_saying": False})
    home.says(silent)
    ended = home.send("release", "published", release=release(503, "v1.4.2", hour=11))
    assert ended == "done: nothing worth saying, and no existing section to update"


PREVIOUS = release(500, "v1.3.0", 7)
NEWER = release(502, "v2.0.0", 10)
CANDIDATE = release(503, "v1.4.0-rc1", 8, prerelease=True)
DRAFT = release(504, "v1.3.9", 8, draft=True)
OLDER = release(505, "v1.2.0", 6)


@pytest.mark.parametrize(
    ("published", "listed", "before"),
    [
        (release(), (NEWER, CANDIDATE, DRAFT, OLDER, PREVIOUS), "v1.3.0"),
        (release(prerelease=True), (NEWER, CANDIDATE, DRAFT, PREVIOUS), "v1.4.0-rc1"),
        (release(), (NEWER, DRAFT), None),
    ],
    ids=["previous final release", "of a prerelease, any previous one", "the first release"],
)
def test_a_release_is_compared_with_the_previous_one_of_its_kind(
    home: Home, published: dict[str, Any], listed: tuple[dict[str, Any], ...], before: str | None
) -> None:
    for one in listed:
        commit(home, one["tag_name"], one["tag_name"])
        home.seed("release", "published", release=one)
    commit(home, "Last", "v1.4.0")
    publish(home, published)
    since = f"Commits since {before}" if before else "there are no commits to show"
    assert since in home.question


def test_without_common_history_no_commits_are_shown(home: Home) -> None:
    home.seed("release", "published", release=PREVIOUS)
    publish(home)
    assert "there are no commits to show" in home.question


def test_commits_beyond_the_budget_are_counted(home: Home) -> None:
    commit(home, "Old", tag="v1.3.0")
    for number in range(200):
        commit(home, f"{number} " + "x" * 5_000, tag="v1.4.0")
    home.seed("release", "published", release=PREVIOUS)
    publish(home)
    assert "the newest first:\n199 xx" in home.question
    omitted = "111 of 200 commits were not shown: over the token budget"
    assert f"\n  Not shown to Claude: {omitted}; 89" in home.why
    assert home.fallback.shown().endswith("\nNot read, for want of room: 111 older commits.")


@pytest.mark.parametrize("is_deleted", [True, False], ids=["deleted", "a draft again"])
def test_a_deleted_or_draft_release_is_not_announced(home: Home, is_deleted: bool) -> None:
    def change() -> None:
        home.seed("release", "edited", release=release(draft=True))
        if is_deleted:
            home.state.change(lambda world: replace(world, releases={}))

    home.meanwhile = change
    assert publish(home) == (
        "superseded: the release v1.4.0 was deleted, or became a draft again, meanwhile"
    )
