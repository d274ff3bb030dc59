"""Handler for releases: the previous release, the commits that are read, and where the draft is
posted.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from hls_handler.actions import EnsureComment
from hls_handler.errors import Superseded
from hls_handler.events import Release
from hls_handler.github.values import Commit, Comparison
from hls_handler.handlers import releases
from hls_handler.handlers.job import Conversation, PromptLimits, Source
from hls_handler.handlers.reader import EMPTY_HISTORY
from hls_handler.handlers.releases import ReleaseFacts, ReleaseHandler
from tests.engine.fakes import FakeReader
from tests.handlers.events import ANNOUNCEMENT, PREVIOUS, RELEASE, at, release_event
from tests.handlers.world import RecordedJob, analysis, fake_reader, issue, make_rule

HANDLER = ReleaseHandler()
COMMITS = tuple(Commit(f"c{n}", f"Change {n}", "mona") for n in range(1, 4))


def reader(*listed: Release, comparison: Comparison | None = None) -> FakeReader:
    known = Comparison(3, COMMITS) if comparison is None else comparison
    return fake_reader(issue(), released=listed, comparison=known)


def facts(source: FakeReader, budget: PromptLimits | None = None) -> ReleaseFacts:
    return releases.gather(
        Source(release_event(RELEASE), source, EMPTY_HISTORY, budget or PromptLimits(10_000))
    )


def test_commits_since_the_previous_release_are_read_newest_first() -> None:
    source = reader(RELEASE, PREVIOUS)
    found = facts(source)
    assert source.github.calls == ["releases", "commits_between v1.3.0 v1.4.0"]
    assert (found.previous, found.omitted) == (PREVIOUS, 0)
    assert [commit.sha for commit in found.commits] == ["c3", "c2", "c1"]


NEWER = replace(PREVIOUS, id=502, tag="v2.0.0", published_at=at(60))
CANDIDATE = replace(PREVIOUS, id=503, tag="v1.4.0-rc1", prerelease=True, published_at=at(-60))
DRAFT = replace(PREVIOUS, id=504, tag="v1.3.9", draft=True, published_at=at(-30))
OLDER = replace(PREVIOUS, id=505, tag="v1.2.0", published_at=at(-7200))


@pytest.mark.parametrize(
    ("release", "listed", "before"),
    [
        (RELEASE, (NEWER, CANDIDATE, DRAFT, OLDER, PREVIOUS), "v1.3.0"),
        (replace(RELEASE, prerelease=True), (NEWER, CANDIDATE, DRAFT, PREVIOUS), "v1.4.0-rc1"),
        (RELEASE, (NEWER, DRAFT), None),
    ],
    ids=[
        "previous final release",
        "of a prerelease, any previous one",
        "the first release",
    ],
)
def test_a_release_is_compared_with_the_previous_one_of_its_kind(
    release: Release, listed: tuple[Release, ...], before: str | None
) -> None:
    found = facts(reader(release, *listed))
    assert (found.previous.tag if found.previous else None) == before


def test_without_common_history_no_commits_are_shown() -> None:
    source = fake_reader(issue(), released=(RELEASE, PREVIOUS), comparison=None)
    assert facts(source) == ReleaseFacts(RELEASE, None, (), 0)


def test_commits_beyond_the_budget_and_beyond_githubs_list_are_counted() -> None:
    long = tuple(Commit(f"c{n}", "x" * 5_000, "mona") for n in range(10))
    found = facts(reader(RELEASE, PREVIOUS, comparison=Comparison(300, long)), PromptLimits(2_000))
    assert [commit.sha for commit in found.commits] == ["c9", "c8", "c7", "c6", "c5"][
        : len(found.commits)
    ]
    assert 0 < len(found.commits) < 10
    assert found.omitted == 300 - len(found.commits)
    assert (
        releases.describe_omissions(found)
        == f"{found.omitted} of 300 commits were not shown: over the token budget"
    )
    assert releases.describe_omissions(facts(reader(RELEASE, PREVIOUS))) == ""
    assert all(commit.message.endswith("[4,000 characters cut]") for commit in found.commits)


@pytest.mark.parametrize(
    "listed", [(), (replace(RELEASE, draft=True),)], ids=["deleted", "a draft again"]
)
def test_a_deleted_or_draft_release_is_not_announced(listed: tuple[Release, ...]) -> None:
    with pytest.raises(
        Superseded, match=r"the release v1\.4\.0 was deleted, or became a draft again, meanwhile"
    ):
        facts(reader(*listed))


def test_the_draft_is_posted_on_the_fallback_issue_only() -> None:
    issue_12 = Conversation(12, is_pull_request=False, is_fallback_issue=True)
    for rule, conversation in ((make_rule(release=12), issue_12), (make_rule(), None)):
        job = RecordedJob(
            release_event(RELEASE), facts(reader(RELEASE)), (ANNOUNCEMENT,), rule=rule
        )
        HANDLER.run(job)
        # if not posted, it is stored
        assert (job.conversation, job.done) == (
            conversation,
            ["ask", EnsureComment],
        )


def test_each_release_has_its_own_section() -> None:
    found = facts(reader(RELEASE))
    expected = EnsureComment("releases", "Hello.", create=True, section="release-501")
    assert releases.plan(found, analysis(ANNOUNCEMENT)) == (expected,)
    silent = analysis(ANNOUNCEMENT.model_copy(update={"worth_saying": False}))
    assert releases.plan(found, silent) == (replace(expected, create=False),)
