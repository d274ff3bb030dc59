"""The prompt library of the tests, which takes a second to load."""

from __future__ import annotations

import pytest

from hls_handler.prompting.prompt import Library
from tests.engine import world


@pytest.fixture(scope="session")
def library() -> Library:
    return world.library()
