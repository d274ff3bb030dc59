"""A review shows the lines that prove a defect outside of the diff, and few others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hls_handler.prompting.prompt import Library
from hls_handler.question import estimate_tokens
from hls_handler.review.patches import parse_numbered
from hls_handler.settings.sections import Review
from hls_handler.trials.trial import Trial
from tests.engine.world import settings
from tests.golden.cases import FOLDER, PullRequestCase, load_cases
from tests.golden.places.cases import load_places
from tests.golden.questions import to_question


def load(folder: str = "") -> list[PullRequestCase]:
    return [
        case
        for case in load_cases(FOLDER / folder)
        if isinstance(case, PullRequestCase) and case.needs
    ]


def ask(case: PullRequestCase, library: Library, **known: Any) -> Trial:
    """Return the question about a case with these keys of `review` in the settings."""
    chosen = settings().model_copy(update={"review": Review(**known)})
    source, name = to_question(case, chosen, library, {})
    return Trial(source, library, name, b"key")


def is_shown(case: PullRequestCase, trial: Trial) -> bool:
    facts: Any = trial.source.facts
    shown = {
        (site.path, line.number, line.text)
        for site in facts.second_sites
        for line in parse_numbered(f"@@ -1 +1 @@\n{site.text}").lines
    }
    return any((place.path, place.line, place.quote) in shown for place in case.needs)


def count_tokens(trials: Iterable[Trial]) -> int:
    rendered = (one for trial in trials for one in trial.render_requests())
    return sum(estimate_tokens(one.system) + estimate_tokens(one.task) for one in rendered)


def test_the_lines_that_prove_a_defect_are_shown_and_add_at_most_a_quarter_to_the_prompts(
    library: Library,
) -> None:
    cases = load()
    trials = [ask(case, library, context_tokens=4_000) for case in cases]
    missing = [
        case.name for case, trial in zip(cases, trials, strict=True) if not is_shown(case, trial)
    ]
    assert len(cases) == 15
    assert len(missing) <= 3, missing
    without = count_tokens(ask(case, library, context_tokens=0) for case in cases)
    assert without < count_tokens(trials) <= 1.25 * without


def test_the_lines_that_prove_a_defect_of_the_kept_cases_are_shown(library: Library) -> None:
    cases = load("kept")
    missing = [case.name for case in cases if not is_shown(case, ask(case, library))]
    assert len(cases) == 5
    assert len(missing) <= 1, missing


def test_the_places_of_changes_by_kind_are_shown_and_few_namesakes(library: Library) -> None:
    missing: list[str] = []
    namesakes: list[str] = []
    for case in load_places():
        pull = case.pull_request()
        facts: Any = ask(pull, library).source.facts
        shown = {
            f"{site.path}: {line[9:].strip()}"
            for site in facts.second_sites
            for line in site.text.split("\n")
        }
        if shown.isdisjoint(case.needs):
            missing.append(case.name)
        texts = {path: text.split("\n") for path, text in case.files().items()}
        about = {
            f"{site.path}: {texts[site.path][site.line - 1].strip()}" for site in facts.second_sites
        }
        namesakes += sorted(about.intersection(case.namesakes))
    assert missing == ["py-namesake-get"]
    assert [line.partition(":")[0] for line in namesakes] == [
        "internal/crm/crm.go",
        "src/main/java/com/acme/power/Station.java",
        "parcels/label.py",
    ]
