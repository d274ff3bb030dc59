"""Detection of expected webhooks that do not arrive."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from hls_handler.background.checks import Expectation, expectations, find_silence, last_received
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Settings
from tests.engine.world import NOON
from tests.settings.files import SMALLEST, load

FILE = (
    "server: {expect_webhook_within_h: 24}\n"
    + SMALLEST
    + """
    expect_webhook_within_h: 0.5
  - name: owner/*
    expect_webhook_within_h: 72
  - name: other/*
"""
)
ANY = Expectation("", "server.expect_webhook_within_h", "", timedelta(hours=24))
ONE = Expectation("owner/repo", "repositories[0].expect_webhook_within_h", "repositories[0]", timedelta(minutes=30))
OWNER = Expectation("owner/*", "repositories[1].expect_webhook_within_h", "repositories[1]", timedelta(hours=72))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(tmp_path, FILE)


def test_expectations_cover_the_server_and_each_entry(settings: Settings) -> None:
    assert expectations(settings) == (ANY, ONE, OWNER)


def test_last_received_covers_the_repositories_of_an_entry(settings: Settings) -> None:
    times = {
        "": NOON,
        "owner/repo": NOON - timedelta(hours=1),
        "Owner/Tools": NOON - timedelta(hours=3),
        "owner/docs": NOON - timedelta(hours=4),
        "other/x": NOON - timedelta(hours=2),
        "unlisted/x": NOON - timedelta(hours=2),
    }
    table = RepositoryTable(settings)
    assert [last_received(one, times, table) for one in (ANY, ONE, OWNER)] == [
        NOON,
        NOON - timedelta(hours=1),
        NOON - timedelta(hours=3),
    ]
    assert last_received(ONE, {"": NOON}, table) is None


@pytest.mark.parametrize(
    ("expected", "last_h", "since_h", "message"),
    [
        (ANY, 24, 500, None),
        (ANY, None, 24, None),
        (
            ANY,
            24.1,
            500,
            "no webhook for 24.1 h: the last came at 2026-11-19 11:54 UTC; settings.yaml:1 expects one within 24 h",
        ),
        (
            ONE,
            None,
            48,
            (
                "no webhook of owner/repo for 48.0 h: none came since 2026-11-18 12:00 UTC; "
                "settings.yaml:1 expects one within 0.5 h"
            ),
        ),
    ],
    ids=["in time", "newly expected", "overdue", "never"],
)
def test_find_silence_reports_overdue_webhooks(
    expected: Expectation, last_h: float | None, since_h: float, message: str | None
) -> None:
    last = None if last_h is None else NOON - timedelta(hours=last_h)
    since = NOON - timedelta(hours=since_h)
    assert find_silence(expected, last, since=since, now=NOON, where="settings.yaml:1") == message
