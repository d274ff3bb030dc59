"""Which other places of a repository reviews show, for twenty changes by kind."""

from __future__ import annotations

from tests.golden.places.cases import load_places


def test_the_lines_that_cases_name_are_in_their_repositories() -> None:
    assert len(load_places()) == 20
