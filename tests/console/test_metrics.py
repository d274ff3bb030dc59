"""`/metrics`: who may read it, and what Prometheus gets."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text

from hls_handler.console.metrics import MAX_SERIES, TOTALS, add_up, cumulate
from hls_handler.deliveries import End
from hls_handler.github.api import RateLimit
from hls_handler.store.storage import Storage
from tests.console.browser import KEY, Browser
from tests.queue.builders import accept, begin, dead_letter, ignored, queued


def scrape(browser: Browser) -> dict[str, float]:
    """Return the samples by name and labels: "hls_deliveries_total{state=done}"."""
    response = browser.get("/metrics", authorization=f"Bearer {KEY}")
    assert (response.status, response.headers["content-type"][:25]) == (
        200,
        "text/plain; version=0.0.4",
    )
    samples = [sample for family in parse_text(response.text) for sample in family.samples]

    def name(labels: dict[str, str]) -> str:
        return (
            f"{{{','.join(f'{key}={value}' for key, value in labels.items())}}}" if labels else ""
        )

    return {f"{sample.name}{name(sample.labels)}": sample.value for sample in samples}


def test_totals_and_the_queue_come_from_the_database(browser: Browser, store: Storage) -> None:
    accept(store, ignored("g0", reason_kind="bot"))
    dead_letter(store, "g1")
    lease = begin(store, "g2", number=2)
    store.queue.finish(lease, End("done", "posted", posting="done"), took_s=0.7)
    begin(store, "g3", number=3)
    accept(store, queued("g4", number=4), queued("g5", number=5))
    store.pauses.pause("octo/widgets", reason=None, by="mona")
    store.queue.accept(
        [],
        counts={
            ("rejected", "401"): 3,
            ("github_requests", ""): 12,
            ("reply_cache", "saved_micro_usd"): 250_000,
            ("claude_calls", "unfinished"): 2,
        },
    )
    found = scrape(browser)
    assert found["hls_webhooks_total"] == 6
    assert found["hls_claude_unfinished_calls"] == 2
    assert "hls_claude_calls_total{outcome=unfinished}" not in found
    assert found["hls_webhooks_rejected_total{status=401}"] == 3
    assert found["hls_webhooks_rejected_total{status=503}"] == 0
    assert (
        found["hls_deliveries_total{state=done}"] == found["hls_deliveries_total{state=dead}"] == 1
    )
    assert found["hls_repository_deliveries_total{repository=octo/widgets,state=dead}"] == 1
    assert found["hls_github_requests_total"] == 12
    assert found["hls_reply_cache_saved_usd_total"] == 0.25
    assert (
        found["hls_queued_deliveries"],
        found["hls_held_deliveries"],
        found["hls_due_deliveries"],
    ) == (2, 2, 0)
    assert (found["hls_running_deliveries"], found["hls_dead_deliveries"], found["hls_pauses"]) == (
        1,
        1,
        1,
    )
    assert found["hls_processing_seconds_count"] == 1
    assert found["hls_first_reply_seconds_count"] == 1
    assert found["hls_first_reply_seconds_sum"] < 60
    assert found["hls_last_webhook_timestamp_seconds"] == pytest.approx(
        store.now().timestamp(), abs=60
    )


def test_health_and_rate_limit_are_those_of_this_process(browser: Browser) -> None:
    found = scrape(browser)
    # GitHub has reported nothing yet
    assert "hls_github_rate_limit_remaining_requests" not in found
    browser.health.report_problem("github", "the token is rejected", "create another")
    browser.rate_limit = RateLimit(5000, 4321, datetime(2026, 11, 20, 13, tzinfo=UTC))
    found = scrape(browser)
    assert found["hls_github_rate_limit_remaining_requests"] == 4321
    assert found["hls_github_rate_limit_reset_timestamp_seconds"] == 1795179600
    assert found["hls_health_state{component=github,state=degraded}"] == 1
    assert found["hls_health_state{component=github,state=healthy}"] == 0
    assert (found["hls_store_readable"], found["hls_claude_budget_calls"]) == (1, 200)


def test_expiry_of_each_token_is_a_gauge(browser: Browser) -> None:
    first = {"key": "github.tokens[0]", "expires_at": "2026-12-04T09:30:00+00:00"}
    endless = {"key": "github.tokens[1]", "expires_at": None}
    name = "hls_github_token_expiry_timestamp_seconds"
    for identity in ({**first, "tokens": [first, endless]}, first):
        browser.health.set_metrics("github", {"identity": identity})
        found = {key: value for key, value in scrape(browser).items() if key.startswith(name)}
        assert found == {f"{name}{{key=github.tokens[0]}}": 1796376600}


def test_health_is_shown_while_the_database_cannot_be_read(
    browser: Browser, tmp_path: Path
) -> None:
    (tmp_path / "hls.db").unlink()
    browser.health.report_problem("store", "no disk", "free space", severity="unhealthy")
    found = scrape(browser)
    assert (
        found["hls_store_readable"],
        found["hls_health_state{component=store,state=unhealthy}"],
    ) == (0, 1)
    assert "hls_webhooks_total" not in found


def test_rule_6_metrics_need_the_key_in_one_header(browser: Browser) -> None:
    wrong: tuple[dict[str, str], ...] = (
        {},
        {"x_api_key": "wrong"},
        {"authorization": f"Basic {KEY}"},
        {"x_api_key": KEY, "authorization": f"Bearer {KEY}"},
    )
    for headers in wrong:
        response = browser.get("/metrics", **headers)
        assert (response.status, response.headers["www-authenticate"]) == (401, "Bearer")


def total(name: str, counts: dict[tuple[str, str], int]) -> dict[tuple[str, ...], float]:
    return dict(add_up(next(one for one in TOTALS if one.name == name), counts))


def test_authors_are_counted_only_if_settings_say_so(browser: Browser, store: Storage) -> None:
    store.queue.finish(begin(store, "g1", author="mona"), End("done", ""), took_s=1.0)
    assert not any("mona" in name for name in scrape(browser))
    browser.sections["metrics"] = {"authors": True}
    browser.apply(api_key=KEY)
    assert scrape(browser)["hls_author_deliveries_total{author=mona,state=done}"] == 1


def test_the_meaning_of_a_metric_needs_no_other_metric(browser: Browser) -> None:
    text = browser.get("/metrics", authorization=f"Bearer {KEY}").text
    assert "# HELP hls_repository_deliveries_total Deliveries that ended, by repository\n" in text
    assert "# HELP hls_labels_restored_total Labels that people changed back\n" in text


def test_versions_of_a_prompt_are_one_series() -> None:
    costs = {(f"issues/analyze@{version}", "o/r"): 500_000 for version in ("3f9c2a", "77aa01")}
    assert total("hls_prompt_cost_usd", costs) == {("issues/analyze",): 1.0}
    labels = {("issues/analyze@3f9c2a:kind", ""): 2, ("issues/analyze@77aa01:kind", ""): 3}
    assert total("hls_labels_set", labels) == {("issues/analyze", "kind"): 5}


def test_buckets_of_a_histogram_are_cumulative() -> None:
    buckets = cumulate({"0.5": 2, "1": 1, "inf": 1})
    assert buckets[:5] == [("0.1", 0), ("0.25", 0), ("0.5", 2), ("0.75", 2), ("1.0", 3)]
    assert buckets[-2:] == [("300.0", 3), ("+Inf", 4)]


def test_number_of_series_is_bounded() -> None:
    outcomes = {("done", f"octo/r{number}"): 1 for number in range(MAX_SERIES + 7)}
    found = total("hls_repository_deliveries", {**outcomes, ("dead", "octo/busy"): 9})
    assert len(found) == MAX_SERIES + 1
    assert (found["octo/busy", "dead"], found["other", "other"]) == (9, 8)


def test_series_with_equal_numbers_do_not_depend_on_the_order_of_rows() -> None:
    counts = {("done", f"octo/{number:03}"): 1 for number in range(MAX_SERIES + 1)}
    reversed_counts = dict(reversed(counts.items()))
    series = total("hls_repository_deliveries", counts)
    assert total("hls_repository_deliveries", reversed_counts) == series
