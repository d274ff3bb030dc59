"""Immutable values for deliveries, which are verified webhook requests."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Literal

import msgspec
from pydantic import AwareDatetime, Field

State = Literal["queued", "running", "done", "ignored", "superseded", "dead"]

ListedState = Literal[State, "discarded"]
"""The state in a list: a discarded delivery is dead, and not listed as such."""

FinalState = Literal["done", "ignored", "superseded", "dead"]

Posted = Literal["done", "dry_run"]
"""Values of the column `posting_status` if posting did not fail."""

PRIORITY_BOT_REQUEST = 2
PRIORITY_PULL_REQUEST = 1
PRIORITY_OTHER = 0
PRIORITY_BATCH = -10_000_000
"""Priorities of requests to the bot, of pull request events, of all other events, and of batches. A
higher one is claimed first, and every webhook precedes a batch.
"""

HEAD_START_MS = 600_000
"""Time in ms by which each level of priority moves a delivery forward in the queue: ten minutes."""

CAUGHT_UP = "caught-up:"
"""Beginning of the request id of a delivery that catch-up read from GitHub. The rest is GitHub's id
of the attempt.

An HTTP request cannot have such an id, because of the colon (`web/app.py`).
"""

REQUESTED = "requested:"
"""Beginning of the request id of a review that a person requested. The rest is the GUID of the
request's delivery.
"""

COMMANDED = f"{REQUESTED}review:"
"""Beginning of the request id of a review that a person with write permission requested by
`/review`, `/review full` or by running the check again.
"""

CONCLUDED = f"{REQUESTED}conclude:"
"""Beginning of the request id of a review that was requested because a person dismissed a
finding.
"""

NO_RESULT = "no result"
"""`End.kind` of a recorded delivery without a usable reply."""
RECORDED = f"{REQUESTED}record:"
"""Beginning of the request id of a delivery of a batch whose result is only recorded: it has no
conversation. The rest is the index of the prompt that is asked.
"""

WRITTEN = f"{REQUESTED}write"
UNDO = f"{REQUESTED}undo"
"""Request ids of the deliveries of a batch that write to GitHub, and of those that take it back."""

FIRST_PART = 50
VERIFICATION = 90
"""Indexes of checkpoints: n + `FIRST_PART` for the reply about part n > 0 of the facts, and the
verification.
"""

BATCHED = "batch-"
"""Beginning of the GUIDs of deliveries of batches: "batch-3-17"."""

OPEN_STATES: tuple[State, ...] = ("queued", "running")

_OF_ONE_DELIVERY = re.compile(
    r"(?<!\S)(?!(?:(?<=answered )|(?<=: ))[1-5][0-9]{2}[:,;]?(?!\S))\S*[\d@]\S*"
)
"""Words of a reason that say nothing about its cause: numbers, times, hashes, and ids, but not the
status of a response.
"""


def find_cause(reason: str) -> str:
    """Return the key of a reason's cause: "3f9c2a1b".

    Reasons that differ only in words with a digit or an "@" have the same cause. Such a word is a
    number, a time, a commit, a prompt with its version, or an id.
    """
    # as `db.values.UntrustedString` stores it, which the key must not depend on
    stored = name_cause(reason).replace("\x00", "\ufffd").encode(errors="replace")
    return sha256(stored).hexdigest()[:8]


def name_cause(reason: str) -> str:
    """Return the words of a reason that name its cause."""
    return " ".join(_OF_ONE_DELIVERY.sub("", reason).split())


def summarize_reason(reason: str) -> str:
    """Return the reason of several deliveries with a cause: "the issue … is locked"."""
    return _OF_ONE_DELIVERY.sub("…", reason)


def shorten_guid(guid: str) -> str:
    """Return what people can type: a prefix, which is unique as a rule. Names of deliveries of a
    batch begin alike, and are whole.
    """
    return guid if guid.startswith(BATCHED) else guid[:8]


class NewDelivery(msgspec.Struct, frozen=True):
    """A verified and routed webhook request that is to be stored as a delivery.

    Every webhook creates one, so it is a msgspec struct: creating a dataclass takes five times as
    long.
    """

    guid: str  # X-GitHub-Delivery, at most 64 characters
    event: str  # X-GitHub-Event: "issues"
    action: str | None  # "opened"; None if the event has none
    # id of the HTTP request, which X-Request-ID of the response contains, or `CAUGHT_UP` and a
    # number
    request_id: str
    state: Literal["queued", "ignored"]
    reason: str | None = None  # why it is ignored, as a sentence; None if it is queued
    reason_kind: str | None = (
        None  # short form of `reason`, by which /stats counts it: "event not enabled"
    )
    repository_id: int | None = None
    repository: str | None = None  # "owner/repo"
    number: int | None = None  # number of the issue or pull request
    head_sha: str | None = None
    author: str | None = None  # login, of the issue or pull request; None unless `metrics.authors`
    sender: str | None = None  # login
    title: str | None = (
        None  # of the issue or pull request: cleaned, redacted, at most 200 characters
    )
    priority: int = PRIORITY_OTHER  # a higher number is processed earlier
    # wait before processing; a delivery that arrives during this time may supersede this one
    settle_s: float = 0.0
    digest: bytes | None = None  # `web.webhook.body_digest`; None if ignored
    body: bytes = b""  # the JSON, also of a form; empty if ignored
    supersedes: Literal["nothing", "older_commits", "conclusions", "pushes", "all"] = "nothing"
    """Queued deliveries that it supersedes. Conclusions are reviews requested because a finding was
    dismissed.
    """
    is_command: bool = False
    former_name: str = ""  # of the repository, which this event says was renamed: "owner/repo"
    batch_id: int | None = None

    @property
    def conversation_key(self) -> str | None:
        """Key of the issue or pull request: "186853002#7". Deliveries with the same key are
        processed one at a time.

        Commands have a key of their own, "186853002#7/commands", so that they do not wait for other
        deliveries. What is only recorded has no conversation, so that no webhook waits for it.
        """
        if self.request_id.startswith(RECORDED):
            return None
        key = conversation_key(self.repository_id, self.number)
        return f"{key}/commands" if self.is_command and key is not None else key

    @property
    def is_caught_up(self) -> bool:
        return self.request_id.startswith(CAUGHT_UP)

    @property
    def is_requested(self) -> bool:
        """Return True if HLS itself made the delivery, because a person requested a review, a
        batch, or its undo.
        """
        return self.request_id.startswith(REQUESTED)


class Accepted(msgspec.Struct, frozen=True):
    """The result of storing a `NewDelivery`. The receiver responds with it after the commit."""

    # duplicate: known GUID; replay: known body, new GUID
    outcome: Literal["queued", "ignored", "duplicate", "replay"]
    state: (
        State  # state of the stored delivery; for a replay, of the delivery that had the same body
    )
    guid: str  # GUID of the same delivery as `state`
    reason: str | None = None  # why it was ignored


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """GitHub's record of one attempt to deliver a webhook. Redeliveries are further attempts with
    the same GUID.
    """

    id: int  # a later attempt has a higher id
    guid: Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{1,64}$")]
    delivered_at: AwareDatetime
    status_code: int  # of the response; 0 or 5xx if there was no response
    event: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    action: str | None = None
    repository_id: int | None = None

    @property
    def is_received(self) -> bool:
        return 200 <= self.status_code < 300


@dataclass(frozen=True, slots=True)
class Lease:
    """A delivery that a worker claimed. Writes raise `LeaseLost` after the lease has expired or
    after another claim.
    """

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
    attempts: int  # failures so far that count towards limits.max_attempts
    failures: int  # all failures so far, including outages of GitHub or Claude
    crashes: int  # leases that ended without a new checkpoint
    first_failure_at: datetime | None
    github_requests: int | None = None  # that earlier attempts sent
    author: str | None = None  # login, of the issue or pull request; None unless `metrics.authors`
    batch_id: int | None = None
    body: bytes = field(repr=False, default=b"")  # the JSON, decompressed

    @property
    def is_recorded(self) -> bool:
        """Return True if nothing is written to GitHub, and the result is only recorded."""
        return self.request_id.startswith(RECORDED)

    @property
    def conversation_key(self) -> str | None:
        if self.is_recorded:
            return None
        return conversation_key(self.repository_id, self.number)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The stored result of one step of a delivery. A retry reads it instead of repeating the
    step.
    """

    name: str  # "gather"
    index: int  # 0, 1, ... if one delivery runs a step several times
    version: int  # version of the structure of `value`
    value: str  # JSON
    took_s: float = 0.0
    started_at: datetime | None = (
        None  # aware UTC, by the database's clock; None if the step is not measured
    )
    github_requests: int | None = None  # that the step sent
    is_progress: bool = (
        True  # False: for display; failures and crashes of the delivery are counted on
    )


@dataclass(frozen=True, slots=True)
class End:
    """The end of a delivery."""

    state: FinalState
    reason: str  # a sentence
    kind: str | None = None  # `NewDelivery.reason_kind` of an ignored delivery
    handler: str | None = None  # "IssueHandler"
    posting: Posted | None = None  # None if there was nothing to post


def conversation_key(repository_id: int | None, number: int | None) -> str | None:
    # the id, because the name of a repository may change
    return None if repository_id is None or number is None else f"{repository_id}#{number}"


def sort_key(queued_at_ms: int, priority: int) -> int:
    """Return `queued_at_ms` minus ten minutes for each level of priority. The smallest key is
    claimed first.

    Thus a delivery waits for urgent ones for a limited time only, even if new urgent ones keep
    arriving.
    """
    return queued_at_ms - priority * HEAD_START_MS
