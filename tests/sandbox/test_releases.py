"""Releases, tags and commits seeded from webhooks."""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.prompting import recorded
from hls_handler.sandbox.state import State
from tests.sandbox.conftest import REPOSITORY


def seeded(*names: str) -> State:
    state = State()
    for name in names:
        one = recorded.load(name)
        state.seed(one.event, one.payload)
    return state


def between(state: State, base: str, head: str) -> list[str] | None:
    """Return the subjects of the commits."""
    found = state.world.compared(REPOSITORY, base, head)
    return [str(one["commit"]["message"]).split("\n")[0] for one in found.commits] if found else None


def test_a_recorded_release_is_seeded_with_earlier_releases_newest_first() -> None:
    assert [release.tag for release in seeded("demo/release").releases(REPOSITORY)] == [
        "v4.3.0",
        "v4.3.0-rc.1",
        "v4.2.0",
        "v4.1.0",
    ]


def test_commits_since_the_last_release_are_compared() -> None:
    assert between(seeded("demo/release"), "v4.2.0", "v4.3.0") == [
        "Keep the cart when a product was taken off the catalogue (#14)",
        "Say in the guide how to point the importer at a replica (#15)",
        "Add discount codes to cart and checkout (#13)",
        "Fix a typo in the German translation",
        "Update psycopg to 3.3.1",
        "Remove the paper coupons of the old shop",
        "Release 4.3.0",
    ]


@pytest.mark.parametrize("order", [("demo/release", "demo/push"), ("demo/push", "demo/release")])
def test_a_push_after_the_release_does_not_change_its_commits(order: tuple[str, str]) -> None:
    state = seeded(*order)
    assert len(between(state, "v4.2.0", "v4.3.0") or ()) == 7
    assert state.world.commit_at(REPOSITORY, "master") == recorded.load("demo/push").payload["after"]


def test_comparison_is_empty_for_an_older_head_and_none_for_an_unknown_ref() -> None:
    state = seeded("demo/release", "demo/push")
    assert between(state, "v4.3.0", "v4.2.0") == []
    assert between(state, "v4.3.0", "v4.3.0") == []
    assert between(state, "v4.3.0", "master") == ["Read the size of the importer's batches from the environment"]
    assert between(state, "v9", "v4.3.0") is None
    assert between(state, "v4.3.0", "") is None


def test_a_release_without_recorded_history_gets_a_tag_and_a_commit() -> None:
    state = seeded("release.published")
    assert [release.tag for release in state.releases(REPOSITORY)] == ["0.0.1"]
    assert state.world.commit_at(REPOSITORY, "0.0.1") is not None
    assert between(state, "0.0.1", "0.0.1") == []


def test_a_deleted_release_is_removed() -> None:
    one = recorded.load("release.deleted")
    state = seeded("release.created")
    release: Any = one.payload["release"]
    assert [found.id for found in state.releases(REPOSITORY)] == [release["id"]]
    state.seed(one.event, one.payload)
    assert state.releases(REPOSITORY) == ()


@pytest.mark.parametrize("event", ["release", "push"])
def test_every_recorded_release_and_push_can_be_seeded_twice(event: str) -> None:
    for one in recorded.for_event(event):
        state = seeded(one.name)
        before = state.world
        state.seed(one.event, one.payload)
        assert (state.world.releases, state.world.history, state.world.refs) == (
            before.releases,
            before.history,
            before.refs,
        )


@pytest.mark.parametrize(
    ("event", "part", "ids", "shas"),
    [
        ("release", {"release": None}, [], []),
        ("release", {"release": {"id": "x"}}, [], []),
        ("release", {"release": {"id": 5}}, [5], []),
        ("push", {"ref": "refs/heads/main", "after": "short", "commits": [{"id": "1"}]}, [], []),
        ("push", {"ref": "refs/heads/main", "after": "0" * 40, "commits": None}, [], []),
        (
            "push",
            {"ref": "refs/heads/main", "after": "1" * 40, "commits": [None, {}, {"id": "1" * 40, "author": 5}]},
            [],
            ["1" * 40],
        ),
    ],
)
def test_incomplete_payloads_raise_no_error(event: str, part: dict[str, Any], ids: list[int], shas: list[str]) -> None:
    repository: Any = recorded.load("demo/push").payload["repository"]
    state = State()
    state.seed(event, {"repository": repository, **part})
    known = [one.id for one in state.world.releases.values()]
    assert (known, [commit["sha"] for commits in state.world.history.values() for commit in commits]) == (ids, shas)
