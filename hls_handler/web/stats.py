"""The page `/stats`, with the counters that the database keeps.

A counter has a name and a label: ("event", "issues.opened"), ("outcome", "done"), ("webhooks", "").
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from typing_extensions import TypedDict  # pydantic accepts that of `typing` from Python 3.12 on

from hls_handler.clients.api import RateLimit
from hls_handler.events import PULL_REQUEST_EVENTS
from hls_handler.queue.changes import BUCKETS_S
from hls_handler.store.corrections import feedback_in
from hls_handler.store.periods import nearest_rank, percentile
from hls_handler.store.reply_cache import CACHE_HIT, CACHE_MISS, CACHE_SAVED
from hls_handler.store.statistics import RecentCall
from hls_handler.web.single_flight import SingleFlightCache

Counters = Mapping[tuple[str, str], int]

RECENT_CALLS = 1000
"""Number of the newest calls to Claude over which times and costs are computed."""
MAX_AGE_S = 1.0
WINDOW_S = 300.0


Findings = Mapping[str, Mapping[str, Mapping[str, int]]]
"""Prompt id -> category -> state -> number of findings; see `Statistics.count_findings`."""


@dataclass(frozen=True, slots=True)
class Throughput:
    window_s: float
    webhooks: int
    processed: int  # deliveries that ended as "done" or "dead"


@dataclass(frozen=True, slots=True)
class Snapshot:
    counters: Counters
    queue: Mapping[str, object]  # "queued" -> 3
    throughput: Throughput | None  # None until the counters were read twice
    calls: Sequence[RecentCall] = ()
    findings: Findings = field(default_factory=dict)


class DistributionDocument(TypedDict):
    average: float | None
    p50: float | None
    p95: float | None
    p99: float | None


class ProcessingTimeDocument(TypedDict):
    p50: float | None
    p95: float | None
    p99: float | None
    estimate: str
    histogram: dict[str, int]  # upper bound in s -> deliveries


class PromptDocument(TypedDict):
    calls: int
    shadow_calls: int  # included in calls
    cost_usd: float


class FeedbackDocument(TypedDict):
    set: int
    corrected: int
    share: float


class TokensDocument(TypedDict):
    """Tokens; `input` are those that the prompt cache of Claude's API neither supplied nor stored."""

    input: int
    output: int
    cache_write: int
    cache_read: int


class ReplyCacheDocument(TypedDict):
    hits: int
    misses: int
    hit_rate: float | None
    saved_usd: float


class CostPerPullRequestDocument(DistributionDocument):
    pull_requests: int
    max: float | None


class TimingDocument(DistributionDocument):
    calls: int


class ClaudeDocument(TypedDict):
    requests_made: int
    by_outcome: dict[str, int]
    timing: TimingDocument


class RequestsPerDeliveryDocument(TypedDict):
    average: float | None
    by_event: dict[str, float]


class RateLimitDocument(TypedDict):
    limit: int | None
    remaining: int | None
    reset_at: str | None


class GithubDocument(TypedDict):
    requests_made: int
    requests_per_delivery: RequestsPerDeliveryDocument
    rate_limit: RateLimitDocument


class ThroughputDocument(TypedDict):
    window_seconds: float
    webhooks_per_minute: float
    processed_per_minute: float


class StatsDocument(TypedDict):
    """Totals since the database was created. A value is null if nothing was counted."""

    uptime_seconds: float
    total_webhooks: int
    caught_up: int
    successful_processing: int
    failed_processing: int
    success_rate: float | None
    recovered_by_retry: int
    errors_recovered: int
    rejected_requests: dict[str, int]
    outcomes: dict[str, int]
    average_processing_time: float | None
    processing_time: ProcessingTimeDocument
    events_by_type: dict[str, int]
    events_by_repo: dict[str, int]
    handlers: dict[str, dict[str, int]]
    repositories: dict[str, dict[str, int]]
    ignored_by_reason: dict[str, int]
    prompts: dict[str, PromptDocument]
    feedback: dict[str, dict[str, FeedbackDocument]]
    findings: Findings
    tokens: TokensDocument
    reply_cache: ReplyCacheDocument
    cost_usd: float
    cost_by_repository: dict[str, float]
    cost_per_pull_request: CostPerPullRequestDocument
    claude_api: ClaudeDocument
    github_api: GithubDocument
    queue: dict[str, Any]
    throughput: ThroughputDocument | None


class StatsReader:
    """Reads counters and queue, at most once a second. All requests within a second share a snapshot.

    The first four arguments may block, and may raise `StoreUnavailable`. `clock` returns monotonic seconds.
    """

    def __init__(
        self,
        counters: Callable[[], Counters],
        queue: Callable[[], Mapping[str, object]],
        calls: Callable[[], Sequence[RecentCall]],
        findings: Callable[[], Findings],
        clock: Callable[[], float],
    ) -> None:
        self._counters, self._queue, self._calls, self._findings = counters, queue, calls, findings
        self._clock = clock
        self._cache = SingleFlightCache(self._read, clock, max_age_s=MAX_AGE_S)
        # (time, webhooks, processed) of each reading within the last `WINDOW_S`, and of the newest older reading
        self._samples: deque[tuple[float, int, int]] = deque()

    async def read(self) -> Snapshot:
        """Return a snapshot that is at most a second old. Raises `StoreUnavailable`."""
        return await self._cache.get()

    def _read(self) -> Snapshot:
        now, counters = self._clock(), self._counters()
        return Snapshot(counters, self._queue(), self._throughput(now, counters), self._calls(), self._findings())

    def _throughput(self, at: float, counters: Counters) -> Throughput | None:
        while len(self._samples) > 1 and self._samples[1][0] <= at - WINDOW_S:
            self._samples.popleft()
        webhooks = counters.get(("webhooks", ""), 0)
        processed = counters.get(("outcome", "done"), 0) + counters.get(("outcome", "dead"), 0)
        self._samples.append((at, webhooks, processed))
        if len(self._samples) == 1:
            return None
        since, webhooks_before, processed_before = self._samples[0]
        return Throughput(at - since, webhooks - webhooks_before, processed - processed_before)


def stats_page(snapshot: Snapshot, *, uptime_s: float, rate_limit: RateLimit) -> StatsDocument:
    """Return the JSON of /stats. Times are in seconds, shares from 0 to 1. A value is None if nothing was counted."""
    counters, by_name = snapshot.counters, _by_name(snapshot.counters)
    outcomes, claude_calls = by_name.get("outcome", {}), by_name.get("claude_calls", {})
    done, dead = outcomes.get("done", 0), outcomes.get("dead", 0)
    processing_ms, processed = counters.get(("processing_ms", ""), 0), counters.get(("processing_count", ""), 0)
    return {
        "uptime_seconds": round(uptime_s, 3),
        "total_webhooks": counters.get(("webhooks", ""), 0),
        "caught_up": counters.get(("caught_up", ""), 0),
        "successful_processing": done,
        "failed_processing": dead,
        "success_rate": round(done / (done + dead), 4) if done + dead else None,
        "recovered_by_retry": counters.get(("recovered_by_retry", ""), 0),
        "errors_recovered": counters.get(("errors_recovered", ""), 0),
        "rejected_requests": by_name.get("rejected", {}),
        "outcomes": outcomes,
        "average_processing_time": _seconds(processing_ms / processed / 1000 if processed else None),
        "processing_time": _processing_time(by_name.get("processing_le", {})),
        "events_by_type": by_name.get("event", {}),
        "events_by_repo": by_name.get("repository", {}),
        "handlers": _nest(by_name.get("handler", {})),
        "repositories": _nest(by_name.get("repository_outcome", {})),
        "ignored_by_reason": by_name.get("ignored", {}),
        "prompts": _prompts(by_name),
        "feedback": {
            prompt: {
                field: {"set": one.set, "corrected": one.corrected, "share": round(one.share, 4)}
                for field, one in fields.items()
            }
            for prompt, fields in feedback_in(counters).items()
        },
        "findings": snapshot.findings,
        "tokens": {
            "input": counters.get(("tokens", "input"), 0),
            "output": counters.get(("tokens", "output"), 0),
            "cache_write": counters.get(("tokens", "cache_write"), 0),
            "cache_read": counters.get(("tokens", "cache_read"), 0),
        },
        "reply_cache": _reply_cache(counters),
        "cost_usd": counters.get(("cost_micro_usd", ""), 0) / 1_000_000,
        "cost_by_repository": {
            repository: cost / 1_000_000 for repository, cost in by_name.get("repository_cost_micro_usd", {}).items()
        },
        "cost_per_pull_request": _cost_per_pull_request(snapshot.calls),
        "claude_api": {
            "requests_made": sum(claude_calls.values()),
            "by_outcome": {outcome: number for outcome, number in claude_calls.items() if number},
            "timing": {"calls": len(snapshot.calls), **_distribution([call.took_s for call in snapshot.calls], 3)},
        },
        "github_api": {
            "requests_made": counters.get(("github_requests", ""), 0),
            "requests_per_delivery": _requests_per_delivery(by_name),
            "rate_limit": {
                "limit": rate_limit.limit,
                "remaining": rate_limit.remaining,
                "reset_at": rate_limit.reset_at.isoformat() if rate_limit.reset_at else None,
            },
        },
        "queue": dict(snapshot.queue),
        "throughput": _per_minute(snapshot.throughput),
    }


def _reply_cache(counters: Counters) -> ReplyCacheDocument:
    hits, misses, saved = (counters.get(key, 0) for key in (CACHE_HIT, CACHE_MISS, CACHE_SAVED))
    return {
        "hits": hits,
        "misses": misses,
        "hit_rate": round(hits / (hits + misses), 4) if hits + misses else None,
        "saved_usd": saved / 1_000_000,
    }


def _distribution(values: Sequence[float], digits: int) -> DistributionDocument:
    """Return the average and percentiles (nearest rank), all None without values."""
    if not values:
        return {"average": None, "p50": None, "p95": None, "p99": None}
    ascending = sorted(values)
    p50, p95, p99 = (round(nearest_rank(ascending, percent), digits) for percent in (50, 95, 99))
    return {"average": round(sum(values) / len(values), digits), "p50": p50, "p95": p95, "p99": p99}


def _cost_per_pull_request(calls: Sequence[RecentCall]) -> CostPerPullRequestDocument:
    costs: defaultdict[str, float] = defaultdict(float)
    for call in calls:
        if call.event in PULL_REQUEST_EVENTS and call.conversation is not None:
            costs[call.conversation] += call.cost_usd
    values = list(costs.values())
    return {"pull_requests": len(values), **_distribution(values, 6), "max": round(max(values), 6) if values else None}


def _requests_per_delivery(by_name: Mapping[str, Mapping[str, int]]) -> RequestsPerDeliveryDocument:
    requests, deliveries = by_name.get("event_github_requests", {}), by_name.get("event_github_deliveries", {})
    total = sum(deliveries.values())
    return {
        "average": round(sum(requests.values()) / total, 2) if total else None,
        "by_event": {event: round(requests.get(event, 0) / number, 2) for event, number in deliveries.items()},
    }


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _by_name(counters: Counters) -> dict[str, dict[str, int]]:
    named: dict[str, dict[str, int]] = {}
    for (name, label), count in sorted(counters.items()):
        named.setdefault(name, {})[label] = count
    return named


def _nest(counts: Mapping[str, int]) -> dict[str, dict[str, int]]:
    nested: dict[str, dict[str, int]] = {}
    for label, count in counts.items():
        first, _, outcome = label.rpartition(":")  # "IssueHandler:done"
        nested.setdefault(first, {})[outcome] = count
    return nested


def _processing_time(histogram: Mapping[str, int]) -> ProcessingTimeDocument:
    bounds = (*(f"{bound:g}" for bound in BUCKETS_S), "inf")
    return {
        "p50": _seconds(percentile(histogram, 0.50)),
        "p95": _seconds(percentile(histogram, 0.95)),
        "p99": _seconds(percentile(histogram, 0.99)),
        "estimate": "interpolated between the bounds of the histogram",
        "histogram": {bound: histogram.get(bound, 0) for bound in bounds},
    }


def _prompts(by_name: Mapping[str, Mapping[str, int]]) -> dict[str, PromptDocument]:
    costs, shadows = by_name.get("prompt_cost_micro_usd", {}), by_name.get("prompt_shadow_calls", {})
    return {
        prompt: {
            "calls": calls,
            "shadow_calls": shadows.get(prompt, 0),  # included in calls
            "cost_usd": costs.get(prompt, 0) / 1_000_000,
        }
        for prompt, calls in by_name.get("prompt_calls", {}).items()
    }


def _per_minute(known: Throughput | None) -> ThroughputDocument | None:
    if known is None or known.window_s <= 0:
        return None
    return {
        "window_seconds": round(known.window_s, 3),
        "webhooks_per_minute": round(known.webhooks * 60 / known.window_s, 2),
        "processed_per_minute": round(known.processed * 60 / known.window_s, 2),
    }
