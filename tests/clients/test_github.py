"""The GitHub client of one worker."""

from __future__ import annotations

from hls_handler.clients.github import connect
from hls_handler.clients.rate import RateLimitMonitor
from hls_handler.clients.writer import DryRunWriter, GithubWriter
from hls_handler.events import Account
from tests.clients.conftest import NOON, github_settings
from tests.clients.fake_github import FakeGithub
from tests.clients.fake_memory import FakeMemory
from tests.clients.test_labels import WriteSlots
from tests.clients.test_reader import ISSUE


def test_one_connection_serves_account_access_and_reads(github: FakeGithub, meter: RateLimitMonitor) -> None:
    github.issue = ISSUE
    client = connect(github_settings(github.base_url), observe=meter.observe, now=lambda: NOON)
    assert github.calls == []
    bot = client.fetch_bot_account()
    assert bot == Account("hls-bot", 9001, "User")
    assert client.access("o/r").missing == ("the account may not set labels in o/r: it needs the role triage or write",)
    assert client.reader("o/r").issue(7).title == "It crashes"
    client.close()
    assert github.calls == ["GET /user", "GET /repos/o/r", "GET /repos/o/r/issues/7"]
    assert meter.use.requests_made == 3
    assert github.connections == 1


def test_a_dry_run_gets_a_writer_that_cannot_write(github: FakeGithub, meter: RateLimitMonitor) -> None:
    client = connect(github_settings(github.base_url), observe=meter.observe, now=lambda: NOON)
    bot = Account("hls-bot", 9001, "User")
    kinds = [
        type(
            client.writer(
                "o/r",
                bot=bot,
                memory=FakeMemory(),
                wait_for_slot=WriteSlots(),
                check_lease=lambda: None,
                dry_run=dry_run,
            )
        )
        for dry_run in (True, False)
    ]
    client.close()
    assert kinds == [DryRunWriter, GithubWriter]
