"""The figures as a page and as JSON. tests/store/test_figures.py has their numbers."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest

from hls_handler.db.tables import deliveries, labels
from hls_handler.db.values import to_ms
from hls_handler.store.storage import Storage
from tests.console.browser import KEY, Browser
from tests.store.test_figures import count_rows, filled

__all__ = ["filled"]

PERIOD = "since=2026-11-19T12:00&until=2026-11-20T12:00"
EVIL = "=cmd()<script>alert(1)</script>\u202e"


@pytest.fixture
def page(browser: Browser, filled: Storage) -> Browser:
    """A browser that is signed in."""
    browser.apply(api_key=KEY)
    browser.sign_in()
    return browser


def test_page_shows_the_figures_of_each_repository(page: Browser) -> None:
    shown = page.get(f"/figures?{PERIOD}").text
    body = shown.partition("<tbody")[2]
    rows = [re.findall(r"<t[hd][^>]*>([^<]*)<", row) for row in body.split("<tr")[1:]]
    assert [
        "octo/widgets",
        "2",
        "6",
        "2",
        "1",
        "2",
        "1",
        "40.0%",
        "33.3%",
        "20.0 s",
        "60.0 s",
        "2",
        "1",
    ] in rows
    assert ["All", "7", "85.7%", "50.0%", "20.0 s", "45.0 s"] in rows
    assert ["octo/docs", "$0.050", "$0.00", "–", "2", "50.0%", "$0.00090"] in rows
    assert f'href="/api/stats?{PERIOD.replace("&", "&amp;")}"' in shown


def test_page_shows_labels_of_a_period_in_which_no_delivery_ended(
    page: Browser, filled: Storage
) -> None:
    with filled.database.writing() as connection:
        set_at = to_ms(datetime(2026, 11, 18, 12, tzinfo=UTC))
        connection.execute(labels.update().where(labels.c.name == "ui").values(set_at=set_at))
    shown = page.get("/figures?since=2026-11-18&until=2026-11-19").text
    all_repositories = shown.partition(">All<")[2].partition("</tr>")[0]
    # labels kept and corrected
    assert re.findall(r"<td[^>]*>([^<]*)<", all_repositories)[-2:] == [
        "1",
        "0",
    ]


@pytest.mark.parametrize(
    ("query", "since", "until"),
    [
        # of seven days
        ("until=2026-11-20T12:00", "2026-11-13T12:00:00+00:00", "2026-11-20T12:00:00+00:00"),
        (
            "until=2026-11-20T12:00&period=24h",
            "2026-11-19T12:00:00+00:00",
            "2026-11-20T12:00:00+00:00",
        ),
        ("until=1970-01-01", "1969-12-25T00:00:00+00:00", "1970-01-01T00:00:00+00:00"),
    ],
)
def test_period_ends_at_a_date_that_is_given_alone(
    page: Browser, query: str, since: str, until: str
) -> None:
    stats = page.get(f"/api/stats?{query}", x_api_key=KEY).json
    assert (stats["since"], stats["until"]) == (since, until)


def test_empty_end_of_a_period_is_no_filter(page: Browser) -> None:
    assert page.get("/api/stats?until=", x_api_key=KEY).status == 200
    assert page.get("/figures?since=&until=2026-11-20").status == 200


def test_api_has_the_numbers_of_the_page(page: Browser) -> None:
    stats = page.get(f"/api/stats?{PERIOD}", x_api_key=KEY).json
    assert [figures["name"] for figures in stats["repositories"]] == ["octo/docs", "octo/widgets"]
    assert stats["total"]["processed"] == 7


def test_untrusted_names_are_escaped(page: Browser, filled: Storage) -> None:
    with filled.database.writing() as connection:
        docs = deliveries.c.repository == "octo/docs"
        connection.execute(deliveries.update().where(docs).values(repository=EVIL))
    count_rows(filled)
    for query in (PERIOD, f"{PERIOD}&{urlencode({'repository': f'><{EVIL}'})}"):
        shown = page.get(f"/figures?{query}").text
        assert "&lt;script&gt;alert(1)" in shown
        assert "\u202e" not in shown
        assert "<script>" not in shown
