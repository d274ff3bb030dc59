"""Which other places of a repository reviews show, for changes by kind."""

from __future__ import annotations

from pathlib import Path

from hls_handler.prompting.prompt import Library
from tests.golden.places.cases import load_places
from tests.golden.places.measure import measure_golden, measure_places


def test_the_lines_that_cases_name_are_in_their_repositories() -> None:
    assert len(load_places()) == 24


def test_reviews_show_the_needed_places_few_namesakes_and_few_tokens(
    library: Library, tmp_path: Path
) -> None:
    measured = measure_places(load_places(), library, tmp_path)
    assert measured.found >= 22, measured.missing
    assert len(measured.namesakes) * 12 <= measured.shown, measured.namesakes
    assert measured.share <= 0.12


def test_other_places_take_at_most_an_eighth_of_the_questions_about_golden_cases(
    library: Library, tmp_path: Path
) -> None:
    measured = measure_golden(library, tmp_path)
    assert measured.found >= 13, measured.missing
    assert measured.share <= 0.12
