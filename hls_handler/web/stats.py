"""The page `/stats`, with the counters that the database keeps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from typing_extensions import TypedDict  # pydantic accepts that of `typing` from Python 3.12 on

from hls_handler.db.counters import BUCKETS_S, COST
from hls_handler.github.api import RateLimit
from hls_handler.queue.pauses import pause_to_dict
from hls_handler.store.figures import estimate_percentiles
from hls_handler.store.numbers import Totals, sum_labels, sum_repositories
from hls_handler.store.storage import Storage


class TokensDocument(TypedDict):
    """Tokens; `input` are those that the prompt cache of Claude's API neither supplied nor
    stored.
    """

    input: int
    output: int
    cache_write: int
    cache_read: int


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
    rejected_requests: Mapping[str, int]
    outcomes: Mapping[str, int]
    average_processing_time: float | None
    # the estimated percentiles, and "histogram": upper bound in s -> deliveries
    processing_time: dict[str, Any]
    time_to_first_reply: dict[str, Any]  # the same of issues and pull requests
    events_by_type: Mapping[str, int]
    events_by_repo: dict[str, int]
    handlers: dict[str, dict[str, int]]
    repositories: Mapping[str, Mapping[str, int]]
    ignored_by_reason: Mapping[str, int]
    prompts: dict[str, dict[str, float]]  # calls and cost by prompt id
    tokens: TokensDocument
    reply_cache: dict[str, float | None]
    cost_usd: float
    cost_by_repository: dict[str, float]
    claude_api: dict[str, Any]
    github_api: dict[str, Any]
    queue: dict[str, Any]


def read_stats(store: Storage, rate_limit: RateLimit, uptime_s: float) -> StatsDocument:
    """Read the database. Blocks; raises `StoreUnavailable`."""
    queue = {
        **asdict(store.deliveries.queue_state()),
        "paused": list(map(pause_to_dict, store.pauses.active())),
    }
    return make_stats(store.statistics.totals(), queue, rate_limit, uptime_s)


def make_stats(
    totals: Totals, queue: dict[str, Any], rate_limit: RateLimit, uptime_s: float
) -> StatsDocument:
    """Return the JSON of /stats. Times are in seconds, shares from 0 to 1. A value is None if
    nothing was counted.
    """
    by_name = sum_labels(totals)
    outcomes = sum_repositories(totals, "outcome")
    events = sum_repositories(totals, "event")
    costs = sum_repositories(totals, COST)

    def total(name: str, label: str = "") -> int:
        return by_name[name].get(label, 0)

    done = total("outcome", "done")
    dead = total("outcome", "dead")
    processing_s = total("processing_ms") / 1000
    hits = total("reply_cache", "hits")
    misses = total("reply_cache", "misses")
    reset_at = rate_limit.reset_at.isoformat() if rate_limit.reset_at else None
    return {
        "uptime_seconds": uptime_s,
        "total_webhooks": total("webhooks"),
        "caught_up": total("caught_up"),
        "successful_processing": done,
        "failed_processing": dead,
        "success_rate": _divide(done, done + dead, 4),
        "recovered_by_retry": total("recovered_by_retry"),
        "errors_recovered": total("errors_recovered"),
        "rejected_requests": by_name["rejected"],
        "outcomes": by_name["outcome"],
        "average_processing_time": _divide(processing_s, sum(by_name["processing_le"].values()), 3),
        "processing_time": _describe_histogram(by_name["processing_le"]),
        "time_to_first_reply": _describe_histogram(by_name["first_reply_le"]),
        "events_by_type": by_name["event"],
        "events_by_repo": {name: sum(numbers.values()) for name, numbers in events.items()},
        "handlers": _nest(by_name["handler"]),
        "repositories": outcomes,
        "ignored_by_reason": by_name["ignored"],
        "prompts": {
            prompt: {"calls": calls, "cost_usd": by_name[COST].get(prompt, 0) / 1_000_000}
            for prompt, calls in by_name["prompt_calls"].items()
        },
        "tokens": {
            "input": total("tokens", "input"),
            "output": total("tokens", "output"),
            "cache_write": total("tokens", "cache_write"),
            "cache_read": total("tokens", "cache_read"),
        },
        "reply_cache": {
            "hits": hits,
            "misses": misses,
            "hit_rate": _divide(hits, hits + misses, 4),
            "saved_usd": total("reply_cache", "saved_micro_usd") / 1_000_000,
        },
        "cost_usd": sum(by_name[COST].values()) / 1_000_000,
        "cost_by_repository": {
            name: sum(amounts.values()) / 1_000_000 for name, amounts in costs.items()
        },
        "claude_api": {
            "requests_made": sum(by_name["claude_calls"].values()),
            "average_response_time": _divide(total("claude_ms") / 1000, total("claude_timed"), 3),
            "by_outcome": by_name["claude_calls"],
            "by_provider": _nest(by_name["provider_calls"]),
        },
        "github_api": {
            "requests_made": total("github_requests"),
            "rate_limit": {**asdict(rate_limit), "reset_at": reset_at},
        },
        "queue": queue,
    }


def _divide(part: float, whole: float, digits: int) -> float | None:
    if not whole:
        return None
    return round(part / whole, digits)


def _describe_histogram(histogram: Mapping[str, int]) -> dict[str, Any]:
    percentiles = estimate_percentiles(histogram)
    bounds = (*map("{:g}".format, BUCKETS_S), "inf")
    return {
        "p50": percentiles.p50,
        "p95": percentiles.p95,
        "p99": percentiles.p99,
        "estimate": "interpolated between the bounds of the histogram",
        "histogram": {bound: histogram.get(bound, 0) for bound in bounds},
    }


def _nest(counts: Mapping[str, int]) -> dict[str, dict[str, int]]:
    nested = defaultdict[str, dict[str, int]](dict)
    for label, count in counts.items():
        first, _, outcome = label.rpartition(":")  # "IssueHandler:done"
        nested[first][outcome] = count
    return nested
