"""The active configuration follows the settings file, completely or not at all; its clients."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from hls_handler.engine.active_config import ActiveConfig, CachedClient, ConfigReloader
from hls_handler.engine.health import Health
from hls_handler.errors import SettingsError, StoreUnavailable
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Settings
from hls_handler.settings.reload import SettingsFile
from tests.engine.world import NOON
from tests.settings.files import SMALLEST, VARIABLES

CHANGED = SMALLEST + "features: {drafts: true}\n"


class Setup:
    """A settings file that is read again, and the errors that the next new configurations raise."""

    def __init__(self, path: Path) -> None:
        self.path, self.failing = path, list[Exception]()
        self.write(SMALLEST, modified=1)
        self.health = Health(lambda: NOON)
        file = SettingsFile(path, VARIABLES, dotenv=None)
        self.config = ActiveConfig(
            file.initial, RepositoryTable(file.initial), cast(ReloadingLibrary, None), ()
        )
        self.reloader = ConfigReloader(file, make=self._make, health=self.health)

    def read(self) -> ActiveConfig:
        new = self.reloader.reload(self.config)
        if new is not None:
            self.config = new.config
            self.reloader.report(new)
        return self.config

    def write(self, text: str, *, modified: int) -> None:
        self.path.write_text(text, encoding="utf-8")
        os.utime(self.path, (2_000_000_000 + modified,) * 2)

    def _make(self, settings: Settings, before: ActiveConfig) -> ActiveConfig:
        if self.failing:
            raise self.failing.pop(0)
        return replace(before, settings=settings, table=RepositoryTable(settings))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            SettingsError(["claude.api_key: a key has no spaces"]),
            "claude.api_key: a key has no spaces",
        ),
        (KeyError("x"), "a defect in HLS, please report it: KeyError"),
    ],
    ids=["cannot be used", "defect"],
)
def test_settings_that_cannot_be_applied_are_reported_until_the_file_changes(
    tmp_path: Path, error: Exception, message: str
) -> None:
    setup = Setup(tmp_path / "settings.yaml")
    good = setup.read()
    setup.failing = [error]
    setup.write(CHANGED, modified=2)
    with suppress(KeyError):
        setup.read()
    assert setup.read() is good
    problem = setup.health.snapshot().components["settings"].message or ""
    assert problem.endswith(f"the last valid ones stay active: {message}")
    setup.write(CHANGED, modified=3)
    assert setup.read().settings.features.drafts
    assert setup.health.snapshot().components["settings"].state == "healthy"


def test_unavailable_database_postpones_the_reload(tmp_path: Path) -> None:
    setup = Setup(tmp_path / "settings.yaml")
    setup.failing = [StoreUnavailable("locked")]
    setup.write(CHANGED, modified=2)
    with pytest.raises(StoreUnavailable):
        setup.read()
    assert setup.read().settings.features.drafts


def test_client_is_replaced_and_closed_only_when_its_settings_change() -> None:
    closed: list[str] = []
    cached: CachedClient[str, str] = CachedClient(
        lambda token: f"client of {token}", close=closed.append
    )
    assert cached.of("old") is cached.of("old")
    assert (cached.of("new"), closed) == ("client of new", ["client of old"])
    cached.close()
    cached.close()
    assert closed == ["client of old", "client of new"]
