"""Requests of reviews, and the reads that reviewers are chosen from, in the sandbox."""

from __future__ import annotations

from hls_handler.actions import Outcome, RequestReviewers
from hls_handler.events import Account
from hls_handler.github.labels import RepositoryLabels
from hls_handler.github.reader import GithubReader
from hls_handler.github.values import OpenPullRequest
from tests.contracts.github import violations
from tests.github.review_world import MONA, NUMBER, REPOSITORY, ReviewWorld
from tests.github_fake.faults import Fault

PATH = f"/repos/{REPOSITORY}/pulls/{NUMBER}/requested_reviewers"


def request(world: ReviewWorld, *logins: str, dry_run: bool = False) -> Outcome:
    return world.writer(dry_run=dry_run).request_reviewers(NUMBER, RequestReviewers(logins))


def reader(world: ReviewWorld) -> GithubReader:
    return GithubReader(world.api.of(REPOSITORY), RepositoryLabels(lambda: 0.0))


def asked(world: ReviewWorld) -> list[str]:
    return [one["login"] for one in world.pull.document["requested_reviewers"] or ()]


def test_rule_12_reviews_are_requested_once_so_that_a_removal_by_a_person_stays(
    world: ReviewWorld,
) -> None:
    world.sandbox.state.change(lambda known: known.with_account(MONA))
    assert request(world, "mona", dry_run=True).detail == "would have requested reviews from mona"
    assert world.calls() == []
    assert request(world, "mona") == Outcome("reviewers", "changed", "requested reviews from mona")
    assert asked(world) == ["mona"]
    assert request(world, "hubot") == Outcome(
        "reviewers", "unchanged", "reviews were requested earlier"
    )
    assert world.calls() == [f"POST {PATH}"]
    assert violations([one.document() for one in world.seen()]) == []


def test_account_without_access_does_not_prevent_the_other_requests(world: ReviewWorld) -> None:
    world.sandbox.state.change(lambda known: known.with_account(MONA))
    outcome = request(world, "gone", "mona")
    assert (outcome.kind, asked(world)) == ("changed", ["mona"])
    assert outcome.detail.startswith(
        "requested reviews from mona; gone not requested: GitHub refused it (422 "
    )
    assert len(world.calls()) == 3


def test_refused_request_is_withheld_with_the_reason(world: ReviewWorld) -> None:
    outcome = request(world, "gone")
    assert (outcome.kind, outcome.detail[:45]) == (
        "withheld",
        "gone not requested: GitHub refused it (422 Re",
    )
    assert world.calls() == [f"POST {PATH}"]


def test_open_pull_requests_have_the_people_whose_review_is_requested(world: ReviewWorld) -> None:
    world.sandbox.state.change(lambda known: known.with_account(MONA))
    request(world, "mona")
    mona = Account("mona", 1, "User")
    assert reader(world).open_pull_requests() == (OpenPullRequest(NUMBER, (mona,)),)
    assert violations([one.document() for one in world.seen()]) == []


def test_authors_without_an_account_are_left_out(world: ReviewWorld) -> None:
    commits = (
        '[{"author": {}}, {"author": null}, {"author": {"login": "mona", "id": 1, "type": "User"}}]'
    )
    world.sandbox.faults.add(
        Fault(effect="status", path=f"/repos/{REPOSITORY}/commits$", status=200, body=commits)
    )
    assert reader(world).last_authors("src/a b.py", ref="main") == (Account("mona", 1, "User"),)
    assert violations([one.document() for one in world.seen()]) == []
