"""Deliveries: verified webhook requests, and the values that describe their processing."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import msgspec

State = Literal["queued", "running", "done", "ignored", "superseded", "dead"]

FIRST_SHADOW_STEP = 100
"""First step index of a shadow prompt, so that its steps never collide with those of the delivery's own prompts."""

PRIORITY_BOT_REQUEST, PRIORITY_PULL_REQUEST, PRIORITY_OTHER = 2, 1, 0
"""Priorities: requests of a person to the bot, then events about pull requests, then all others."""

HEAD_START_MS = 600_000
"""Milliseconds by which a delivery counts as older for each level of its priority."""

OPEN_STATES: tuple[State, ...] = ("queued", "running")


class NewDelivery(msgspec.Struct, frozen=True):
    """A delivery to be stored: signature verified, envelope parsed, routed, not yet committed.

    Not a dataclass, because creating one takes five times as long, and every webhook creates one.
    """

    guid: str  # X-GitHub-Delivery, at most 64 characters
    event: str  # X-GitHub-Event: "issues"
    action: str | None  # "opened"; None if the event has none
    request_id: str  # of the HTTP request, as returned in X-Request-ID
    state: Literal["queued", "ignored"]
    reason: str | None = None  # a sentence, if ignored
    reason_kind: str | None = None  # what ignored deliveries are counted under: "event not enabled"
    repository_id: int | None = None
    repository: str | None = None  # "owner/repo"
    installation: int | None = None
    number: int | None = None  # of the issue or pull request
    head_sha: str | None = None
    sender: str | None = None  # login
    priority: int = PRIORITY_OTHER  # higher goes first
    settle_s: float = 0.0  # minimum wait after storing: a newer delivery may supersede this one meanwhile
    digest: bytes | None = None  # SHA-256 of the body; None if ignored
    body: bytes = b""  # as received; empty if ignored
    supersedes: Literal["nothing", "older_commits", "all"] = "nothing"  # queued deliveries of the same conversation

    @property
    def conversation_key(self) -> str | None:
        """Deliveries with the same key are processed one after the other."""
        return _conversation_key(self.repository_id, self.number)


class Accepted(msgspec.Struct, frozen=True):
    """The committed result of storing a `NewDelivery`."""

    outcome: Literal["queued", "ignored", "duplicate", "replay"]
    state: State  # of the stored delivery; for a replay, of the original delivery
    guid: str  # of the delivery; for a replay, of the original delivery
    reason: str | None = None  # why it was ignored


@dataclass(frozen=True, slots=True)
class Lease:
    """A claimed delivery. Every write that belongs to it is fenced by (guid, attempt)."""

    guid: str
    attempt: int  # incremented by every claim; the fencing token
    lease_until: datetime  # aware UTC, by the database's clock
    event: str
    action: str | None
    request_id: str
    repository_id: int | None
    repository: str | None
    number: int | None
    head_sha: str | None
    received_at: datetime
    attempts: int  # failures so far that count against the delivery
    failures: int  # failures so far, including those of a dependency
    crashes: int  # leases that ended without a new checkpoint
    first_failure_at: datetime | None
    body: bytes = field(repr=False, default=b"")  # as received, decompressed

    @property
    def conversation_key(self) -> str | None:
        return _conversation_key(self.repository_id, self.number)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The stored result of a step, as versioned JSON."""

    name: str  # "gather"
    index: int  # 0, 1, ... if one delivery runs a step several times
    version: int  # of the JSON's structure
    value: str  # JSON
    took_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Finished:
    """Final state of a delivery, for callers in this process that wait for it."""

    guid: str
    state: State
    reason: str | None


def _conversation_key(repository_id: int | None, number: int | None) -> str | None:
    """ "186853002#7"; the repository id stays the same when a repository is renamed."""
    return None if repository_id is None or number is None else f"{repository_id}#{number}"


def sort_key(queued_at_ms: int, priority: int) -> int:
    """Return the time in ms that the queue is ordered by: `queued_at_ms`, minus ten minutes for each step of priority.

    So a delivery of higher priority goes before lower ones that are at most ten minutes older per step, and a waiting
    delivery is delayed by that time at most, however many deliveries arrive.
    """
    return queued_at_ms - priority * HEAD_START_MS
