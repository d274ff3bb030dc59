"""A review shows the lines that prove a defect outside of the diff, and few others."""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.handlers.pull_request_facts import PullRequestFacts
from hls_handler.prompting.prompt import Library
from hls_handler.prompting.render import estimate_tokens
from hls_handler.review.patches import parse_numbered
from hls_handler.settings.model import Review
from hls_handler.trials.trial import Trial
from tests.engine.world import settings
from tests.golden.cases import FOLDER, PullRequestCase, load_cases
from tests.golden.questions import to_question


def load(folder: str = "") -> list[PullRequestCase]:
    return [case for case in load_cases(FOLDER / folder) if isinstance(case, PullRequestCase) and case.needs]


def is_shown(case: PullRequestCase, library: Library) -> bool:
    facts: Any = to_question(case, settings(), library, {})[0].facts
    assert isinstance(facts, PullRequestFacts)
    shown = {
        (site.path, line.number, line.text)
        for site in facts.second_sites
        for hunk in parse_numbered(f"@@ -1 +1 @@\n{site.text}").hunks
        for line in hunk.lines
    }
    return any((place.path, place.line, place.quote) in shown for place in case.needs)


@pytest.mark.parametrize(("folder", "cases", "most"), [("", 15, 3), ("kept", 5, 1)])
def test_the_lines_that_prove_a_defect_are_shown(folder: str, cases: int, most: int, library: Library) -> None:
    missing = [case.name for case in load(folder) if not is_shown(case, library)]
    assert len(load(folder)) == cases
    assert len(missing) <= most, missing


def count_tokens(library: Library, context_tokens: int) -> int:
    chosen = settings().model_copy(update={"review": Review(context_tokens=context_tokens)})
    questions = (to_question(case, chosen, library, {}) for case in load())
    rendered = (one for source, name in questions for one in Trial(source, library, name, b"key").render_requests())
    return sum(estimate_tokens(one.system) + estimate_tokens(one.task) for one in rendered)


def test_other_places_add_at_most_a_quarter_to_the_prompts(library: Library) -> None:
    without, tokens = count_tokens(library, 0), count_tokens(library, 4_000)
    assert without < tokens <= 1.25 * without
