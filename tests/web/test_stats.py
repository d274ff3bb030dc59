"""The page of `/stats`, from counters."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from hls_handler.clients.api import RateLimit
from hls_handler.store.statistics import RecentCall
from hls_handler.web.stats import Counters, Snapshot, StatsDocument, StatsReader, stats_page
from tests.web.fakes import FakeClock, FakeStore

UNHEARD = RateLimit(None, None, None)


def page_of(
    counters: Counters,
    *,
    queue: Mapping[str, object] | None = None,
    uptime_s: float = 1.0,
    rate_limit: RateLimit = UNHEARD,
    calls: Sequence[RecentCall] = (),
) -> StatsDocument:
    snapshot = Snapshot(counters=counters, queue=queue or {}, calls=calls)
    return stats_page(snapshot, uptime_s=uptime_s, rate_limit=rate_limit)


NO_DISTRIBUTION = {"average": None, "p50": None, "p95": None, "p99": None}
NO_TIMES = {"0.1": 0, "0.25": 0, "0.5": 0, "1": 0, "2.5": 0, "5": 0, "10": 0, "30": 0, "60": 0, "120": 0, "300": 0}


def test_ratios_and_times_of_an_empty_store_are_null() -> None:
    page = page_of({})
    assert (page["total_webhooks"], page["cost_usd"], page["outcomes"], page["findings"]) == (0, 0.0, {}, {})
    assert (page["success_rate"], page["average_processing_time"], page["throughput"]) == (None, None, None)
    assert page["processing_time"] == {
        "p50": None,
        "p95": None,
        "p99": None,
        "estimate": "interpolated between the bounds of the histogram",
        "histogram": {**NO_TIMES, "inf": 0},
    }
    assert page["reply_cache"] == {"hits": 0, "misses": 0, "hit_rate": None, "saved_usd": 0.0}
    assert page["cost_per_pull_request"] == {"pull_requests": 0, **NO_DISTRIBUTION, "max": None}
    assert page["github_api"]["requests_per_delivery"] == {"average": None, "by_event": {}}


def test_stats_with_all_counters() -> None:
    counters = {
        ("webhooks", ""): 20,
        ("event", "issues.opened"): 12,
        ("event", "ping"): 1,
        ("repository", "owner/repo"): 19,
        ("ignored", "event not enabled"): 5,
        ("outcome", "done"): 9,
        ("outcome", "dead"): 3,
        ("outcome", "ignored"): 5,
        ("recovered_by_retry", ""): 2,
        ("processing_ms", ""): 36_000,
        ("processing_count", ""): 12,
        ("processing_le", "2.5"): 6,
        ("processing_le", "5"): 6,
        ("handler", "IssueHandler:done"): 9,
        ("handler", "IssueHandler:dead"): 2,
        ("handler", "of:a:kind:done"): 1,
        ("repository_outcome", "owner/repo:done"): 9,
        ("prompt_calls", "issues/analyze@3f9c2a"): 11,
        ("prompt_cost_micro_usd", "issues/analyze@3f9c2a"): 1_234_567,
        ("prompt_calls", "issues/strict@aaaaaa"): 3,
        ("prompt_shadow_calls", "issues/strict@aaaaaa"): 2,
        ("tokens", "input"): 4000,
        ("tokens", "cache_read"): 70,
        ("cost_micro_usd", ""): 1_234_567,
        ("claude_calls", "answered"): 10,
        ("claude_calls", "invalid"): 1,
        ("github_requests", ""): 77,
        ("event_github_requests", "issues.opened"): 13,
        ("event_github_deliveries", "issues.opened"): 3,
        ("event_github_requests", "issues.edited"): 2,
        ("event_github_deliveries", "issues.edited"): 1,
        ("event_github_deliveries", "issues.labeled"): 3,
        ("repository_cost_micro_usd", "o/r"): 1_234_567,
        ("errors_recovered", ""): 4,
        ("rejected", "401"): 2,
        ("claude_calls", "unfinished"): 0,
        ("reply_cache", "hits"): 2,
        ("reply_cache", "misses"): 4,
        ("reply_cache", "saved_micro_usd"): 12_300,
        ("label_set", "issues/analyze@3f9c2a:priority"): 40,
        ("label_corrected", "issues/analyze@3f9c2a:priority"): 9,
        ("label_correction_withdrawn", "issues/analyze@3f9c2a:priority"): 3,
        ("label_set", "issues/analyze@3f9c2a:kind"): 38,
    }
    page = page_of(
        counters,
        uptime_s=86400.0,
        queue={"queued": 3},
        rate_limit=UNHEARD,
    )
    times = page["processing_time"]
    assert (page["total_webhooks"], page["successful_processing"], page["failed_processing"]) == (20, 9, 3)
    assert (page["success_rate"], page["recovered_by_retry"], page["average_processing_time"]) == (0.75, 2, 3.0)
    assert page["outcomes"] == {"dead": 3, "done": 9, "ignored": 5}
    assert times["p50"] == 2.5
    assert times["p99"] == pytest.approx(4.95)
    assert times["histogram"] == {**NO_TIMES, "2.5": 6, "5": 6, "inf": 0}
    assert page["events_by_type"] == {"issues.opened": 12, "ping": 1}
    assert page["events_by_repo"] == {"owner/repo": 19}
    assert page["handlers"] == {"IssueHandler": {"done": 9, "dead": 2}, "of:a:kind": {"done": 1}}
    assert page["repositories"] == {"owner/repo": {"done": 9}}
    assert page["ignored_by_reason"] == {"event not enabled": 5}
    assert page["prompts"] == {
        "issues/analyze@3f9c2a": {"calls": 11, "shadow_calls": 0, "cost_usd": 1.234567},
        "issues/strict@aaaaaa": {"calls": 3, "shadow_calls": 2, "cost_usd": 0.0},
    }
    assert page["tokens"] == {"input": 4000, "output": 0, "cache_write": 0, "cache_read": 70}
    assert page["cost_usd"] == 1.234567
    assert page["claude_api"] == {
        "requests_made": 11,
        "by_outcome": {"answered": 10, "invalid": 1},
        "timing": {"calls": 0, **NO_DISTRIBUTION},
    }
    assert page["github_api"] == {
        "requests_made": 77,
        "requests_per_delivery": {
            "average": 2.14,
            "by_event": {"issues.opened": 4.33, "issues.edited": 2.0, "issues.labeled": 0.0},
        },
        "rate_limit": {"limit": None, "remaining": None, "reset_at": None},
    }
    assert page["feedback"]["issues/analyze@3f9c2a"] == {
        "kind": {"set": 38, "corrected": 0, "share": 0.0},
        "priority": {"set": 40, "corrected": 6, "share": 0.15},
    }
    assert page["queue"] == {"queued": 3}
    assert page["cost_by_repository"] == {"o/r": 1.234567}
    assert (page["errors_recovered"], page["rejected_requests"]) == (4, {"401": 2})
    assert page["reply_cache"] == {"hits": 2, "misses": 4, "hit_rate": 0.3333, "saved_usd": 0.0123}


def test_times_and_costs_are_of_the_recent_calls() -> None:
    calls = [RecentCall(n / 10, 0.001, "issues", "o/r#1") for n in range(1, 101)]
    calls += [
        RecentCall(0.1234567, 0.02, "pull_request", "o/r#2"),
        RecentCall(0.1, 0.01, "issue_comment", "o/r#2"),
        RecentCall(0.1, 0.0404, "pull_request_review", "o/r#3"),
        RecentCall(0.1, 1.0, "release", None),
    ]
    page = page_of({}, calls=calls)
    claude = page["claude_api"]
    assert isinstance(claude, dict)
    assert claude["timing"] == {"calls": 104, "average": 4.86, "p50": 4.8, "p95": 9.5, "p99": 9.9}
    assert page["cost_per_pull_request"] == {
        "pull_requests": 2,
        "average": 0.0302,
        "p50": 0.02,
        "p95": 0.0404,
        "p99": 0.0404,
        "max": 0.0404,
    }


class Around:
    def __init__(self) -> None:
        self.store, self.clock = FakeStore(), FakeClock()
        self.reader = StatsReader(self.store.stats, lambda: UNHEARD, self.clock)

    async def after(self, seconds: float, *, webhooks: int, done: int = 0) -> StatsDocument:
        self.clock.now += seconds
        self.store.counted = {("webhooks", ""): webhooks, ("outcome", "done"): done, ("outcome", "dead"): 1}
        return await self.reader.get()


def test_the_store_is_read_at_most_once_a_second() -> None:
    async def readings() -> list[int]:
        setup = Around()
        seen = [
            await setup.after(0, webhooks=1),
            await setup.after(0.9, webhooks=2),
            await setup.after(0.1, webhooks=3),
        ]
        assert setup.store.reads == 2
        return [page["total_webhooks"] for page in seen]

    assert asyncio.run(readings()) == [1, 1, 3]


def test_throughput_is_over_the_last_five_minutes() -> None:
    async def throughputs() -> list[tuple[object, ...] | None]:
        setup = Around()
        steps = [(0, 100, 10), (60, 160, 40), (240, 400, 50), (60, 460, 60), (3600, 461, 60)]
        pages = [await setup.after(s, webhooks=w, done=d) for s, w, d in steps]
        return [page["throughput"] and tuple(page["throughput"].values()) for page in pages]

    # window in seconds, webhooks and deliveries per minute
    assert asyncio.run(throughputs()) == [
        None,
        (60, 60.0, 30.0),
        (300, 60.0, 8.0),
        (300, 60.0, 4.0),
        (3600, 0.02, 0.0),
    ]
