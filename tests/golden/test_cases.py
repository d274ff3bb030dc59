"""The service shows Claude what decides about the golden cases, and the loader reports those that
are inconsistent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from hls_handler.analysis import RenderedPrompt, estimate_tokens
from hls_handler.handlers.job import VERIFY_PROMPT
from hls_handler.prompting.prompt import Library
from hls_handler.review.patches import parse_patch
from hls_handler.settings.sections import ReviewSettings
from tests.engine.world import settings
from tests.golden.asking import ask_about, refuse
from tests.golden.cases import (
    FOLDER,
    Case,
    CaseError,
    PullRequestCase,
    WorkflowCase,
    load_cases,
    load_places,
    report,
)
from tests.rounds.prompt_reader import read_prompt

CASES = load_cases()
REVIEWS = [case for case in CASES if isinstance(case, PullRequestCase)]
LOOKS = [case for case in REVIEWS if case.reported]
COMMON_NAME = ("avatars-a", "avatars-b", "exports-a")
"""Cases whose method has a name that is too common to be searched: `find`, `Write`."""


def render(case: Case, library: Library, **review: object) -> Sequence[RenderedPrompt]:
    """Return the prompts about a case with these keys of `review` in the settings."""
    given = settings().model_copy(update={"review": ReviewSettings.model_validate(review)})
    return ask_about(case, given, library, refuse).prompts


def list_shown(rendered: RenderedPrompt) -> set[tuple[str, int, str]]:
    """Return path, number and text of the lines outside of the diff that a prompt shows."""
    others = read_prompt(rendered.task).others.items()
    return {(path, line.number, line.text) for path, lines in others for line in lines}


def is_shown(case: PullRequestCase, rendered: RenderedPrompt) -> bool:
    needs = {(place.path, place.line, place.quote) for place in case.needs}
    return not needs.isdisjoint(list_shown(rendered))


def count_tokens(prompts: Iterable[RenderedPrompt]) -> int:
    return sum(estimate_tokens(one.system) + estimate_tokens(one.task) for one in prompts)


def test_the_set_has_so_many_cases_of_each_kind() -> None:
    reviews = {"defects": 49, "clean": 14, "true finding": 12, "false finding": 12}
    assert Counter(case.kind for case in CASES) == {**reviews, "issue": 14, "workflow": 6}
    assert sum(len(case.defects) for case in REVIEWS) == 73


@pytest.mark.parametrize(
    "case", [case for case in CASES if case not in LOOKS], ids=lambda case: case.name
)
def test_the_service_shows_claude_the_whole_case(case: Case, library: Library) -> None:
    prompts = render(case, library)
    if isinstance(case, PullRequestCase):
        shown = [read_prompt(one.task).patches for one in prompts]
        for file in case.files:
            lines = {line for patches in shown for line in patches.get(file.path, ())}
            assert lines >= {*parse_patch(file.patch or "").lines}
        return
    (rendered,) = prompts
    if isinstance(case, WorkflowCase):
        assert f">{case.failed}<" in rendered.task
        assert all(quote.strip() in rendered.task for quote in case.quotes)
        return
    assert case.title in rendered.task
    assert case.body.strip() in rendered.task
    answering = [section for section in case.documents if section.title == "Uploads > Limits"]
    assert all(section.text in rendered.task for section in answering)


def list_needing(folder: Path = FOLDER) -> list[PullRequestCase]:
    """Return the cases with a defect that the diff alone does not show."""
    cases = [case for case in load_cases(folder) if isinstance(case, PullRequestCase)]
    return [case for case in cases if case.needs]


@pytest.mark.parametrize(("folder", "number", "most"), [("", 15, 3), ("kept", 5, 1)])
def test_lines_that_prove_a_defect_are_shown_and_add_at_most_a_quarter_to_the_prompts(
    folder: str, number: int, most: int, library: Library
) -> None:
    cases = list_needing(FOLDER / folder)
    prompts = {case.name: render(case, library, context_tokens=4_000)[0] for case in cases}
    missing = [case.name for case in cases if not is_shown(case, prompts[case.name])]
    assert len(cases) == number
    assert len(missing) <= most, missing
    without = count_tokens(render(case, library, context_tokens=0)[0] for case in cases)
    assert without < count_tokens(prompts.values()) <= 1.25 * without


def test_places_of_changes_by_kind_are_shown_and_few_namesakes(library: Library) -> None:
    missing: list[str] = []
    namesakes: list[str] = []
    for case in load_places():
        (rendered,) = render(case, library)
        if not is_shown(case, rendered):
            missing.append(case.name)
        shown = list_shown(rendered)
        lines = {(place.path, place.line, place.quote) for place in case.namesakes}
        namesakes += sorted({path for path, _, _ in lines & shown})
    assert missing == ["py-namesake-get"]
    assert [path.rpartition("/")[2] for path in namesakes] == [
        "crm.go",
        "Station.java",
        "label.py",
    ]


# --- the second look
# -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("true", "false"), [*zip(LOOKS[::2], LOOKS[1::2], strict=True)], ids=lambda case: case.name
)
def test_second_look_shows_the_lines_that_decide_and_only_they_differ(
    true: PullRequestCase, false: PullRequestCase, library: Library
) -> None:
    def list_code(rendered: RenderedPrompt) -> set[str]:
        shown = read_prompt(rendered.task)
        files = [*shown.patches.values(), *shown.others.values()]
        return {line.text for lines in files for line in lines}

    (shown_true,), (shown_false,) = render(true, library), render(false, library)
    assert shown_true.prompt.name == VERIFY_PROMPT
    lines_true, lines_false = list_code(shown_true), list_code(shown_false)
    assert (lines_true >= {*true.deciding}) == (true.name not in COMMON_NAME)
    assert (lines_false >= {*false.deciding}) == (false.name not in COMMON_NAME)
    assert lines_true - lines_false <= {*true.deciding}


def test_names_to_look_up_show_what_decides_for_at_most_half_more_tokens(library: Library) -> None:
    def look_up(case: PullRequestCase, names: Sequence[str], library: Library) -> RenderedPrompt:
        """Render the second look at a review that reports the first defect, which hangs on names."""
        defect = case.defects[0]
        known = {
            "title": defect.about[:150],
            "body": defect.about,
            "rests_on": [],
            "confidence": 0.65,
        }
        known |= {
            "severity": defect.severity,
            "category": defect.categories[0],
            "look_up": [*names],
        }
        reported = report(**{**defect.places[0].model_dump(), **known})
        return render(case.model_copy(update={"reported": reported}), library)[0]

    cases = [*list_needing(), *list_needing(FOLDER / "kept")]
    prompts = {case.name: look_up(case, case.look_up, library) for case in cases}
    missing = [
        case.name
        for case in cases
        if not any(place.quote in prompts[case.name].task for place in case.needs)
    ]
    assert missing == ["javascript-cancelled-status"]
    plain = {case.name: look_up(case, (), library) for case in cases[15:]}
    tokens = count_tokens(prompts[name] for name in plain)
    assert count_tokens(plain.values()) < tokens <= 1.5 * count_tokens(plain.values())


# --- inconsistent cases
# -------------------------------------------------------------------------------

CASE = """
language: Python
title: Area of a square
description: It was wrong.
defects:
- about: The area is the cube of the side.
  places: [{path: app/area.py, line: 5, quote: "    return side ** 3"}]
  categories: [bugs]
  severity: high
"""
DIFF = """diff --git a/app/area.py b/app/area.py
index 1111111..2222222 100644
--- a/app/area.py
+++ b/app/area.py
@@ -3,3 +3,4 @@ SIDES = 4
 def area(side):
-    return side * 2
+    side = abs(side)
+    return side ** 3
 # end
"""
LOOK = (FOLDER / "second_look" / "frames.yaml").read_text("utf-8")


@pytest.mark.parametrize(
    ("kind", "text", "problem"),
    [
        ("pull_requests", CASE.replace("line: 5", "line: 6"), "is not line RIGHT 6 of app/area.py"),
        ("pull_requests", f"{CASE}speed: 1", "speed: Extra inputs are not permitted"),
        ("second_look", LOOK.replace("DECIDES", "x"), "must have the line DECIDES, once"),
    ],
)
def test_an_inconsistent_case_is_reported(
    tmp_path: Path, kind: str, text: str, problem: str
) -> None:
    file = tmp_path / kind / "area.yaml"
    file.parent.mkdir()
    file.write_text(text, encoding="utf-8")
    file.with_suffix(".diff").write_text(DIFF, encoding="utf-8")
    with pytest.raises(CaseError) as raised:
        load_cases(tmp_path)
    (sentence,) = raised.value.problems
    assert sentence.startswith(f"{kind}/area.yaml: ")
    assert problem in sentence
