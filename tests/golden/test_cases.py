"""The golden cases are consistent, and the loader reports those that are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from hls_handler.handlers import pull_requests, workflows
from hls_handler.handlers.failed_steps import find_quoted_line
from hls_handler.handlers.pull_requests import PullRequestHandler
from hls_handler.handlers.workflows import WorkflowHandler
from hls_handler.prompting.prompt import Library
from hls_handler.review.patches import parse_patch
from hls_handler.review.positions import locate
from hls_handler.trials.trial import Trial
from tests.engine.world import settings
from tests.golden.cases import (
    Case,
    CaseError,
    PullRequestCase,
    WorkflowCase,
    counts_by_kind,
    load_cases,
)
from tests.golden.questions import to_question
from tests.handlers.world import finding

CASES = load_cases()
PULL_REQUESTS = [case for case in CASES if isinstance(case, PullRequestCase) and not case.reported]
SETTINGS = settings()


def test_the_set_has_so_many_cases_of_each_kind() -> None:
    reviews = {"defects": 49, "clean": 14, "true finding": 12, "false finding": 12}
    assert counts_by_kind(CASES) == {**reviews, "issue": 14, "workflow": 6}
    assert sum(len(case.defects) for case in PULL_REQUESTS) == 73
    assert {len(case.defects) for case in PULL_REQUESTS} == {0, 1, 2, 3}
    assert len({case.language for case in PULL_REQUESTS}) == 17


def test_a_finding_at_a_planted_defect_is_anchored_there() -> None:
    for case in PULL_REQUESTS:
        patches = {file.path: parse_patch(file.patch or "") for file in case.files}
        for place in (place for defect in case.defects for place in defect.places):
            reported = finding(path=place.path, side=place.side, line=place.line, quote=place.quote)
            located = locate(reported, patches)
            assert located.line is not None, (case.name, place)
            named = located.finding.path, located.line.side, located.line.number
            assert named == (place.path, place.side, place.line), case.name


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_service_would_ask_claude_and_show_the_whole_case(case: Case, library: Library) -> None:
    source, name = to_question(case, SETTINGS, library, {})
    assert Trial(source, library, name, b"k").render_requests()
    # the text of an issue is never left out
    if isinstance(source.handler, PullRequestHandler):
        assert pull_requests.describe_omissions(source.facts) == ""
    if isinstance(source.handler, WorkflowHandler):
        assert workflows.describe_omissions(source.facts) == ""
    if isinstance(case, WorkflowCase):
        assert [step.step for step in source.facts.steps] == [case.failed]
        for quote in case.quotes:
            quoted = find_quoted_line(source.facts.steps, quote)
            assert quoted is not None
            assert quoted.text.strip() == quote.strip()


def test_sections_of_a_case_are_shown(library: Library) -> None:
    (case,) = [case for case in CASES if case.name == "question-documented-limit"]
    source, _ = to_question(case, SETTINGS, library, {})
    titles = [(section.path, section.title) for section in source.facts.documents]
    assert titles == [("docs/uploads.md", "Uploads > Limits"), ("docs/proxy.md", "Proxy")]


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


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            "line: 5",
            "line: 6",
            "'The area is the cube of the side.': the quote is at RIGHT 5, not at RIGHT 6",
        ),
        (
            "side ** 3",
            "side ** 2",
            "the quote '    return side ** 2' occurs 0 times in app/area.py",
        ),
        ("language: Python", "language: Python\nspeed: 1", "Extra inputs are not permitted"),
        (
            "language: Python",
            "language: Python\ntypes: [bug]",
            "'bug' is none of bug-fix, feature, refactor, docs",
        ),
    ],
)
def test_an_inconsistent_case_is_reported(tmp_path: Path, old: str, new: str, problem: str) -> None:
    file = tmp_path / "pull_requests" / "area.yaml"
    file.parent.mkdir()
    file.write_text(CASE, encoding="utf-8")
    file.with_suffix(".diff").write_text(DIFF, encoding="utf-8")
    (case,) = load_cases(tmp_path)
    assert isinstance(case, PullRequestCase)
    assert (case.name, case.kind, case.files[0].additions, case.files[0].deletions) == (
        "area",
        "defects",
        2,
        1,
    )
    file.write_text(CASE.replace(old, new), encoding="utf-8")
    with pytest.raises(CaseError) as raised:
        load_cases(tmp_path)
    assert problem in str(raised.value)
