"""The page of `/stats`, from counters."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from hls_handler.github.api import RateLimit
from hls_handler.store.numbers import Totals
from hls_handler.web.stats import StatsDocument, make_stats
from tests.e2e.service import wait_until
from tests.web.fakes import WebSetup, ask, settings

UNHEARD = RateLimit(None, None, None)


def page_of(totals: Totals) -> StatsDocument:
    return make_stats(totals, {"queued": 3}, UNHEARD, uptime_s=1.0)


TOTALS = {
    ("webhooks", "", ""): 20,
    ("event", "issues.opened", "o/r"): 12,
    ("outcome", "done", "o/r"): 9,
    ("outcome", "dead", "o/r"): 2,
    ("outcome", "dead", ""): 1,
    ("processing_ms", "", "o/r"): 36_000,
    ("processing_le", "2.5", "o/r"): 6,
    ("processing_le", "5", "o/r"): 6,
    ("first_reply_le", "10", "o/r"): 2,
    ("handler", "IssueHandler:done", "o/r"): 9,
    ("handler", "IssueHandler:dead", "o/r"): 2,
    ("handler", "of:a:kind:done", "o/r"): 1,
    ("prompt_calls", "issues/strict@aaaaaa", "o/r"): 3,
    ("cost_micro_usd", "issues/strict@aaaaaa", "o/r"): 1_234_567,
    ("tokens", "cache_read", "o/r"): 70,
    ("claude_calls", "answered", "o/r"): 10,
    ("claude_calls", "invalid", "o/r"): 1,
    ("claude_calls", "unfinished", "o/r"): 0,
    ("claude_ms", "", "o/r"): 25_000,
    ("claude_timed", "", "o/r"): 10,
    ("provider_calls", "openai:ok", "o/r"): 4,
    ("github_requests", "", "o/r"): 77,
    ("reply_cache", "hits", "o/r"): 2,
    ("reply_cache", "misses", "o/r"): 4,
    ("reply_cache", "saved_micro_usd", "o/r"): 12_300,
}


def test_ratios_and_times_of_an_empty_store_are_null() -> None:
    page = page_of({})
    assert (page["success_rate"], page["average_processing_time"]) == (None, None)
    assert (page["processing_time"]["p50"], page["processing_time"]["histogram"]["inf"]) == (
        None,
        0,
    )


def test_stats_with_all_counters() -> None:
    page = page_of(TOTALS)
    assert (page["total_webhooks"], page["successful_processing"], page["failed_processing"]) == (
        20,
        9,
        3,
    )
    assert (page["success_rate"], page["average_processing_time"], page["queue"]) == (
        0.75,
        3.0,
        {"queued": 3},
    )
    assert (page["outcomes"], page["events_by_type"]) == (
        {"dead": 3, "done": 9},
        {"issues.opened": 12},
    )
    times = page["processing_time"]
    assert (times["p50"], times["p99"], times["histogram"]["5"]) == (2.5, 4.0, 6)
    first_reply = page["time_to_first_reply"]
    assert (first_reply["p50"], first_reply["p95"], first_reply["histogram"]["10"]) == (
        9.0,
        9.0,
        2,
    )
    assert page["repositories"] == {"o/r": {"dead": 2, "done": 9}}
    assert page["events_by_repo"] == {"o/r": 12}
    assert page["handlers"] == {"IssueHandler": {"done": 9, "dead": 2}, "of:a:kind": {"done": 1}}
    assert page["prompts"] == {"issues/strict@aaaaaa": {"calls": 3, "cost_usd": 1.234567}}
    assert page["tokens"] == {"input": 0, "output": 0, "cache_write": 0, "cache_read": 70}
    assert (page["cost_usd"], page["cost_by_repository"]) == (1.234567, {"o/r": 1.234567})
    assert page["claude_api"] == {
        "requests_made": 11,
        "average_response_time": 2.5,
        "by_outcome": {"answered": 10, "invalid": 1},
        "by_provider": {"openai": {"ok": 4}},
    }
    assert page["github_api"] == {
        "requests_made": 77,
        "rate_limit": {"limit": None, "remaining": None, "reset_at": None},
    }
    assert page["reply_cache"] == {"hits": 2, "misses": 4, "hit_rate": 0.3333, "saved_usd": 0.0123}


def test_documents_of_one_second_are_the_same() -> None:
    setup = WebSetup(settings())
    app = setup.app()
    first = ask(app, "/stats", method="GET").json
    setup.clock.now += 0.9
    assert ask(app, "/stats", method="GET").json == first
    setup.clock.now += 59.1
    assert ask(app, "/stats", method="GET").json["uptime_seconds"] == 60
    assert setup.store.reads == 2


def test_callers_at_the_same_time_wait_for_one_reading() -> None:
    setup = WebSetup(settings())
    app = setup.app()
    setup.store.may_read.clear()
    with ThreadPoolExecutor(2) as callers:
        first = callers.submit(ask, app, "/stats", method="GET")
        wait_until(lambda: setup.store.reads == 1)
        second = callers.submit(ask, app, "/stats", method="GET")
        setup.store.may_read.set()
        assert first.result().json == second.result().json
    assert setup.store.reads == 1
