"""The type of an issue in the sandbox: set once, and only if the organisation has it and nobody
chose one.
"""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.actions import EnsureIssueType, Outcome
from hls_handler.errors import DependencyDown
from hls_handler.prompting import recorded
from tests.contracts.github import violations
from tests.github.review_world import REPOSITORY, ReviewWorld
from tests.github_fake.faults import Fault

ISSUE, TYPES = f"/repos/{REPOSITORY}/issues/1", f"/repos/{REPOSITORY}/issue-types"
BUG = EnsureIssueType("Bug")


@pytest.fixture(autouse=True)
def issue_in_an_organization(world: ReviewWorld) -> None:
    seed(world)


def seed(world: ReviewWorld, **known: Any) -> None:
    payload: Any = recorded.load("issues.opened").payload
    owner = {**payload["repository"]["owner"], "type": "Organization"}
    repository = {**payload["repository"], "owner": owner}
    world.sandbox.state.seed(
        "issues", {**payload, "repository": repository, "issue": {**payload["issue"], **known}}
    )


def ensure(world: ReviewWorld, *, dry_run: bool = False) -> Outcome:
    return world.writer(dry_run=dry_run).ensure_issue_type(1, BUG)


def type_of(world: ReviewWorld) -> object:
    return world.sandbox.conversation(1).document.get("type")


def list_types(world: ReviewWorld, body: str, status: int = 200) -> None:
    world.sandbox.faults.add(Fault(effect="status", path=f"{TYPES}$", status=status, body=body))


def test_type_is_set_once_so_that_its_removal_by_a_person_stays(world: ReviewWorld) -> None:
    assert ensure(world) == Outcome("type", "changed", "set the type Bug")
    assert type_of(world) == {"name": "Bug", "is_enabled": True}
    assert world.calls() == [f"GET {TYPES}", f"GET {ISSUE}", f"PATCH {ISSUE}"]
    assert violations([one.document() for one in world.seen()]) == []
    seed(world, type=None)
    assert ensure(world) == Outcome("type", "unchanged", "the issue got a type earlier")
    assert (type_of(world), len(world.calls())) == (None, 3)


def test_type_that_a_person_set_stays_also_after_its_removal(world: ReviewWorld) -> None:
    seed(world, type={"name": "Epic"})
    assert ensure(world) == Outcome("type", "unchanged", "the issue has a type already")
    seed(world, type=None)
    assert ensure(world).kind == "unchanged"
    assert world.calls() == [f"GET {TYPES}", f"GET {ISSUE}"]


def test_type_is_spelled_as_the_organization_spells_it(world: ReviewWorld) -> None:
    list_types(world, '[{"name": "Task"}, {"name": "BUG"}]')
    assert ensure(world, dry_run=True) == Outcome("type", "dry_run", "would have set the type BUG")
    assert type_of(world) is None
    assert ensure(world).kind == "changed"  # the dry run stored nothing


@pytest.mark.parametrize(
    ("listed", "status"),
    [
        ('[{"name": "Task"}]', 200),
        ('[{"name": "Bug", "is_enabled": false}]', 200),
        ("[]", 200),
        ("", 404),
    ],
    ids=["others", "disabled", "none", "not supported"],
)
def test_type_that_the_organization_lacks_or_disabled_is_not_set(
    world: ReviewWorld, listed: str, status: int
) -> None:
    list_types(world, listed, status)
    missing = Outcome("type", "withheld", "type Bug not set: the repository has no such issue type")
    assert ensure(world) == missing
    assert world.calls() == [f"GET {TYPES}"]


def test_type_that_github_drops_without_push_access_is_withheld_with_the_reason(
    world: ReviewWorld,
) -> None:
    world.sandbox.state.set_permission(REPOSITORY, world.bot.login, "read")
    assert ensure(world) == Outcome(
        "type", "withheld", "type Bug not set: the account needs the role write"
    )
    world.sandbox.state.set_permission(REPOSITORY, world.bot.login, "write")
    assert ensure(world).kind == "changed"


def test_retry_after_a_lost_response_writes_no_second_time(world: ReviewWorld) -> None:
    world.sandbox.faults.add(Fault(effect="drop_after", method="PATCH", path=f"{ISSUE}$"))
    with pytest.raises(DependencyDown):
        ensure(world)
    assert ensure(world) == Outcome("type", "unchanged", "the issue has a type already")
    assert [call for call in world.calls() if call.startswith("PATCH")] == [f"PATCH {ISSUE}"]
