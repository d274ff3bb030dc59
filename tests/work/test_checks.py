"""What the probe looks at, by the settings that are in force when it does."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import create_engine, text

from hls_handler.errors import DependencyDown
from hls_handler.prompting.live import LiveLibrary
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.file import SettingsFile
from hls_handler.settings.model import Settings
from hls_handler.store import Store
from hls_handler.work.checks import checks
from hls_handler.work.health import Health
from hls_handler.work.identity import WhoWeAre
from hls_handler.work.in_force import InForce, Renewal
from hls_handler.work.ports import Github
from tests.settings.files import SMALLEST, VARIABLES
from tests.work.fakes import CLAUDE_DOWN, HLS, FakeGithub
from tests.work.world import NOON, MakeWorld


def renewal_of(folder: Path, store: Store) -> Renewal:
    path = folder / "settings.yaml"
    path.write_text(SMALLEST, encoding="utf-8")
    file = SettingsFile(path, VARIABLES, dotenv=None)
    we = WhoWeAre(store, token="t", base_url="https://api.github.com")
    first = InForce(file.first, RepositoryTable(file.first), cast(LiveLibrary, None), we)
    return Renewal(
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
    }
    assert [check.component for check in looks] == ["store", "queue", "github", "claude"]
    assert renewal.latest.we.known == HLS
    assert models == ["claude-haiku-5-5"]


@pytest.mark.parametrize("component", ["github", "claude"])
def test_what_is_held_is_not_asked(make_world: MakeWorld, tmp_path: Path, component: str) -> None:
    one = make_world()
    one.store.hold_pace(component, NOON.replace(year=2099))

    def unused(_settings: Settings) -> Github:
        raise AssertionError("it was asked")

    looks = checks(one.store, renewal_of(tmp_path, one.store), github=unused, lookup_model=unused)
    with pytest.raises(DependencyDown, match="nothing is asked of it until 12:00:00 UTC"):
        next(check for check in looks if check.component == component).look()


def test_trouble_of_a_dependency_is_passed_on(make_world: MakeWorld, tmp_path: Path) -> None:
    one = make_world()

    def down(_settings: Settings) -> object:
        raise CLAUDE_DOWN

    looks = checks(one.store, renewal_of(tmp_path, one.store), github=lambda _: FakeGithub(), lookup_model=down)
    with pytest.raises(DependencyDown, match="529"):
        looks[-1].look()


def test_what_stands_behind_nobody_is_let_through(make_world: MakeWorld, tmp_path: Path) -> None:
    one = make_world()
    looks = checks(
        one.store, renewal_of(tmp_path, one.store), github=lambda _: FakeGithub(), lookup_model=lambda _: None
    )
    one.accept()
    one.accept(guid="second")
    engine = create_engine(f"sqlite:///{tmp_path}/hls.db")
    with engine.begin() as connection:  # as an older version does, which knows no marks
        connection.execute(text("UPDATE deliveries SET state = 'done' WHERE guid <> 'second'"))
    engine.dispose()
    assert one.claim() is None
    next(check for check in looks if check.component == "queue").look()
    lease = one.claim()
    assert lease is not None
    assert lease.guid == "second"
