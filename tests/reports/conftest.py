"""Reports read the store by its public methods, so SQLite is enough."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sqlite import create_database


@pytest.fixture
def url(tmp_path: Path) -> str:
    return create_database(tmp_path / "hls.db")
