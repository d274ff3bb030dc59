"""Fixture that opens a repository for conversations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.engine.world import open_world
from tests.handlers.conversation import Home, open_home

OpenHome = Callable[..., Home]


@pytest.fixture
def opened() -> Iterator[OpenHome]:
    """Function that opens octo/hello; its arguments are keys of the repository's settings."""
    with ExitStack() as stack:
        yield lambda **entry: open_home(stack.enter_context(open_world()), **entry)


@pytest.fixture
def home(opened: OpenHome) -> Home:
    return opened()
