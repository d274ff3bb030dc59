"""What we ourselves remember of one repository, for handlers: read from our own store, never from GitHub."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Failure:
    """A step of a workflow that failed once."""

    workflow_id: int
    run_id: int
    attempt: int  # of the run, from 1
    job: str  # its name
    step: str  # its name; "" of a job that failed without one
    branch: str
    head_sha: str


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How one attempt of a workflow's run ended."""

    workflow_id: int
    event: str  # that set the run off: "pull_request", "push"
    branch: str
    run_id: int
    run_number: int  # counts the workflow's runs
    attempt: int
    passed: bool
    head_sha: str

    @property
    def order(self) -> tuple[int, int]:
        """What is later has more."""
        return self.run_number, self.attempt


@dataclass(frozen=True, slots=True)
class Happened:
    """What our own record is to keep of an event."""

    failures: tuple[Failure, ...] = ()
    ends: tuple[RunEnd, ...] = ()


@dataclass(frozen=True, slots=True)
class Correction:
    """A label of ours that a person changed within a month."""

    field: str  # of the reply that it came from: "priority"
    said: str  # the label that we set: "priority-high"
    became: str  # the one that they put in its place; "" for none
    title: str  # of the issue, its beginning; a stranger's text


class Record(Protocol):
    """Our own record of one repository."""

    @property
    def account(self) -> str:
        """Our login."""
        ...

    def failures(self, workflow_id: int, *, days: int) -> tuple[Failure, ...]:
        """The failures of a workflow within the last days, 30 at most; the newest first, at most 500."""
        ...

    def ends(self, workflow_id: int) -> tuple[RunEnd, ...]:
        """How runs of a workflow ended within the last 30 days, the latest first; at most 500."""
        ...

    def corrections(self, *, most: int) -> tuple[Correction, ...]:
        """What people last made of our labels on issues; the newest first, at most one of each issue."""
        ...

    def has_comment(self, number: int, family: str) -> bool:
        """Whether we have commented on a thread, as far as we remember."""
        ...


@dataclass(frozen=True, slots=True)
class Blank:
    """A record in which nothing was ever written, but for what it is given: of the sandbox's samples, and of trials."""

    account: str = "hls-bot"
    corrected: tuple[Correction, ...] = ()

    def failures(self, workflow_id: int, *, days: int) -> tuple[Failure, ...]:
        return ()

    def ends(self, workflow_id: int) -> tuple[RunEnd, ...]:
        return ()

    def corrections(self, *, most: int) -> tuple[Correction, ...]:
        return self.corrected[:most]

    def has_comment(self, number: int, family: str) -> bool:
        return False


NOTHING_KNOWN = Blank()
