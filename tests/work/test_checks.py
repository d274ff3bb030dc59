"""What the probe looks at, by the settings that are in force when it does."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import cast

import pytest

from hls_handler.errors import DependencyDown
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.load import SettingsFile
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.work.active_config import ActiveConfig, BotAccount, ConfigReloader
from hls_handler.work.checks import checks
from hls_handler.work.health import ComponentHealth, Health
from hls_handler.work.ports import Github
from hls_handler.work.probe import Probe
from tests.queue.builders import ignored
from tests.settings.files import SMALLEST, VARIABLES
from tests.work.fakes import CLAUDE_DOWN, HLS, FakeGithub
from tests.work.world import NOON, MakeWorld, World


def renewal_of(folder: Path, store: Storage, text: str = SMALLEST) -> ConfigReloader:
    path = folder / "settings.yaml"
    path.write_text(text, encoding="utf-8")
    file = SettingsFile(path, VARIABLES, dotenv=None)
    bot = BotAccount(store, token="t", base_url="https://api.github.com")
    first = ActiveConfig(file.first, RepositoryTable(file.first), cast(ReloadingLibrary, None), bot)
    return ConfigReloader(
        file, first, make=lambda _settings, _before: first, follow=lambda *_: None, health=Health(lambda: NOON)
    )


def test_github_is_asked_who_we_are_and_claude_for_its_model(make_world: MakeWorld, tmp_path: Path) -> None:
    one = make_world()
    renewal = renewal_of(tmp_path, one.store)
    models: list[str] = []

    def github(settings: Settings) -> Github:
        assert settings is renewal.latest.settings
        return FakeGithub()

    looks = checks(
        one.store, renewal, github=github, lookup_model=lambda settings: models.append(settings.claude.model)
    )
    figures = {check.component: check.look() for check in looks}
    assert {name: found is None for name, found in figures.items()} == {
        "store": False,  # its size
        "queue": True,
        "github": True,
        "claude": True,
        "webhooks": True,
    }
    assert [check.component for check in looks] == ["store", "queue", "github", "claude", "webhooks"]
    assert renewal.latest.bot.known == HLS
    assert models == ["claude-haiku-5-5"]


@pytest.mark.parametrize("component", ["github", "claude"])
def test_what_is_held_is_not_asked(make_world: MakeWorld, tmp_path: Path, component: str) -> None:
    one = make_world()
    one.store.rate_limiter.hold(component, one.store.now().replace(hour=12, minute=0, second=0) + timedelta(days=1))

    def unused(_settings: Settings) -> Github:
        raise AssertionError("it was asked")

    looks = checks(one.store, renewal_of(tmp_path, one.store), github=unused, lookup_model=unused)
    with pytest.raises(DependencyDown, match="no requests until 12:00:00 UTC"):
        next(check for check in looks if check.component == component).look()


def test_trouble_of_a_dependency_is_passed_on(make_world: MakeWorld, tmp_path: Path) -> None:
    one = make_world()

    def down(_settings: Settings) -> object:
        raise CLAUDE_DOWN

    looks = checks(one.store, renewal_of(tmp_path, one.store), github=lambda _: FakeGithub(), lookup_model=down)
    with pytest.raises(DependencyDown, match="529"):
        next(check for check in looks if check.component == "claude").look()


EXPECTING = "server: {expect_webhook_within_h: 24}\n" + SMALLEST + "    expect_webhook_within_h: 72\n"


def webhooks(one: World, folder: Path, text: str) -> ComponentHealth:
    """What /health says of webhooks after one look."""
    told = Health(lambda: NOON)
    looks = checks(
        one.store, renewal_of(folder, one.store, text), github=lambda _: FakeGithub(), lookup_model=lambda _: None
    )
    Probe([check for check in looks if check.component == "webhooks"], told).look()
    return told.snapshot().components["webhooks"]


def test_webhooks_that_settings_expect_and_that_do_not_come_are_told(make_world: MakeWorld, tmp_path: Path) -> None:
    one = make_world()
    assert webhooks(one, tmp_path, EXPECTING).state == "healthy"
    one.skew.append(timedelta(hours=25))
    silent = webhooks(one, tmp_path, EXPECTING)
    assert silent.state == "degraded"
    assert silent.message is not None
    assert silent.message.startswith("no webhook for 25.0 h: none came since ")
    assert silent.message.endswith("settings.yaml:1 (server.expect_webhook_within_h) expects one within 24 h")
    assert silent.remedy is not None
    assert "Recent Deliveries" in silent.remedy
    one.store.queue.accept([ignored("g")], replay_window_h=0)
    assert webhooks(one, tmp_path, EXPECTING).state == "healthy"


def test_where_no_webhooks_are_expected_nothing_is_said_of_them(make_world: MakeWorld, tmp_path: Path) -> None:
    one = make_world()
    one.skew.append(timedelta(hours=9999))
    assert webhooks(one, tmp_path, SMALLEST) == ComponentHealth("unknown", NOON)


def queue(one: World, folder: Path) -> ComponentHealth:
    """What /health says of the queue after one look."""
    told = Health(lambda: NOON)
    looks = checks(one.store, renewal_of(folder, one.store), github=lambda _: FakeGithub(), lookup_model=lambda _: None)
    Probe([check for check in looks if check.component == "queue"], told).look()
    return told.snapshot().components["queue"]


def test_a_pause_is_told_so_that_nobody_forgets_it(make_world: MakeWorld, tmp_path: Path) -> None:
    one = make_world(stands_still=True)
    one.skew.append(timedelta(seconds=30))
    one.accept()
    one.store.pauses.pause("codertocat/hello-world", reason="a migration")
    one.store.pauses.pause(None, reason=None)
    one.skew.append(timedelta(hours=1))  # longer than anything may be due that is not paused
    assert queue(one, tmp_path) == ComponentHealth(
        "degraded",
        NOON,
        "everything is paused since 2026-11-20 12:00 UTC; codertocat/hello-world is paused since 2026-11-20 12:00 UTC: "
        "a migration; 1 of 1 queued wait for that",
        "when that is over: `hls resume`, `hls resume codertocat/hello-world`",
    )
    one.store.pauses.resume(None)
    one.store.pauses.resume("Codertocat/Hello-World")
    stuck = queue(one, tmp_path)
    assert stuck.message is not None
    assert stuck.message.startswith(
        "1 deliveries are due, the oldest for 3600 s, and no worker is busy: start `hls serve`"
    )
    one.accept(guid="other", thread=9)
    one.skew.append(timedelta(hours=1))
    assert one.claim() is not None
    busy = queue(one, tmp_path)
    assert busy.message is not None
    assert "raise limits.concurrency" in busy.message
