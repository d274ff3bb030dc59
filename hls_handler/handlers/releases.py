"""Releases: a draft of the announcement, from what the release says and from the commits since the last one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

from hls_handler.actions import Action, KeepComment
from hls_handler.analysis import Analysis
from hls_handler.errors import Overtaken
from hls_handler.events import Event, Release
from hls_handler.handlers.files import were
from hls_handler.handlers.handler import Budget, Handler, Thread, appointed
from hls_handler.handlers.reader import Commit, Reader
from hls_handler.handlers.record import Record
from hls_handler.handlers.wishes import keep_labels
from hls_handler.prompting.tokens import estimate_tokens
from hls_handler.routing import Rule
from hls_handler.untrusted.cleaning import cap

LONGEST_MESSAGE = 1_000
"""Characters of a commit's message that are kept."""


@dataclass(frozen=True, slots=True)
class ReleaseFacts:
    release: Release  # as it is now
    previous: Release | None  # the one before it, if there is one whose tag leads here
    commits: tuple[Commit, ...]  # since the previous one, the newest first
    omitted: int  # older commits since then that are not among them


class ReleaseHandler(Handler[ReleaseFacts]):
    name = "ReleaseHandler"
    family = "releases"
    replies = frozenset({"release_analysis"})
    facts_type = ReleaseFacts
    facts_version = 1
    variable_types: Mapping[str, object] = {
        "release": Release,
        "previous": Release | None,
        "commits": tuple[Commit, ...],
        "omitted": int,
    }
    has_sections = True

    def gather(self, event: Event, reader: Reader, record: Record, budget: Budget) -> ReleaseFacts:
        told = event.release
        assert told is not None  # parse_event refuses a release's event without one
        listed = reader.releases()
        release = next((one for one in listed if one.id == told.id), None)
        if release is None or release.draft:
            raise Overtaken(f"the release {told.tag} was taken back meanwhile")
        previous = _before(release, listed)
        since = reader.commits_between(previous.tag, release.tag) if previous is not None else None
        if previous is None or since is None:  # the first one, or one whose tag is gone or leads elsewhere
            return ReleaseFacts(release, None, (), 0)
        commits = _newest(since.commits, budget.input_tokens)
        return ReleaseFacts(release, previous, commits, since.total - len(commits))

    def thread(self, event: Event, facts: ReleaseFacts, rule: Rule) -> Thread | None:
        """The issue that settings name: without one the draft is only kept."""
        return appointed(rule)

    def variables(self, event: Event, facts: ReleaseFacts) -> Mapping[str, object]:
        return {
            "release": facts.release,
            "previous": facts.previous,
            "commits": facts.commits,
            "omitted": facts.omitted,
        }

    def not_shown(self, facts: ReleaseFacts) -> str | None:
        if not facts.omitted:
            return None
        of = len(facts.commits) + facts.omitted
        return f"{facts.omitted} of {of} commits {were(facts.omitted)} not shown, for want of room"

    def plan(self, event: Event, facts: ReleaseFacts, analysis: Analysis, rule: Rule) -> tuple[Action, ...]:
        labels = keep_labels(analysis)
        if not analysis.comment:
            return labels
        section = f"release-{facts.release.id}"
        create = analysis.worth_saying
        return (
            *labels,
            KeepComment(self.family, analysis.comment, create, section=section, footer=analysis.footer),
        )


def _before(release: Release, listed: Sequence[Release]) -> Release | None:
    """The release before this one. What is final is compared with what was final, past the candidates for it."""
    if release.published_at is None:
        return None
    older = [
        (one.published_at, one)
        for one in listed
        if one.published_at is not None
        and one.published_at < release.published_at
        and not one.draft
        and (release.prerelease or not one.prerelease)
    ]
    return max(older, key=itemgetter(0), default=(None, None))[1]


def _newest(commits: Sequence[Commit], tokens: int) -> tuple[Commit, ...]:
    """The newest ones that fit, the newest first; GitHub lists the oldest first."""
    shown: list[Commit] = []
    for commit in reversed(commits):
        message = cap(commit.message, LONGEST_MESSAGE)
        tokens -= estimate_tokens(message) + TOKENS_AROUND
        if tokens < 0:
            break
        shown.append(Commit(commit.sha, message, commit.author))
    return tuple(shown)


TOKENS_AROUND = 40
"""What a commit takes beside its message: its number, its author, the delimiters."""
