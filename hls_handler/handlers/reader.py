"""`RepositoryHistory`, from which handlers read what HLS has stored, its values, and reads that the
work can do without.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from hls_handler.review.record import NO_REVIEW, ReviewRecord
from hls_handler.settings.path_globs import PathFilter

if TYPE_CHECKING:  # the store needs these values, and no client of git or GitHub
    from hls_handler.events import Issue

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Failure:
    workflow_id: int
    run_id: int
    attempt: int  # of the run, from 1
    job: str  # name of the job
    step: str  # name of the step; "" if the job failed without a failed step
    branch: str
    head_sha: str


@dataclass(frozen=True, slots=True)
class RunResult:
    workflow_id: int
    event: str  # the event that triggered the run: "pull_request", "push"
    branch: str
    run_id: int
    run_number: int  # number of the run among the workflow's runs
    attempt: int
    passed: bool
    head_sha: str

    @property
    def order(self) -> tuple[int, int]:
        """Sort key: greater for a later run or attempt."""
        return self.run_number, self.attempt


@dataclass(frozen=True, slots=True)
class HistoryUpdate:
    """Changes of the stored history of the repository: results of a workflow run, texts of
    issues.
    """

    failures: tuple[Failure, ...] = ()
    ends: tuple[RunResult, ...] = ()
    issue: Issue | None = None  # to find it as similar to later ones
    closed_issues: tuple[int, ...] = ()  # numbers of issues whose texts are deleted


@dataclass(frozen=True, slots=True)
class StoredSection:
    """A section of the repository's documentation. Its texts are untrusted."""

    path: str
    title: str  # the headings above it and its own: "Setup > Install"
    line: int
    end_line: int
    text: str
    commit: str  # of the default branch


@dataclass(frozen=True, slots=True)
class StoredIssue:
    """An issue that shares words with another one."""

    number: int
    score: float  # from 0 to 2.2


@dataclass(frozen=True, slots=True)
class CorrectedLabel:
    """A label that HLS set and that a person replaced or removed within a month."""

    field: str  # the reply's field that the label came from: "priority"
    said: str  # the label that we set: "priority-high"
    became: str  # the label that the person set instead; "" for none
    title: str  # beginning of the issue's title; untrusted text


class RepositoryHistory(Protocol):
    """Read access to what HLS has stored about one repository; without an implementation, nothing
    is stored.
    """

    @property
    def accounts(self) -> tuple[str, ...]:
        """Logins of HLS's accounts, that of the bot account first: ("hls[bot]",)."""

    def failures(self, workflow_id: int, *, days: int) -> tuple[Failure, ...]:
        """Failures of a workflow within the last `days` (at most 30), newest first; at most 500."""
        return ()

    def ends(self, workflow_id: int) -> tuple[RunResult, ...]:
        """Results of the runs of a workflow within the last 30 days, latest first; at most 500."""
        return ()

    def find_pull_request(self, repository: str, commit: str) -> int | None:
        """The newest pull request that had this head commit in an event; None if there is none."""
        return None

    def issue(
        self, number: int, family: str, *, most_corrections: int
    ) -> tuple[str | None, tuple[CorrectedLabel, ...]]:
        """The result of `comment_state`, and the newest label corrections on issues, newest first.

        At most one correction per issue.
        """

    def sections(self, title: str, body: str, ignored: PathFilter) -> tuple[StoredSection, ...]:
        """The sections of the documentation that fit a question best, at most three, without
        ignored files.

        Nothing if none fits.
        """
        return ()

    def similar_issues(
        self, number: int, title: str, body: str, labels: Collection[str]
    ) -> tuple[StoredIssue, ...]:
        """The older issues that share words with the issue `number`, the most similar first.

        An issue with labels, of which none is in `labels`, is left out, unless `labels` is empty.
        """
        return ()

    def has_comment(self, number: int, family: str) -> bool:
        """Return True if HLS has posted a comment of this family ("onboarding") on the
        conversation.
        """
        return False

    def comment_state(self, number: int, family: str) -> str | None:
        """Return the `EnsureComment.state` that was last posted on the conversation; None if there
        is none.
        """

    def review(self, number: int) -> ReviewRecord:
        """Return what is stored about the reviews of a pull request."""


@dataclass(frozen=True, slots=True)
class EmptyHistory(RepositoryHistory):
    """A history that has only the given corrections and states of comments, for sample values and
    `hls render`.
    """

    accounts: tuple[str, ...] = ("hls[bot]",)
    corrected: tuple[CorrectedLabel, ...] = ()
    states: Mapping[str, str] = field(default_factory=dict)  # of our comments, by family
    reviewed: ReviewRecord = NO_REVIEW

    def issue(
        self, number: int, family: str, *, most_corrections: int
    ) -> tuple[str | None, tuple[CorrectedLabel, ...]]:
        return self.states.get(family), self.corrected[:most_corrections]

    def comment_state(self, number: int, family: str) -> str | None:
        return self.states.get(family)

    def review(self, number: int) -> ReviewRecord:
        return self.reviewed


EMPTY_HISTORY = EmptyHistory()
