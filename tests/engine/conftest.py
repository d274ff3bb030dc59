"""Fixtures: worlds that are closed when the test ends, and a folder for prompts that several tests
load once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hls_handler.settings.model import Settings
from tests.engine.claude import FakeClaude
from tests.engine.world import BUG, MakeWorld, World, open_world


@pytest.fixture
def make_world() -> Iterator[MakeWorld]:
    """Function that makes a world in which Claude returns these replies in order."""
    with ExitStack() as stack:

        def make(
            *replies: object, given: Settings | None = None, is_clock_fixed: bool = False
        ) -> World:
            claude = FakeClaude(list(replies) or [BUG])  # type: ignore[arg-type]
            return stack.enter_context(
                open_world(replies=claude, given=given, is_clock_fixed=is_clock_fixed)
            )

        yield make


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for prompts. Loading takes seconds, and `load_cached` loads equal files at the same
    place once.
    """
    return tmp_path_factory.mktemp("prompts")
