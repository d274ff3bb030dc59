"""The first page: health, queue, limits, plots and prompts."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hls_handler.console.overview import LINKS, describe_period
from hls_handler.deliveries import End
from hls_handler.engine.health import COMPONENTS
from hls_handler.storage import Storage
from hls_handler.store.periods import Period
from tests.console.browser import KEY, Browser
from tests.queue.builders import accept, begin, claim, dead_letter, queued
from tests.sqlite import create_database

EVIL = "</title></svg><script>alert(1)</script><img src=x onerror=alert(2)>\u202e"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def page(browser: Browser, path: str = "/") -> str:
    response = browser.get(path, x_api_key=KEY)
    assert response.status == 200
    return response.body.decode()


def number(shown: str, name: str) -> str:
    """The number below a name, without its tags."""
    value = shown.partition(f"<dt>{name}</dt><dd>")[2].partition("</dd>")[0].partition(" <span")[0]
    return re.sub("<[^>]+>", "", value)


def test_others_get_the_start_page(store: Storage, browser: Browser) -> None:
    browser.apply(api_key=KEY, webhook_path="/a'b<i>")
    start = browser.get("/").body.decode()
    assert '<a href="/sign-in?next=/">Console</a>' in start
    assert "its webhooks to <code>/a&#39;b&lt;i&gt;</code> here" in start
    assert (KEY in start, "owner/" in start) == (False, False)
    assert browser.get("/?period=none", x_api_key="wrong").body == browser.get("/").body
    assert "<h1>HLS " in Browser(store, "rebound.example").get("/").body.decode()
    assert browser.get("/", hx_request="true").headers["hx-refresh"] == "true"
    browser.sign_in()
    assert "<h1>Overview</h1>" in browser.get("/").body.decode()
    assert "<h1>Overview</h1>" in Browser(store).get("/").body.decode()


def test_health_names_each_problem_and_its_remedy(browser: Browser) -> None:
    browser.now = NOON.timestamp()
    browser.health.ok("store")
    browser.health.report_problem(
        "claude", "Claude rejected the key (401)", "set another claude.api_key"
    )
    shown = page(browser)
    assert 'Health <span class="state degraded">degraded</span>' in shown
    assert (
        'title="2026-11-20 12:00:00 UTC">3 d ago</time>: Claude rejected the key (401). <strong>To'
        " do:</strong> set another claude.api_key. " in shown
    )
    assert (
        '<a href="/docs/running.md#when-something-is-down">What works meanwhile</a></li>' in shown
    )
    assert "Works: store." in shown
    assert "Not checked yet: queue, github, prompts, settings, webhooks, catch_up, mirror." in shown
    assert "Last webhook: none yet, or each was rejected." in shown


def test_link_of_each_problem_leads_to_a_page_and_a_heading(browser: Browser) -> None:
    others = {address for address, _ in LINKS.values() if not address.startswith("/docs/")}
    assert others == {"/deliveries?state=queued", "/prompts", "/settings"}
    for path, _, anchor in (
        address.partition("#") for address, _ in LINKS.values() if address not in others
    ):
        assert re.search(f'<h[23] id="{anchor}">', page(browser, path))


def test_health_is_shown_without_the_database(tmp_path: Path) -> None:
    store = Storage.open(create_database(tmp_path / "hls.db"))
    browser = Browser(store)
    store.close()
    (tmp_path / "hls.db").write_bytes(b"not a database, but long enough to be read as one" * 100)
    browser.health.report_problem(
        "store", "the disk is full", "free disk space", severity="unhealthy"
    )
    response = browser.get("/")
    assert response.status == 503
    assert "the disk is full. <strong>To do:</strong> free disk space." in response.body.decode()
    assert "The database cannot be read now" in response.body.decode()
    assert '<div id="period" hx-get="/?period=24h"' in response.body.decode()


def test_queue_has_what_waits_and_why(store: Storage, browser: Browser) -> None:
    dead_letter(store, "dead")
    later = store.now() + timedelta(hours=1)
    store.queue.reschedule(
        begin(store, "waits"), at=later, reason="GitHub is down", failed=False, counts=False
    )
    accept(store, queued("runs"))
    claim(store)
    accept(store, queued("ready"), queued("held", repository="octo/docs"))
    store.pauses.pause("octo/docs", reason="a migration", by="mona")
    store.rate_limiter.hold(
        "github", datetime(2026, 11, 23, 12, tzinfo=UTC) + (store.now() - NOON) * 2
    )
    shown = page(browser)
    numbers = {name: number(shown, name) for name in ("Queued", "Running", "Dead")}
    assert numbers == {"Queued": "3", "Running": "1", "Dead": "1"}
    assert re.search(
        r'<li><a href="/deliveries\?q=is%3Awaiting%20cause%3A\w{8}">1</a>: GitHub is down <span',
        shown,
    )
    assert re.search(r"<li>octo/docs is paused since [-0-9: ]+ UTC: a migration. <form", shown)
    assert '<button class="btn">Resume octo/docs</button>' in shown
    assert '<a href="/deliveries?state=dead">1</a>' in shown
    assert re.search(
        r'<li><a href="/deliveries\?q=is%3Adead%20cause%3A\w{8}">1</a>: issue is locked</li>', shown
    )


def test_period_counts_events_and_repositories(store: Storage, browser: Browser) -> None:
    accept(
        store,
        queued("a"),
        queued("b", repository="octo/docs", event="push", action=None),
        queued("c"),
    )
    for name, period in (("24h", "24 hours"), ("30d", "30 days")):
        shown = page(browser, f"/?period={name}")
        assert f"The last {period}" in shown
        assert f'<a href="/?period={name}" aria-current="page">{period}</a>' in shown
        assert number(shown, "Received") == "3"
        assert re.search(rf"Last webhook: <time [^>]+{store.now():%Y-%m-%d}", shown)
        assert (
            '">issues.opened</a></th><td role="cell" class="num" data-label="Received">2</td>'
            in shown
        )
        assert (
            '">octo/docs</a></th><td role="cell" class="num" data-label="Received">1</td>' in shown
        )
        assert count_rows(browser, shown, "issues.opened") == 2
        assert count_rows(browser, shown, "octo/docs") == 1
        assert count_rows(browser, shown, "3") == 3  # received
        assert shown.count("data-plot=") == shown.count("<details><summary>Table") == 4


def count_rows(browser: Browser, shown: str, text: str) -> int:
    """Follow the link with this text, and return the number of deliveries on its page."""
    address = shown.partition(f'">{text}</a>')[0].rpartition('href="')[2]
    return page(browser, html.unescape(address)).count('href="/deliveries/')


def test_untrusted_text_of_the_overview_is_escaped(store: Storage, browser: Browser) -> None:
    accept(store, queued("d", action=EVIL, repository=f"octo/{EVIL}"))
    store.queue.finish(claim(store), End("dead", EVIL), took_s=1.0)
    lease = begin(store, "w", repository=f"octo/{EVIL}")
    store.queue.reschedule(
        lease, at=store.now() + timedelta(hours=1), reason=EVIL, failed=False, counts=False
    )
    store.pauses.pause(f"octo/{EVIL}2", reason=EVIL, by="mona")
    store.rate_limiter.hold(f"github {EVIL}", store.now() + timedelta(hours=1))
    browser.health.report_problem("github", EVIL, EVIL)
    shown = page(browser)
    assert shown.count("&lt;script&gt;alert(1)") == 13
    for forbidden in ("<script>", "<img", "\u202e", "style=", "<style", "onerror=alert(2)>"):
        assert forbidden not in shown


def test_problems_are_listed_the_most_severe_first_and_are_no_works(
    store: Storage, browser: Browser
) -> None:
    for component in COMPONENTS:
        browser.health.ok(component)
    browser.health.report_problem("store", "disk full", "make room", severity="unhealthy")
    store.queue.accept(
        [], replay_window_h=72, counts={("rejected", "400"): 9, ("rejected", "401"): 1}
    )
    store.pauses.pause(None, reason="a migration", by="mona")
    shown = page(browser)
    listed = re.findall(
        r'<li><span class="state (\w+)">(\w+)</span>(?: <time .*?</time>:)? (everything is|\w+ \w+)',
        shown,
    )
    assert listed == [
        ("unhealthy", "store", "disk full"),
        ("degraded", "queue", "everything is"),
        ("degraded", "webhooks", "1 request"),
        ("degraded", "webhooks", "9 requests"),
    ]
    assert "<strong>Likely cause:</strong> the secret in the webhook&#39;s form" in shown
    assert 'Health <span class="state unhealthy">unhealthy</span>' in shown
    assert "Works: github, claude, prompts, settings, catch_up, mirror." in shown


def test_processing_is_paused_with_a_reason_and_resumed(store: Storage, browser: Browser) -> None:
    browser.sign_in()
    paused = browser.submit("/", "/deliveries/pause", repository="octo/docs", reason="a migration")
    assert (paused.status, paused.headers["location"]) == (303, "/#queue")
    assert [(one.repository, one.reason) for one in store.pauses.active()] == [
        ("octo/docs", "a migration (in the console)")
    ]
    assert '<button class="btn">Resume octo/docs</button>' in page(browser)
    assert browser.submit("/", "/deliveries/resume", repository="octo/docs").status == 303
    assert store.pauses.active() == []
    assert '<button class="btn">Resume' not in page(browser)
    assert browser.submit("/", "/deliveries/pause", repository="docs", reason="x").status == 400
    assert browser.post("/deliveries/pause", {"reason": "x"}).status == 403
    assert store.pauses.active() == []


SERIES = {
    ("webhooks", ""): (5, 0),
    ("caught_up", ""): (1, 0),
    ("outcome", "done"): (3, 0),
    ("outcome", "dead"): (1, 0),
    ("outcome", "ignored"): (2, 0),
    ("outcome", "superseded"): (0, 4),
    ("processing_le", "1"): (4, 0),
    ("first_reply_le", "10"): (1, 1),
    ("cost_micro_usd", ""): (250_000, 500),
    ("claude_calls", "ok"): (3, 0),
    ("claude_calls", "refusal"): (1, 0),
    ("claude_calls", "unfinished"): (0, 1),
    ("rejected", "401"): (0, 2),
    ("rejected", "503"): (0, 1),
}


def test_totals_and_plots_are_those_of_the_period() -> None:
    period = Period(NOON - timedelta(hours=2), NOON, timedelta(hours=1))
    past = describe_period(period, SERIES)
    assert {name: value for name, (value, _) in past.totals.items()} == {
        "Received": "6",
        "Done": "3",
        "Ignored": "2",
        "Dead": "1",
        "Superseded": "4",
        "Success": "75.0%",
        "p50": "0.75 s",
        "p95": "0.97 s",
        "First reply, p50": "7.5 s",
        "First reply, p95": "9.8 s",
        "Cost": "$0.251",
    }
    assert (
        past.plots[0].rows[0][1] == "/deliveries?since=2026-11-23T10%3A00&until=2026-11-23T11%3A00"
    )
    assert {
        plot.title: (plot.columns(), tuple((label, cells) for label, _, cells in plot.rows))
        for plot in past.plots
    } == {
        "Deliveries": (
            ("received", "done", "ignored", "dead"),
            (("11-23 10:00", ("6", "3", "2", "1")), ("11-23 11:00", ("0", "0", "0", "0"))),
        ),
        "Processing time": (
            ("p50", "p95"),
            (("11-23 10:00", ("0.75 s", "0.97 s")), ("11-23 11:00", ("–", "–"))),
        ),
        "Cost": (
            ("all calls to Claude",),
            (("11-23 10:00", ("$0.250",)), ("11-23 11:00", ("$0.00050",))),
        ),
        "Errors": (
            ("dead", "failed calls", "rejected requests"),
            (("11-23 10:00", ("1", "1", "0")), ("11-23 11:00", ("0", "0", "3"))),
        ),
    }
    empty = describe_period(period, {}).totals
    assert empty["Success"][0] == empty["p95"][0] == "–"
    assert past.plots[1].drawing() == {
        "unit": "seconds",
        "times": (1795428000.0, 1795431600.0),
        "series": [
            {"name": "p50", "values": (0.75, None), "texts": ("0.75 s", "–")},
            {"name": "p95", "values": (0.975, None), "texts": ("0.97 s", "–")},
        ],
    }
