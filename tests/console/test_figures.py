"""The figures as a page, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from urllib.parse import urlencode

import pytest
from sqlalchemy import select

from hls_handler.db.tables import analyses, deliveries, findings
from hls_handler.db.values import HOUR_MS, to_ms
from hls_handler.storage import Storage
from tests.console.browser import KEY, Browser
from tests.queue.builders import begin

EVIL = "<script>alert(1)</script>\u202e"


def finish(store: Storage, guid: str, **other: object) -> None:
    """End a delivery that was received 121 s ago, queued again 91 s ago, failed once, and posted a reply 1 s ago."""
    store.queue.finish(begin(store, guid, **other), "done", reason="so", took_s=0, posting="done")
    now = to_ms(store.now())
    times = {"received_at": now - 121_000, "queued_at": now - 91_000, "finished_at": now - 1_000}
    with store.database.writing() as connection:
        row = deliveries.update().where(deliveries.c.guid == guid)
        connection.execute(row.values(failures=1, analysis_status="done", **times))


def add_findings(store: Storage, *states: str) -> None:
    """Add findings on pull request 7."""
    now = to_ms(store.now())
    common = {"repository_id": 1, "bot_login": "hls", "number": 7, "raised_at": now - 1_000, "changed_at": now}
    common |= {"category": "bugs", "severity": "high", "prompt_id": "p@1", "details": "{}"}
    rows = [{**common, "finding_key": f"k{index}", "state": state} for index, state in enumerate(states)]
    with store.database.writing() as connection:
        connection.execute(findings.insert(), rows)


@pytest.fixture
def filled(store: Storage) -> Storage:
    finish(store, "g1", event="pull_request", number=7, author="mona")
    finish(store, "g2", repository="octo/docs", repository_id=2, author="=cmd()")
    add_findings(store, "open", "dismissed", "dismissed")
    return store


@pytest.fixture
def page(browser: Browser, filled: Storage) -> Browser:
    browser.sections["metrics"] = {"authors": True}
    browser.apply(api_key=KEY)
    browser.sign_in()
    return browser


def rows_of(page: str) -> list[list[str]]:
    """The texts of the cells of each row."""
    body = page.partition("<tbody")[2]
    return [re.findall(r"<t[hd][^>]*>([^<]*)<", row) for row in body.split("<tr")[1:]]


def test_page_shows_the_figures_of_each_repository_and_author(page: Browser) -> None:
    shown = page.get("/figures?period=24h").body.decode()
    rows = rows_of(shown)
    none = "–"
    assert ["octo/widgets", "1", "3", "0", "0", "2", "66.7%", "2.0 min", "2.0 min"] in rows
    assert ["octo/docs", "0", "0", "0", "0", "0", none, "2.0 min", "2.0 min"] in rows
    assert ["All", "2", "0.0014", "100.0%", "100.0%", "90.0 s", "90.0 s", "90.0 s"] in rows
    assert ["octo/docs", "0.00 USD", none, "0", none, "0.00 USD"] in rows
    assert ["mona", "1", "0.0007", "100.0%", "100.0%", "90.0 s", "90.0 s", "90.0 s"] in rows
    assert 'href="/figures.csv?period=24h"' in shown


def test_authors_are_not_shown_unless_settings_say_so(page: Browser) -> None:
    page.sections.clear()
    page.apply(api_key=KEY)
    shown = page.get("/figures").body.decode()
    assert "<code>metrics.authors</code> is false" in shown
    assert "mona" not in shown + page.get("/figures.csv").body.decode()


def test_api_has_the_numbers_of_the_page(page: Browser) -> None:
    stats = page.get("/api/stats?period=24h", x_api_key=KEY).json
    names = [one["name"] for one in (*stats["repositories"], *stats["authors"])]
    assert names == ["octo/docs", "octo/widgets", "=cmd()", "mona"]
    assert (stats["total"]["name"], stats["total"]["processed"], stats["is_complete"]) == ("total", 2, True)
    widgets = stats["repositories"][1]
    assert widgets["processing_seconds"] == {"count": 1, "p50": 90.0, "p95": 90.0, "p99": 90.0}
    assert (widgets["findings"]["false_positive_percent"], widgets["cost_per_pull_request_usd"]) == (66.67, None)


def test_download_has_a_line_for_each_repository_and_author_without_formulas(page: Browser) -> None:
    response = page.get("/figures.csv?period=24h")
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert re.fullmatch(r'attachment; filename="hls-figures-[0-9-]{21}\.csv"', response.headers["content-disposition"])
    lines = [*csv.DictReader(io.StringIO(response.body.decode()))]
    assert [(line["kind"], line["name"]) for line in lines] == [
        ("total", "total"),
        ("repository", "octo/docs"),
        ("repository", "octo/widgets"),
        ("author", "'=cmd()"),
        ("author", "mona"),
    ]
    assert (lines[0]["findings_raised"], lines[0]["processed"]) == ("3", "2")
    assert (lines[2]["findings_raised"], lines[2]["findings_false_positive_percent"]) == ("3", "66.67")
    assert (lines[2]["processing_seconds_p50"], lines[1]["findings_false_positive_percent"]) == ("90.0", "")


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("period=1y", "period: found '1y', expected '24h', '7d' or '30d'"),
        ("until=2026-11-23", "until: expected since, too"),
        ("since=2026-11-23&until=2026-11-23", "until: expected a time after since"),
    ],
)
def test_invalid_query_is_named(browser: Browser, query: str, problem: str) -> None:
    response = browser.get(f"/api/stats?{query}", x_api_key=KEY)
    assert (response.status, problem in response.json["detail"]) == (400, True)


def test_untrusted_names_are_escaped(browser: Browser, store: Storage) -> None:
    finish(store, "g1", author=EVIL)
    browser.sections["metrics"] = {"authors": True}
    browser.apply(api_key=KEY)
    browser.sign_in()
    query = urlencode({"repository": f'"><script>{EVIL}'})
    for path in ("/figures", f"/figures?{query}"):
        shown = browser.get(path).body.decode()
        assert "<script>" not in shown
        assert "&lt;script&gt;alert(1)" in shown
        assert "\u202e" not in shown
    assert "\u202e" not in browser.get("/figures.csv").body.decode()


def test_scores_are_a_table_by_day(browser: Browser, store: Storage) -> None:
    for guid, scores in (("g1", {"tests": 4, "style": 2}), ("g2", {"tests": 5})):
        finish(store, guid, event="pull_request")
        reply = json.dumps(
            {"scores": [{"dimension": name, "score": score} for name, score in scores.items()]}, separators=(",", ":")
        )
        of_delivery = select(deliveries.c.id).where(deliveries.c.guid == guid).scalar_subquery()
        row = {"step_index": 0, "prompt_id": "p@1", "reply_type": "t", "model": "m", "reply": reply, "analysed_at": 0}
        with store.database.writing() as connection:
            connection.execute(analyses.insert().values(delivery_id=of_delivery, **row))
    browser.sign_in()
    one_day = browser.get("/figures?period=24h").body.decode()
    assert [row[1:] for row in rows_of(one_day)][-1] == ["2.0", "4.5"]
    with store.database.writing() as connection:
        earlier = deliveries.update().where(deliveries.c.guid == "g2")
        connection.execute(earlier.values(finished_at=deliveries.c.finished_at - 2 * 24 * HOUR_MS))
    two_days = browser.get("/figures?period=7d").body.decode()
    assert [row[1:] for row in rows_of(two_days)][-2:] == [["2.0", "4.0"], ["–", "5.0"]]
