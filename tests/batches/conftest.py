"""Fixture with a backlog."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.batches.backlog import Backlog
from tests.engine.world import BUG, open_world
from tests.handlers.conversation import open_home


@pytest.fixture
def backlog() -> Iterator[Backlog]:
    """octo/hello with the open issues 12 (which HLS may not know), 7 and 8; Claude says bug."""
    with open_world() as world:
        home = open_home(world)
        home.go_live()
        home.says(BUG)
        found = Backlog(home)
        for number in (7, 8):
            found.add_issue(number)
        yield found
