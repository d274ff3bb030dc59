"""Handler for releases: drafts an announcement from the release and the commits since the previous
one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from hls_handler.actions import Action
from hls_handler.analysis import Analysis, estimate_tokens
from hls_handler.deliveries import End
from hls_handler.errors import Superseded
from hls_handler.events import Release
from hls_handler.github.values import Commit
from hls_handler.handlers.handler import (
    Handler,
    field_types,
    find_fallback_issue,
    newest_within_budget,
    plan_comment,
)
from hls_handler.handlers.job import FactSource, Job, ask_all
from hls_handler.handlers.labels import plan_labels
from hls_handler.untrusted.cleaning import truncate
from hls_handler.wording import count, was_or_were

MAX_MESSAGE_CHARACTERS = 1_000  # longer commit messages are cut
TOKENS_PER_COMMIT = 40  # tokens of a commit in addition to its message: SHA, author and delimiters


@dataclass(frozen=True, slots=True)
class ReleaseFacts:
    release: Release  # current state
    # the release before it, if its tag exists and shares history with this one
    previous: Release | None
    commits: tuple[Commit, ...]  # since the previous release, newest first
    omitted: int  # number of older commits since the previous release that are left out


class ReleaseHandler(Handler):
    family = "releases"
    replies = frozenset({"release_analysis"})
    facts_type = ReleaseFacts
    variable_types = field_types(ReleaseFacts, "release", "previous", "commits", "omitted")
    has_sections = True

    def run(self, job: Job) -> End:
        facts = job.record(ReleaseFacts, gather)
        job.choose(find_fallback_issue(job.rule))  # without one, the announcement is only stored
        job.note(omitted=describe_omissions(facts))
        variables = self.variables(facts)
        replies = ask_all(job, variables)
        analysis = job.render(replies, variables)
        return job.post(*plan(facts, analysis), reason=replies.left_out)


def gather(source: FactSource) -> ReleaseFacts:
    announced = source.event.release
    assert announced is not None  # parse_event rejects a release event without one
    releases = source.reader.releases()
    release = next((other for other in releases if other.id == announced.id), None)
    if release is None or release.draft:
        raise Superseded(
            f"the release {announced.tag} was deleted, or became a draft again, meanwhile"
        )
    previous = _find_previous(release, releases)
    since = None
    if previous is not None:
        since = source.reader.commits_between(previous.tag, release.tag)
    if since is None:  # no previous release, or its tag is deleted or has no common history
        return ReleaseFacts(release, None, (), 0)
    shortened = [
        replace(commit, message=truncate(commit.message, MAX_MESSAGE_CHARACTERS))
        for commit in since.commits
    ]
    commits = newest_within_budget(shortened, source.limits.input_tokens, _count_tokens)
    return ReleaseFacts(release, previous, commits[::-1], since.total - len(commits))


def describe_omissions(facts: ReleaseFacts) -> str:
    """Return which commits were not shown; "" if all were."""
    if not facts.omitted:
        return ""
    total = len(facts.commits) + facts.omitted
    commits = f"{facts.omitted} of {count(total, 'commit')}"
    return f"{commits} {was_or_were(facts.omitted)} not shown: over the token budget"


def plan(facts: ReleaseFacts, analysis: Analysis) -> tuple[Action, ...]:
    section = f"release-{facts.release.id}"
    create = analysis.worth_saying
    comment = plan_comment(analysis, ReleaseHandler.family, create=create, section=section)
    return (*plan_labels(analysis), *comment)


def _find_previous(release: Release, releases: Sequence[Release]) -> Release | None:
    if release.published_at is None:
        return None
    older: dict[datetime, Release] = {}
    for other in releases:
        is_candidate = not other.draft and (release.prerelease or not other.prerelease)
        if other.published_at is not None and is_candidate:
            older.setdefault(other.published_at, other)
    before = [published_at for published_at in older if published_at < release.published_at]
    if not before:
        return None
    return older[max(before)]


def _count_tokens(commit: Commit) -> int:
    return estimate_tokens(commit.message) + TOKENS_PER_COMMIT
