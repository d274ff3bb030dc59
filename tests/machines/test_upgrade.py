"""An upgrade of a database that a killed process of an earlier version left with work in flight."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tests.db.released.make import stored_github
from tests.db.test_upgrades import released, restore
from tests.machines.upgrade import continue_work, open_world


@pytest.mark.parametrize("revision", released())
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_upgrade_doubles_nothing_follows_findings_and_takes_an_earlier_run_back(
    engine: str, revision: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = restore(engine, revision, tmp_path, request)
    github = gzip.decompress(stored_github(engine, revision).read_bytes())
    (tmp_path / "github.json").write_bytes(github)
    with open_world(tmp_path, url) as world:
        continue_work(world)
