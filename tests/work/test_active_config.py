"""What is in force follows the settings' file: as a whole, or not at all."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import cast

import pytest

from hls_handler.errors import HlsError, SettingsError, StoreUnavailable
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.load import SettingsFile, SettingsReload
from hls_handler.settings.model import Settings
from hls_handler.work.active_config import ActiveConfig, BotAccount, ConfigReloader
from hls_handler.work.health import ComponentHealth, Health
from tests.settings.files import SMALLEST, VARIABLES

LATER: Iterator[int] = count(2_000_000_000)
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@dataclass
class Reign:
    """A settings file, what is in force by it, and what was told of changes."""

    path: Path
    health: Health = field(default_factory=lambda: Health(lambda: NOON))
    failing: list[Exception] = field(default_factory=list)  # raised, one for each time something is to be made
    followed: list[SettingsReload] = field(default_factory=list)

    def begin(self) -> ConfigReloader:
        file = SettingsFile(self.path, VARIABLES, dotenv=None)
        first = ActiveConfig(
            file.first, RepositoryTable(file.first), cast(ReloadingLibrary, None), cast(BotAccount, None)
        )
        return ConfigReloader(file, first, make=self._make, follow=self._follow, health=self.health)

    def write(self, text: str) -> None:
        self.path.write_text(text, encoding="utf-8")
        os.utime(self.path, (next(LATER),) * 2)

    @property
    def told(self) -> ComponentHealth:
        return self.health.snapshot().components["settings"]

    def _make(self, settings: Settings, before: ActiveConfig) -> ActiveConfig:
        if self.failing:
            raise self.failing.pop(0)
        return replace(before, settings=settings, table=RepositoryTable(settings))

    def _follow(self, in_force: ActiveConfig, step: SettingsReload) -> None:
        assert in_force.settings is step.settings
        self.followed.append(step)


@pytest.fixture
def reign(tmp_path: Path) -> Reign:
    one = Reign(tmp_path / "settings.yaml")
    one.write(SMALLEST)
    return one


def test_unchanged_files_change_nothing(reign: Reign) -> None:
    renewal = reign.begin()
    assert renewal.current() is renewal.current() is renewal.latest
    assert (reign.followed, reign.told.state) == ([], "healthy")


def test_a_change_is_in_force_from_the_next_look_on(reign: Reign, caplog: pytest.LogCaptureFixture) -> None:
    renewal = reign.begin()
    reign.write(SMALLEST.replace("owner/repo", "owner/other"))
    assert renewal.latest.table.find("owner/other") is None
    with caplog.at_level(logging.INFO):
        assert renewal.current().table.find("owner/other") is not None
    assert renewal.latest is renewal.current()
    assert [step.changed for step in reign.followed] == [("repositories",)]
    assert [record.message for record in caplog.records] == ["settings read again"]
    assert reign.told.state == "healthy"


def test_a_broken_file_leaves_the_last_good_one_in_force_and_is_told_once(
    reign: Reign, caplog: pytest.LogCaptureFixture
) -> None:
    renewal = reign.begin()
    good = renewal.latest
    reign.write(SMALLEST + "featurs: {}\n")
    with caplog.at_level(logging.INFO):
        assert renewal.current() is renewal.current() is good
    problem = f"{reign.path}:8: featurs: unknown key; did you mean features?"
    assert reign.told.message == f"the changed settings cannot be used, the last good ones stay: {problem}"
    assert [record.message for record in caplog.records] == ["settings cannot be used, the last good ones stay"]
    reign.write(SMALLEST)
    renewal.current()
    assert reign.told.state == "healthy"


def test_what_needs_a_restart_is_told_until_it_is_taken_back(reign: Reign) -> None:
    renewal = reign.begin()
    reign.write(SMALLEST + "server: {port: 9000}\nfeatures: {drafts: true}\n")
    assert renewal.current().settings.server.port == 8000
    assert renewal.current().settings.features.drafts
    assert (reign.told.state, reign.told.message, reign.told.remedy) == (
        "degraded",
        f"needs a restart, and keeps its old value until then: {reign.path}:8 (server.port)",
        "restart HLS, or take the change back",
    )
    reign.write(SMALLEST)
    renewal.current()
    assert reign.told.state == "healthy"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (SettingsError(["claude.api_key: a key has no spaces"]), "claude.api_key: a key has no spaces"),
        (KeyError("x"), "a defect in HLS, please report it: KeyError"),
    ],
    ids=["cannot be used", "defect"],
)
def test_what_cannot_be_made_of_the_settings_is_told_until_the_file_changes(
    reign: Reign, error: Exception, message: str
) -> None:
    renewal = reign.begin()
    good = renewal.latest
    reign.failing = [error]
    reign.write(SMALLEST + "features: {drafts: true}\n")
    try:
        renewal.current()
    except KeyError:
        assert not isinstance(error, HlsError)
    assert renewal.current() is good
    assert (reign.told.message or "").endswith(f"the last good ones stay: {message}")
    reign.write(SMALLEST + "features: {drafts: true} \n")
    assert renewal.current().settings.features.drafts


def test_a_store_that_is_away_puts_it_off(reign: Reign) -> None:
    renewal = reign.begin()
    reign.failing = [StoreUnavailable("locked")]
    reign.write(SMALLEST + "features: {drafts: true}\n")
    with pytest.raises(StoreUnavailable):
        renewal.current()
    assert renewal.current().settings.features.drafts
