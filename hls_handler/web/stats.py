"""`/stats`: a page over the counters that the store keeps, so that it is true after a restart.

A counter has a name and a key: ("event", "issues.opened"), ("outcome", "done"), ("webhooks", "").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from hls_handler.clients.rate import RateLimit
from hls_handler.store import BUCKETS_S, feedback_in

Counters = Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class Throughput:
    """How much was done lately."""

    window_s: float
    webhooks: int
    processed: int  # done or dead


@dataclass(frozen=True, slots=True)
class Figures:
    """What is not a counter."""

    uptime_s: float
    queue: Mapping[str, object]  # "queued" -> 3
    rate_limit: RateLimit
    throughput: Throughput | None = None  # None until the page was read twice


def stats_page(counters: Counters, figures: Figures) -> dict[str, object]:
    """The whole page. Times are in seconds, shares between 0 and 1, and null stands where nothing happened yet."""
    by_name = _by_name(counters)
    outcomes = by_name.get("outcome", {})
    done, dead = outcomes.get("done", 0), outcomes.get("dead", 0)
    processed = counters.get(("processing_count", ""), 0)
    return {
        "uptime_seconds": round(figures.uptime_s, 3),
        "total_webhooks": counters.get(("webhooks", ""), 0),
        "successful_processing": done,
        "failed_processing": dead,
        "success_rate": done / (done + dead) if done + dead else None,
        "recovered_by_retry": counters.get(("recovered_by_retry", ""), 0),
        "outcomes": outcomes,
        "average_processing_time": counters.get(("processing_ms", ""), 0) / processed / 1000 if processed else None,
        "processing_time": _processing_time(by_name.get("processing_le", {})),
        "events_by_type": by_name.get("event", {}),
        "events_by_repo": by_name.get("repository", {}),
        "handlers": _split(by_name.get("handler", {})),
        "repositories": _split(by_name.get("repository_outcome", {})),
        "ignored_by_reason": by_name.get("ignored", {}),
        "prompts": _prompts(by_name),
        "feedback": _feedback(counters),
        "tokens": {
            kind: counters.get(("tokens", kind), 0) for kind in ("input", "output", "cache_write", "cache_read")
        },
        "cost_usd": counters.get(("cost_micro_usd", ""), 0) / 1_000_000,
        "claude_api": _claude_api(by_name.get("claude_calls", {})),
        "github_api": {
            "requests_made": counters.get(("github_requests", ""), 0),
            "rate_limit": _rate_limit(figures.rate_limit),
        },
        "queue": dict(figures.queue),
        "throughput": _throughput(figures.throughput),
    }


def percentile(histogram: Mapping[str, int], share: float) -> float | None:
    """The time that `share` of all took at most, in seconds: an estimate, interpolated within its bucket.

    In the last bucket, which has no upper bound, it is the lower one: "at least 300". None when nothing was counted.
    """
    total = sum(histogram.values())
    if not total:
        return None
    rank, below = share * total, 0
    for lower, upper in pairwise((0.0, *BUCKETS_S)):
        inside = histogram.get(f"{upper:g}", 0)
        if inside and below + inside >= rank:
            return lower + (upper - lower) * (rank - below) / inside
        below += inside
    return BUCKETS_S[-1]


def _by_name(counters: Counters) -> dict[str, dict[str, int]]:
    named: dict[str, dict[str, int]] = {}
    for (name, key), count in sorted(counters.items()):
        named.setdefault(name, {})[key] = count
    return named


def _split(counts: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """{"IssueHandler:done": 3} as {"IssueHandler": {"done": 3}}."""
    nested: dict[str, dict[str, int]] = {}
    for key, count in counts.items():
        who, _, outcome = key.rpartition(":")
        nested.setdefault(who, {})[outcome] = count
    return nested


def _processing_time(histogram: Mapping[str, int]) -> dict[str, object]:
    bounds = (*(f"{bound:g}" for bound in BUCKETS_S), "inf")
    return {
        "p50": percentile(histogram, 0.50),
        "p95": percentile(histogram, 0.95),
        "p99": percentile(histogram, 0.99),
        "estimate": "interpolated between the bounds of the histogram",
        "histogram": {bound: histogram.get(bound, 0) for bound in bounds},
    }


def _prompts(by_name: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, object]]:
    costs, shadows = by_name.get("prompt_cost_micro_usd", {}), by_name.get("prompt_shadow_calls", {})
    return {
        prompt: {
            "calls": calls,
            "shadow_calls": shadows.get(prompt, 0),  # of the calls
            "cost_usd": costs.get(prompt, 0) / 1_000_000,
        }
        for prompt, calls in by_name.get("prompt_calls", {}).items()
    }


def _feedback(counters: Counters) -> dict[str, dict[str, dict[str, object]]]:
    """By prompt and field, how many labels we set, and how many of them people corrected."""
    return {
        prompt: {
            field: {"set": one.set, "corrected": one.corrected, "share": one.share} for field, one in fields.items()
        }
        for prompt, fields in feedback_in(counters).items()
    }


def _claude_api(calls: Mapping[str, int]) -> dict[str, object]:
    return {"requests_made": sum(calls.values()), "by_outcome": dict(calls)}


def _rate_limit(known: RateLimit) -> dict[str, object]:
    return {
        "limit": known.limit,
        "remaining": known.remaining,
        "reset_at": known.reset_at.isoformat() if known.reset_at else None,
    }


def _throughput(known: Throughput | None) -> dict[str, object] | None:
    if known is None or known.window_s <= 0:
        return None
    return {
        "window_seconds": round(known.window_s, 3),
        "webhooks_per_minute": known.webhooks * 60 / known.window_s,
        "processed_per_minute": known.processed * 60 / known.window_s,
    }
