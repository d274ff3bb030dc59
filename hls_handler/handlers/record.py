"""Stored history of one repository, for handlers: read from our database, never from GitHub."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure of one step of a workflow."""

    workflow_id: int
    run_id: int
    attempt: int  # of the run, from 1
    job: str  # its name
    step: str  # its name; "" if the job failed without a failed step
    branch: str
    head_sha: str


@dataclass(frozen=True, slots=True)
class RunResult:
    """The result of one attempt of a workflow run."""

    workflow_id: int
    event: str  # that triggered the run: "pull_request", "push"
    branch: str
    run_id: int
    run_number: int  # counts the workflow's runs
    attempt: int
    passed: bool
    head_sha: str

    @property
    def order(self) -> tuple[int, int]:
        """Sort key: greater for a later run or attempt."""
        return self.run_number, self.attempt


@dataclass(frozen=True, slots=True)
class HistoryUpdate:
    """The results of an event to store in the record."""

    failures: tuple[Failure, ...] = ()
    ends: tuple[RunResult, ...] = ()


@dataclass(frozen=True, slots=True)
class Correction:
    """A label of ours that a person changed within a month."""

    field: str  # of the reply that it came from: "priority"
    said: str  # the label that we set: "priority-high"
    became: str  # the label that the person set instead; "" for none
    title: str  # beginning of the title; untrusted text


class RepositoryHistory(Protocol):
    """Stored history of one repository."""

    @property
    def account(self) -> str:
        """Login of the bot account."""
        ...

    def failures(self, workflow_id: int, *, days: int) -> tuple[Failure, ...]:
        """Failures of a workflow within the last `days` (at most 30), newest first; at most 500."""
        ...

    def ends(self, workflow_id: int) -> tuple[RunResult, ...]:
        """Results of the runs of a workflow within the last 30 days, latest first; at most 500."""
        ...

    def corrections(self, *, most: int) -> tuple[Correction, ...]:
        """The newest label corrections on issues, newest first; at most one per issue."""
        ...

    def has_comment(self, number: int, family: str) -> bool:
        """Return True if the store has a comment of ours of this family on the conversation."""
        ...


@dataclass(frozen=True, slots=True)
class EmptyHistory:
    """An empty record, optionally with corrections; for sample values and trial runs."""

    account: str = "hls-bot"
    corrected: tuple[Correction, ...] = ()

    def failures(self, workflow_id: int, *, days: int) -> tuple[Failure, ...]:
        return ()

    def ends(self, workflow_id: int) -> tuple[RunResult, ...]:
        return ()

    def corrections(self, *, most: int) -> tuple[Correction, ...]:
        return self.corrected[:most]

    def has_comment(self, number: int, family: str) -> bool:
        return False


EMPTY_HISTORY = EmptyHistory()
