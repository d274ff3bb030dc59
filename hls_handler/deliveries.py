"""A delivery: one webhook request that was verified, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

import msgspec
from msgspec.structs import force_setattr

State = Literal["queued", "running", "done", "ignored", "superseded", "dead"]

SHADOW_STEPS = 100
"""Where the numbers of a shadow's steps begin: neither it nor the delivery's own prompts take the other's place."""

WISH, PULL_REQUEST, REST = 2, 1, 0
"""Priorities: what a person asked of us, then what is about a pull request, then all else."""

OPEN_STATES: tuple[State, ...] = ("queued", "running")


class NewDelivery(msgspec.Struct, frozen=True):
    """What the door hands to the store: verified, sipped and routed, not yet committed.

    Not a dataclass, which takes five times as long to make: there is one for each webhook.
    """

    guid: str  # X-GitHub-Delivery, at most 64 characters
    event: str  # X-GitHub-Event: "issues"
    action: str | None  # "opened"; None where the event has none
    request_id: str  # of the HTTP request, as answered in X-Request-ID
    state: Literal["queued", "ignored"]
    reason: str | None = None  # a sentence, when ignored
    reason_kind: str | None = None  # what ignored deliveries are counted under: "event not enabled"
    repository_id: int | None = None
    repository: str | None = None  # "owner/repo"
    installation: int | None = None
    number: int | None = None  # of the issue or pull request
    head_sha: str | None = None
    sender: str | None = None  # login
    priority: int = REST  # higher goes first
    settle_s: float = 0.0  # it is begun no sooner after it is stored: a newer one may come that says it all
    digest: bytes | None = None  # SHA-256 of the body; None when ignored
    body: bytes = b""  # as received; empty when ignored
    supersedes: Literal["nothing", "older_commits", "thread"] = "nothing"  # queued work of the same thread
    thread_key: str | None = None
    """Never given, but made: deliveries of one thread are worked on one after the other."""

    def __post_init__(self) -> None:
        force_setattr(self, "thread_key", _thread_key(self.repository_id, self.number))


class Accepted(msgspec.Struct, frozen=True):
    """What the store made of a `NewDelivery`, committed."""

    outcome: Literal["queued", "ignored", "duplicate", "replay"]
    state: State  # of the stored delivery; for a replay, of the one it repeats
    guid: str  # its own; for a replay, of the one it repeats
    reason: str | None = None  # of an ignored one


@dataclass(frozen=True, slots=True)
class Lease:
    """A claimed delivery. Every write under it is fenced by (guid, attempt)."""

    guid: str
    attempt: int  # grows with every claim; the fence
    lease_until: datetime  # aware UTC, by the database's clock
    event: str
    action: str | None
    request_id: str
    repository_id: int | None
    repository: str | None
    number: int | None
    head_sha: str | None
    received_at: datetime
    attempts: int  # failures of its own so far
    failures: int  # failures so far, a dependency's too
    crashes: int  # leases that ended without a new step recorded
    first_failure_at: datetime | None
    body: bytes = field(repr=False, default=b"")  # as received, decompressed

    def about(self, number: int | None) -> Lease:
        """The same lease, for work on another thread of the repository than its delivery was queued under."""
        return replace(self, number=number)

    @property
    def thread_key(self) -> str | None:
        return _thread_key(self.repository_id, self.number)


@dataclass(frozen=True, slots=True)
class Remembered:
    """The result of a step, as it is kept: versioned JSON."""

    name: str  # "gather"
    index: int  # 0, 1, ... where one delivery does a step several times
    version: int  # of the JSON's shape
    value: str  # JSON
    took_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Finished:
    """How a delivery ended, told to whoever waits for it in this process."""

    guid: str
    state: State
    reason: str | None


def _thread_key(repository_id: int | None, number: int | None) -> str | None:
    """By repository id, so that a rename changes nothing: "186853002#7"."""
    return None if repository_id is None or number is None else f"{repository_id}#{number}"
