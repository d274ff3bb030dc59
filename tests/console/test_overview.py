"""The first page: what needs a person, numbers with their comparison, and plots."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hls_handler.console.overview import (
    LINKS,
    MAX_OVERVIEW_AGE_S,
    PeriodNumbers,
    list_cards,
    list_plots,
)
from hls_handler.deliveries import End
from hls_handler.engine.health import COMPONENTS
from hls_handler.queue.pauses import describe_pause
from hls_handler.store.figures import Period
from hls_handler.store.storage import Storage
from tests.console.browser import KEY, Browser
from tests.engine.test_statements import counting
from tests.queue.builders import accept, begin, claim, finish, ignored, newest, queued
from tests.sqlite import create_database
from tests.web.fakes import settings

EVIL = "</title></svg><script>alert(1)</script><img src=x onerror=alert(2)>\u202e"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def page(browser: Browser, path: str = "/") -> str:
    response = browser.get(path, x_api_key=KEY)
    assert response.status == 200
    return response.text


def number(shown: str, name: str) -> str:
    """The number below a name, without its tags."""
    value = shown.partition(f"<dt>{name}</dt><dd>")[2].partition("</dd>")[0].partition(" <span")[0]
    return re.sub("<[^>]+>", "", value)


def test_others_get_the_start_page(store: Storage, browser: Browser) -> None:
    browser.apply(api_key=KEY, webhook_path="/a'b<i>")
    start = browser.get("/").text
    assert '<a href="/sign-in?next=/">Console</a>' in start
    assert "its webhooks to <code>/a&#39;b&lt;i&gt;</code> here" in start
    assert (KEY in start, "owner/" in start) == (False, False)
    assert browser.get("/?period=none", x_api_key="wrong").body == browser.get("/").body
    assert "<h1>HLS " in Browser(store, "rebound.example").get("/").text
    assert browser.get("/", hx_request="true").headers["hx-refresh"] == "true"
    browser.sign_in()
    assert "<h1>Overview</h1>" in browser.get("/").text
    assert "<h1>Overview</h1>" in Browser(store).get("/").text


def problems(shown: str) -> list[str]:
    """The text of each banner at the top, without its button."""
    banners = re.findall(r'<div class="banner \w+">\n<p>(.*?)</p>', shown)
    return [html.unescape(re.sub("<[^>]+>", "", banner)) for banner in banners]


def test_problem_has_its_remedy_and_a_link(browser: Browser) -> None:
    browser.now = NOON.timestamp()
    browser.health.ok("store")
    browser.health.report_problem(
        "claude", "Claude rejected the key (401)", "set another claude.api_key"
    )
    shown = page(browser)
    assert problems(shown) == ["Claude rejected the key (401). Set another claude.api_key. 3 d ago"]
    assert (
        '<a class="btn btn-sm" href="/docs/running.md#when-something-is-down">What works'
        " meanwhile</a>" in shown
    )
    assert "last webhook" not in shown


def test_overview_of_a_working_service_has_no_problem(browser: Browser) -> None:
    for component in COMPONENTS:
        browser.health.ok(component)
    assert "banner" not in page(browser)


def test_link_of_each_problem_leads_to_a_page_and_a_heading(browser: Browser) -> None:
    others = {address for address, _ in LINKS.values() if not address.startswith("/docs/")}
    assert others == {"/deliveries?state=queued", "/prompts"}
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
    assert problems(response.text)[0].startswith("The disk is full. Free disk space.")
    assert "The database cannot be read now" in response.text
    assert '<div id="period" hx-get="/?period=24h"' in response.text


def test_dead_deliveries_are_problems_until_they_are_discarded(
    store: Storage, browser: Browser
) -> None:
    for number in range(4):
        store.queue.finish(begin(store, f"key{number}"), End("dead", f"wrong key (req{number})"))
    for cause in ("locked", "too large", "gone", "no branch"):
        store.queue.finish(begin(store, cause), End("dead", cause))
    shown = page(browser)
    assert [one.partition(":")[0] for one in problems(shown)] == [
        "4 deliveries are dead",
        "1 delivery is dead",
        "1 delivery is dead",
        "2 deliveries are dead for other causes.",
    ]
    address = re.findall(r'href="([^"]+)">Show and retry</a>', shown)[0]
    assert "Retry these 4" in page(browser, html.unescape(address))
    for row in newest(store, state="dead"):
        store.queue.discard(row.guid)
    browser.now += MAX_OVERVIEW_AGE_S + 1
    assert problems(page(browser)) == []


def test_cause_of_dead_deliveries_is_said_once(store: Storage, browser: Browser) -> None:
    message, remedy = "Claude answered 401 (req_1)", "set another claude.api_key"
    browser.health.report_problem("claude", message, remedy)
    cause = (
        "still failing after 72 h, last: Claude answered 401 (req_7); set another claude.api_key"
    )
    store.queue.finish(begin(store, "g1"), End("dead", cause))
    assert problems(page(browser)) == [f"1 delivery is dead: {cause}."]
    store.queue.finish(begin(store, "g2"), End("dead", "Claude answered 401 (req_8)"))
    store.queue.discard("g1")
    browser.now += MAX_OVERVIEW_AGE_S + 1
    assert problems(page(browser))[0].startswith("Claude answered 401 (req_1). Set another")


def test_paths_of_causes_are_short(store: Storage, browser: Browser) -> None:
    [above, *_] = settings().folders_above
    store.queue.finish(begin(store, "g1"), End("dead", f"check what {above}a.j2 asks for"))
    assert problems(page(browser)) == ["1 delivery is dead: check what a.j2 asks for."]


def test_viewers_are_offered_no_retry(store: Storage) -> None:
    store.queue.finish(begin(store, "g1"), End("dead", "gone"))
    proxy = {"user_header": "X-User", "networks": ["127.0.0.1/32"]}
    browser = Browser(store, trusted_proxy=proxy, viewers=["lisa"])
    assert ">Show and retry</a>" in browser.get("/", x_user="mona").text
    shown = browser.get("/", x_user="lisa").text
    assert ">Show</a>" in shown
    assert "retry" not in shown


def test_hold_that_has_ended_is_not_shown(store: Storage, browser: Browser) -> None:
    browser.now = store.now().timestamp()
    store.rate_limiter.hold("github", store.now() + timedelta(seconds=2))
    assert "requests to github go on" in page(browser)
    browser.now += 3  # the overview is not read again yet
    assert "requests to github go on" not in page(browser)


def test_line_about_now_counts_what_waits_and_runs(store: Storage, browser: Browser) -> None:
    accept(store, queued("runs"))
    claim(store)
    accept(store, queued("ready"), queued("held", repository="octo/docs"))
    store.rate_limiter.hold("github", store.now() + timedelta(hours=30))
    shown = page(browser)
    assert '<a href="/deliveries?q=is:waiting">2 waiting</a>' in shown
    assert '<a href="/deliveries?q=is:running">1 of 24 running</a>' in shown
    assert re.search(r"0 of 200 calls to Claude in the last hour\s*</p>", shown)
    assert "requests to github go on <time" in shown


def test_numbers_lead_to_the_deliveries_that_they_count(store: Storage, browser: Browser) -> None:
    accept(store, queued("a"), queued("b"), queued("c"))
    for name, period in (("24h", "24 hours"), ("30d", "30 days")):
        shown = page(browser, f"/?period={name}")
        assert f'<a href="/?period={name}" aria-current="page">{period}</a>' in shown
        assert number(shown, "Received") == "3"
        assert re.search(rf"last webhook: <time [^>]+{store.now():%Y-%m-%d}", shown)
        assert count_cells(browser, shown, "Received") == 3
        assert shown.count("data-plot=") == shown.count("<details><summary>Table") == 4


def test_cards_of_all_states_add_up_to_the_received_deliveries(
    store: Storage, browser: Browser
) -> None:
    store.queue.accept([], counts={("webhooks", ""): 1, ("outcome", "pong"): 1})
    accept(store, queued("done", request_id="requested:review"), queued("done"))
    finish(store, claim(store))
    accept(store, ignored("ignored"))
    for guid in ("dead", "discarded", "retried"):
        store.queue.finish(begin(store, guid), End("dead", "locked"))
    for guid in ("discarded", "retried"):
        store.queue.discard(guid)
    store.queue.retry("retried")
    shown = page(browser)
    states = ("Received", "Done", "Ignored", "Dead", "Discarded")
    assert [number(shown, state) for state in states] == ["5", "1", "1", "1", "1"]
    assert [count_cells(browser, shown, state) for state in states] == [5, 1, 1, 1, 1]
    assert '<a href="/deliveries?q=is:waiting">1 waiting</a>' in shown
    totals = store.statistics.counters()
    assert (totals["outcome", "dead"], totals["outcome", "discarded"]) == (3, 2)


def count_cells(browser: Browser, shown: str, name: str) -> int:
    """Follow the link of a card, and return the number of deliveries on its page."""
    address = shown.partition(f'<dt>{name}</dt><dd><a href="')[2].partition('"')[0]
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
    browser.health.report_problem("github", f"{EVIL} failed", EVIL)
    shown = page(browser)
    assert shown.count("&lt;script&gt;alert(1)") == 8
    for forbidden in ("<script>", "<img", "\u202e", "style=", "<style", "onerror=alert(2)>"):
        assert forbidden not in shown


def test_most_severe_problem_is_the_first(store: Storage, browser: Browser) -> None:
    browser.health.report_problem("claude", "Claude is down", "wait")
    browser.health.report_problem("store", "disk full", "make room", severity="unhealthy")
    store.queue.accept([], counts={("rejected", "400"): 9, ("rejected", "401"): 1})
    store.pauses.pause(None, reason="a migration", by="mona")
    browser.health.report_problem("queue", f"{describe_pause(*store.pauses.active())}; 0", "resume")
    found = problems(page(browser))
    assert [" ".join(one.split()[:2]) for one in found] == [
        "Disk full.",
        "Claude is",
        "Everything is",
        "1 request",
        "9 requests",
    ]
    assert "Likely cause: the secret in the webhook's form" in found[3]


def test_processing_is_paused_with_a_reason_and_resumed(store: Storage, browser: Browser) -> None:
    browser.sign_in()
    paused = browser.submit("/", "/deliveries/pause", repository="octo/docs", reason="a migration")
    assert (paused.status, paused.headers["location"]) == (303, "/")
    assert [(one.repository, one.reason) for one in store.pauses.active()] == [
        ("octo/docs", "a migration (in the console)")
    ]
    assert '<button class="btn btn-sm">Resume octo/docs</button>' in page(browser)
    assert browser.submit("/", "/deliveries/resume", repository="octo/docs").status == 303
    assert store.pauses.active() == []
    assert '<button class="btn btn-sm">Resume' not in page(browser)
    assert browser.submit("/", "/deliveries/pause", repository="docs", reason="x").status == 400
    assert browser.post("/deliveries/pause", {"reason": "x"}).status == 403
    assert store.pauses.active() == []


SERIES = {
    ("stored", ""): (4, 0, 6, 0),
    ("outcome", "done"): (4, 0, 3, 0),
    ("outcome", "dead"): (0, 0, 1, 0),
    ("outcome", "ignored"): (0, 0, 2, 0),
    ("first_reply_le", "10"): (0, 0, 1, 1),
    ("first_reply_le", "1"): (1, 0, 0, 0),
    ("cost_micro_usd", "workflows/analyze@1"): (499_991, 0, 20_000, 0),
    ("cost_micro_usd", "reviews/analyze@1"): (0, 0, 20_000, 0),
    ("rejected", "401"): (7, 0, 0, 2),
    ("rejected", "413"): (3, 0, 0, 0),
    ("cost_micro_usd", "issues/analyze@1"): (0, 0, 100_000, 0),
    ("cost_micro_usd", "issues/analyze@2"): (0, 0, 50_000, 500),
    ("cost_micro_usd", "issues/respond@1"): (9, 0, 60_000, 0),
    ("cost_micro_usd", "releases/notes@1"): (0, 0, 30_000, 0),
    ("cost_micro_usd", "pushes/audit@1"): (0, 0, 6_000, 0),
    ("cost_micro_usd", "comments/reply@1"): (0, 0, 4_000, 0),
    ("labels", "kept"): (1, 0, 8, 1),
    ("labels", "corrected"): (1, 0, 1, 0),
    ("findings", "fixed"): (0, 0, 0, 2),
}


def test_cards_compare_a_period_with_the_one_before() -> None:
    period = Period(NOON - timedelta(hours=2), NOON, timedelta(hours=1))
    cards = list_cards(PeriodNumbers(period, SERIES))
    assert [(card.title, card.value, card.note) for card in cards] == [
        ("Received", "6", "+50%, 4 before"),
        ("Done", "3", "-25%, 4 before"),
        ("Ignored", "2", "0 before"),
        ("Dead", "1", "0 before"),
        ("First reply, p50", "9.0 s", "0.75 s before"),
        ("Cost", "$0.290", "-42%, $0.500 before"),
        ("Labels kept", "9", "+800%, 1 before"),
        ("Labels corrected", "1", "+0%, 1 before"),
    ]
    assert [card.value for card in list_cards(PeriodNumbers(period, {}))] == [
        "0",
        "0",
        "0",
        "0",
        "–",
        "$0.00",
        "0",
        "0",
    ]


def test_status_that_was_rejected_only_in_the_period_before_is_no_problem() -> None:
    period = Period(NOON - timedelta(hours=2), NOON, timedelta(hours=1))
    numbers = PeriodNumbers(period, SERIES)
    assert numbers.by_label("rejected", numbers.present) == {"401": 2}


def test_plots_are_those_of_the_period() -> None:
    period = Period(NOON - timedelta(hours=2), NOON, timedelta(hours=1))
    plots = [*list_plots(PeriodNumbers(period, SERIES))]
    assert plots[0].rows[0][1] == "/deliveries?since=2026-11-23T10%3A00&until=2026-11-23T11%3A00"
    assert {
        plot.title: (plot.columns, tuple((label, tuple(cells)) for label, _, cells in plot.rows))
        for plot in plots
    } == {
        "Deliveries": (
            ("received", "done", "ignored", "dead"),
            (("11-23 10:00", ("6", "3", "2", "1")), ("11-23 11:00", ("0", "0", "0", "0"))),
        ),
        "Time to first reply": (
            ("p50", "p95"),
            (("11-23 10:00", ("9.0 s", "9.0 s")), ("11-23 11:00", ("9.0 s", "9.0 s"))),
        ),
        "Cost by prompt": (
            ("issues/analyze", "issues/respond", "releases/notes", "other prompts"),
            (
                ("11-23 10:00", ("$0.150", "$0.060", "$0.030", "$0.050")),
                ("11-23 11:00", ("$0.00050", "$0.00", "$0.00", "$0.00")),
            ),
        ),
        "What people did with it": (
            ("labels kept", "labels corrected", "findings fixed", "findings dismissed"),
            (("11-23 10:00", ("8", "1", "0", "0")), ("11-23 11:00", ("1", "0", "2", "0"))),
        ),
    }
    assert plots[1].drawing == {
        "unit": "seconds",
        "times": [1795428000.0, 1795431600.0],
        "series": [
            {"name": "p50", "values": [9.0, 9.0], "texts": ["9.0 s", "9.0 s"]},
            {"name": "p95", "values": [9.0, 9.0], "texts": ["9.0 s", "9.0 s"]},
        ],
    }
    empty = [*list_plots(PeriodNumbers(period, {}))]
    assert [cells for _, _, cells in empty[1].rows] == [["–", "–"], ["–", "–"]]
    assert empty[2].columns == ("other prompts",)


def test_number_of_statements_does_not_depend_on_that_of_deliveries(
    store: Storage, browser: Browser
) -> None:
    numbers = []
    for most in (1, 9):
        for number in range(most):
            store.queue.finish(begin(store, f"d{most}{number}"), End("dead", "x" * number))
        browser.now += MAX_OVERVIEW_AGE_S + 1
        with counting() as counted:
            page(browser)
        numbers.append(counted.statements)
    assert numbers == [11, 11]
