"""Fixtures for the tests of the console."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hls_handler.store.storage import Storage
from tests.console.browser import KEY, Browser
from tests.sqlite import create_database


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Storage]:
    opened = Storage.open(create_database(tmp_path / "hls.db"))
    yield opened
    opened.close()


@pytest.fixture
def browser(store: Storage) -> Browser:
    return Browser(store, api_key=KEY)
