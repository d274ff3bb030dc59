"""How many connections the limit of open files allows."""

from __future__ import annotations

import resource

import pytest

from hls_handler.web.files import connections_within, ensure_files, needed


@pytest.mark.parametrize(
    ("files", "connections"),
    [(1024, 500), (596, 500), (595, 499), (256, 160), (100, 16), (20, 16)],
    ids=["plenty", "just enough", "one too few", "macOS's default", "hardly any", "fewer than we need"],
)
def test_rule_3_connections_leave_the_service_files_of_its_own(files: int, connections: int) -> None:
    assert connections_within(files, 500, workers=4) == connections


def test_rule_3_what_is_needed_is_enough_for_the_connections_that_are_wanted() -> None:
    assert needed(500, workers=4) == 596
    assert connections_within(needed(20_000, workers=200), 20_000, workers=200) == 20_000


def test_the_limit_is_raised_as_far_as_needed_and_never_lowered() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
        assert ensure_files(150) == 150
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (200, hard)
        assert ensure_files(250) == 250
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (250, hard)
        assert ensure_files(hard + 1) == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
