"""What is read from the store, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from hls_handler.deliveries import SHADOW_STEPS, State


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """A delivery, all but its body. Times are aware UTC, by the database's clock."""

    guid: str
    event: str
    action: str | None
    request_id: str
    state: State
    reason: str | None  # why it waits, or why it ended so
    reason_kind: str | None  # what an ignored one is counted under
    repository_id: int | None
    repository: str | None  # "owner/repo"
    installation: int | None
    number: int | None
    head_sha: str | None
    sender: str | None
    priority: int
    received_at: datetime  # for the first time
    queued_at: datetime  # for the last time, by the door or an operator
    due_at: datetime
    finished_at: datetime | None
    took_s: float | None  # of the last run
    handler: str | None
    worker: str | None  # of a running one
    lease_until: datetime | None  # of a running one
    attempt: int  # claims so far
    attempts: int  # failures of its own
    failures: int  # all failures
    crashes: int
    first_failure_at: datetime | None
    analysis_status: str | None  # "done", "failed"
    analysis_error: str | None
    posting_status: str | None  # "done", "failed", "dry_run"
    posting_error: str | None


@dataclass(frozen=True, slots=True)
class CallRow:
    """One call to Claude. Without `finished_at` it is under way, or its worker died."""

    id: int
    index: int
    prompt_id: str
    model: str
    sender: str | None
    started_at: datetime
    finished_at: datetime | None
    outcome: str | None
    error: str | None
    input_tokens: int | None
    output_tokens: int | None
    cache_write_tokens: int | None
    cache_read_tokens: int | None
    cost_usd: float | None
    took_s: float | None

    @property
    def of_shadow(self) -> bool:
        return self.index >= SHADOW_STEPS


@dataclass(frozen=True, slots=True)
class PromptRow:
    """All calls by one version of a prompt."""

    prompt_id: str  # "issues/analyze@3f9c2a"
    answers: int  # replies that were of use
    cost_usd: float  # of the calls whose cost is known
    calls_of_unknown_cost: int  # no known price, no answer, or none yet; what Claude did not take up costs nothing
    last_error: str | None
    last_error_at: datetime | None


@dataclass(frozen=True, slots=True)
class AnalysisRow:
    """One validated reply of Claude."""

    index: int
    prompt_id: str
    reply_type: str  # a key of `analysis.REPLY_TYPES`
    model: str
    reply: str  # JSON
    analysed_at: datetime

    @property
    def of_shadow(self) -> bool:
        return self.index >= SHADOW_STEPS


@dataclass(frozen=True, slots=True)
class QueueFigures:
    """The queue at a glance."""

    queued: int
    due: int  # of the queued ones, what no pause holds; some may still wait behind another of their thread
    held: int  # of the queued ones, by a pause
    running: int
    dead: int
    oldest_due_s: float | None  # how long the one that is due longest has been due
    waiting_reason: str | None  # why the first of those that are not due yet waits
