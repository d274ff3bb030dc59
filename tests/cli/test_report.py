"""`hls report`: the figures of a repository as Markdown and JSON."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from hls_handler.db.tables import findings
from hls_handler.db.values import to_ms
from hls_handler.deliveries import End
from hls_handler.storage import Storage
from tests.cli.conftest import SETTINGS, Hls
from tests.queue.builders import begin
from tests.store.test_proposals import mixed, save


@pytest.fixture
def report(hls: Hls, store: Storage) -> Hls:
    store.queue.finish(begin(store, "g1", number=7), End("done", ""), took_s=1)
    row = {
        "repository_id": 1,
        "bot_login": "hls",
        "number": 7,
        "category": "bugs",
        "severity": "high",
    }
    row |= {
        "prompt_id": "p@1",
        "details": "{}",
        "raised_at": to_ms(store.now()) - 1,
        "changed_at": 0,
    }
    states = ("fixed", "dismissed", "open")
    rows = [{**row, "finding_key": state, "state": state, "is_accepted": False} for state in states]
    with store.database.writing() as connection:
        connection.execute(findings.insert(), rows)
    return partial(hls, "report")


def test_markdown_has_signal_against_noise_and_every_figure(report: Hls) -> None:
    lines = report("Octo/Widgets").stdout.splitlines()
    assert lines[0] == "# HLS in Octo/Widgets"
    assert "**Signal against noise: people acted on 1 of 2 decided findings (50.0%).**" in lines
    assert [line for line in lines if line.startswith("| ")] == [
        "| figure | value |",
        "| deliveries processed | 1 |",
        "| of these dead letters | 0 |",
        "| pull requests analysed | 0 |",
        "| findings raised | 3 |",
        "| findings accepted | 0 |",
        "| findings fixed | 1 |",
        "| findings dismissed | 1 |",
        "| findings ignored | 0 |",
        "| labels kept | 0 |",
        "| labels corrected | 0 |",
        "| time to the first reply, p50, estimated | unknown |",
        "| time to the first reply, p95, estimated | unknown |",
        "| cost | $0.00 |",
    ]


def test_retention_that_is_shorter_than_the_period_is_named(report: Hls, folder: Path) -> None:
    (folder / "settings.yaml").write_text(SETTINGS.replace("url:", "keep_days: 31, url:"))
    missing = "Deliveries are deleted after 31 days (`storage.keep_days`): numbers of"
    assert missing in report("octo/widgets", "--days", "32").stdout
    assert missing not in report("octo/widgets", "--days", "31").stdout


def test_json_has_the_keys_of_the_api(report: Hls) -> None:
    document = json.loads(report("octo/widgets", "--json").stdout)
    assert (document["repository"], document["total"]["findings"]["decided"]) == ("octo/widgets", 2)


def test_report_ends_with_proposals(report: Hls, store: Storage) -> None:
    save(store, *mixed(11, 10, category="bugs"))
    message = (
        "octo/widgets: people with write permission dismissed 11 of 21 findings on bugs within 30"
        " days, apart from those that fail the check. `hls learn octo/widgets` drafts a rule for"
        " .github/hls.md, or leave bugs out of review.categories"
    )
    assert report("octo/widgets").stdout.endswith(f"\n\n{message}.\n")
    (proposal,) = json.loads(report("octo/widgets", "--json").stdout)["proposals"]
    assert proposal["message"] == message


def test_repository_without_deliveries_is_a_problem_with_a_next_step(report: Hls) -> None:
    result = report("octo/none", "--days", "7")
    assert (result.exit_code, result.stdout) == (1, "")
    assert (
        "no delivery of octo/none ended within 7 days: `hls deliveries list` shows which"
        in result.stderr
    )
