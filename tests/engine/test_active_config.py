"""The active configuration follows the settings file, completely or not at all; its watcher and its clients."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import cast

import pytest

from hls_handler.engine.active_config import ActiveConfig, CachedClient, ConfigReloader
from hls_handler.engine.health import ComponentHealth, Health
from hls_handler.errors import HlsError, SettingsError, StoreUnavailable
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.load import SettingsFile, SettingsReload
from hls_handler.settings.model import Settings
from tests.engine.world import NOON
from tests.settings.files import SMALLEST, VARIABLES

MODIFICATION_TIMES: Iterator[int] = count(2_000_000_000)


@dataclass
class ReloadSetup:
    """A settings file, the reloads applied from it, and the health that it reports."""

    path: Path
    health: Health = field(default_factory=lambda: Health(lambda: NOON))
    failing: list[Exception] = field(default_factory=list)  # raised, one for each configuration to be made
    applied: list[SettingsReload] = field(default_factory=list)

    def start(self) -> ConfigReloader:
        file = SettingsFile(self.path, VARIABLES, dotenv=None)
        first = ActiveConfig(file.initial, RepositoryTable(file.initial), cast(ReloadingLibrary, None), ())
        return ConfigReloader(file, first, make=self._make, follow=self._apply, health=self.health)

    def write(self, text: str) -> None:
        self.path.write_text(text, encoding="utf-8")
        os.utime(self.path, (next(MODIFICATION_TIMES),) * 2)

    @property
    def settings_health(self) -> ComponentHealth:
        return self.health.snapshot().components["settings"]

    def _make(self, settings: Settings, before: ActiveConfig) -> ActiveConfig:
        if self.failing:
            raise self.failing.pop(0)
        return replace(before, settings=settings, table=RepositoryTable(settings))

    def _apply(self, config: ActiveConfig, reload: SettingsReload) -> None:
        assert config.settings is reload.settings
        self.applied.append(reload)


@pytest.fixture
def setup(tmp_path: Path) -> ReloadSetup:
    one = ReloadSetup(tmp_path / "settings.yaml")
    one.write(SMALLEST)
    return one


def test_unchanged_file_is_not_applied(setup: ReloadSetup) -> None:
    reloader = setup.start()
    assert reloader.current() is reloader.current() is reloader.latest
    assert (setup.applied, setup.settings_health.state) == ([], "healthy")


def test_changed_file_is_applied_at_the_next_check(setup: ReloadSetup, caplog: pytest.LogCaptureFixture) -> None:
    reloader = setup.start()
    setup.write(SMALLEST.replace("owner/repo", "owner/other"))
    assert reloader.latest.table.find("owner/other") is None
    with caplog.at_level(logging.INFO):
        assert reloader.current().table.find("owner/other") is not None
    assert reloader.latest is reloader.current()
    assert [reload.changed for reload in setup.applied] == [("repositories",)]
    assert [record.message for record in caplog.records] == ["settings read again"]
    assert setup.settings_health.state == "healthy"


def test_broken_file_keeps_the_last_good_settings_and_is_reported_once(
    setup: ReloadSetup, caplog: pytest.LogCaptureFixture
) -> None:
    reloader = setup.start()
    good = reloader.latest
    setup.write(SMALLEST + "featurs: {}\n")
    with caplog.at_level(logging.INFO):
        assert reloader.current() is reloader.current() is good
    problem = f"{setup.path}:8: featurs: unknown key; did you mean features?"
    assert (
        setup.settings_health.message
        == f"the changed settings cannot be used, the last valid ones stay active: {problem}"
    )
    assert [record.message for record in caplog.records] == ["settings cannot be used, the last valid ones stay active"]
    setup.write(SMALLEST)
    reloader.current()
    assert setup.settings_health.state == "healthy"


def test_change_that_needs_a_restart_is_reported_until_it_is_reverted(setup: ReloadSetup) -> None:
    reloader = setup.start()
    setup.write(SMALLEST + "server: {port: 9000}\nfeatures: {drafts: true}\n")
    assert reloader.current().settings.server.port == 8000
    assert reloader.current().settings.features.drafts
    assert (setup.settings_health.state, setup.settings_health.message, setup.settings_health.remedy) == (
        "degraded",
        f"changed settings take effect only after a restart: {setup.path}:8 (server.port)",
        "restart HLS, or undo the change",
    )
    setup.write(SMALLEST)
    reloader.current()
    assert setup.settings_health.state == "healthy"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (SettingsError(["claude.api_key: a key has no spaces"]), "claude.api_key: a key has no spaces"),
        (KeyError("x"), "a defect in HLS, please report it: KeyError"),
    ],
    ids=["cannot be used", "defect"],
)
def test_settings_that_cannot_be_applied_are_reported_until_the_file_changes(
    setup: ReloadSetup, error: Exception, message: str
) -> None:
    reloader = setup.start()
    good = reloader.latest
    setup.failing = [error]
    setup.write(SMALLEST + "features: {drafts: true}\n")
    try:
        reloader.current()
    except KeyError:
        assert not isinstance(error, HlsError)
    assert reloader.current() is good
    assert (setup.settings_health.message or "").endswith(f"the last valid ones stay active: {message}")
    setup.write(SMALLEST + "features: {drafts: true} \n")
    assert reloader.current().settings.features.drafts


def test_unavailable_database_postpones_the_reload(setup: ReloadSetup) -> None:
    reloader = setup.start()
    setup.failing = [StoreUnavailable("locked")]
    setup.write(SMALLEST + "features: {drafts: true}\n")
    with pytest.raises(StoreUnavailable):
        reloader.current()
    assert reloader.current().settings.features.drafts


def test_client_is_replaced_and_closed_only_when_its_settings_change() -> None:
    closed: list[str] = []
    cached: CachedClient[str, str] = CachedClient(lambda token: f"client of {token}", close=closed.append)
    assert cached.of("old") is cached.of("old")
    assert (cached.of("new"), closed) == ("client of new", ["client of old"])
    cached.close()
    cached.close()
    assert closed == ["client of old", "client of new"]
