"""Matching of findings with planted defects, and the checks of replies about issues and
workflows.
"""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.analysis import Finding
from hls_handler.prompting.prompt import Library
from hls_handler.review.patches import Line, parse_patch
from hls_handler.review.positions import Located
from hls_handler.settings.sections import Findings
from tests.engine.world import settings
from tests.golden.cases import IssueCase, PullRequestCase, parse_diff
from tests.golden.questions import to_question
from tests.golden.scoring import (
    Posted,
    Score,
    find_candidates,
    find_matches,
    find_posted,
    score_issue,
    score_review,
)
from tests.handlers.world import finding, issue_analysis, pull_request_analysis

SETTINGS = settings()


LINES = [f"line {number}" for number in range(1, 41)]
DIFF = "diff --git a/a.py b/a.py\nnew file mode 100644\n@@ -0,0 +1,40 @@\n" + "\n".join(
    f"+{line}" for line in LINES
)


def place(line: int, **known: Any) -> dict[str, Any]:
    return {"path": "a.py", "line": line, "quote": f"line {line}", **known}


def case(**known: Any) -> PullRequestCase:
    """A case with a defect of category bugs at line 10, and one of security at line 30 or 35."""
    plain = {
        "name": "a",
        "language": "Python",
        "title": "t",
        "description": "",
        "files": parse_diff(DIFF),
        "defects": [
            {"about": "first", "places": [place(10)], "categories": ["bugs"], "severity": "high"},
            {
                "about": "second",
                "places": [place(30), place(35)],
                "categories": ["security"],
                "severity": "low",
            },
        ],
    }
    return PullRequestCase.model_validate(plain | known)


def at(line: int, **known: Any) -> Finding:
    return finding(
        **{"path": "a.py", "line": line, "quote": f"line {line}", "title": f"at {line}", **known}
    )


LINE = parse_patch("@@ -0,0 +1,1 @@\n+line").hunks[0].lines[0]


def located(*findings: Finding, line: Line | None = LINE) -> list[Located]:
    """The findings at the lines that they name, or with `line=None` without one."""
    return [Located(one, line) for one in findings]


def score(given: PullRequestCase, *findings: Located) -> Score:
    return score_review(given, Posted(findings), find_matches(given, findings))


@pytest.mark.parametrize(
    ("reported", "matches"),
    [
        (at(13), {(0, 0)}),
        (at(7), {(0, 0)}),
        (at(14), set()),
        (at(20, start_line=12), {(0, 0)}),
        (at(10, category="security"), set()),
        (at(38, category="security"), {(1, 0)}),
        (at(10, side="LEFT"), set()),
        (at(10, path="b.py"), set()),
    ],
)
def test_finding_matches_a_defect_by_file_side_lines_and_category(
    reported: Finding, matches: set[Any]
) -> None:
    assert find_matches(case(), located(reported)) == matches


def test_finding_without_a_line_is_found_by_file_and_category_or_else_invented() -> None:
    right, wrong = located(at(99), at(99, category="style", title="wrong"), line=None)
    scored = score(case(), right, wrong)
    assert (scored.found, scored.missed, scored.unanchored) == (("first",), ("second",), 2)
    assert scored.invented == ("a.py wrong",)
    assert find_candidates(case(), [wrong]) == {(0, 0), (1, 0)}


def test_nearest_finding_counts_and_a_second_one_about_the_defect_is_not_invented() -> None:
    scored = score(case(), *located(at(12, severity="low"), at(10)))
    assert (scored.found, scored.understated, scored.invented) == (("first",), (), ())


def test_tolerated_finding_is_not_invented_and_a_trap_is_named() -> None:
    given = case(
        tolerated=[{"about": "true", "place": place(20)}],
        traps=[{"about": "It is right.", "place": place(25)}],
    )
    scored = score(given, *located(at(20), at(25)))
    assert scored.invented == ("a.py:25 at 25 (trap: It is right.)",)


def test_defect_outside_of_the_profile_is_neither_found_nor_missed_nor_invented() -> None:
    unexpected = case(defects=[case().defects[0].model_copy(update={"expected": False})])
    scored = score(unexpected, *located(at(10, severity="low")))
    assert (scored.found, scored.missed, scored.invented, scored.understated) == ((), (), (), ())


@pytest.mark.parametrize(
    ("types", "wrong", "has_type"),
    [
        ((), "", False),
        (("feature", "bug-fix"), "", True),
        (("refactor", "docs"), "feature in place of refactor or docs", True),
    ],
)
def test_type_of_a_review_is_compared_with_the_expected_ones(
    types: Any, wrong: str, has_type: bool
) -> None:
    scored = score_review(case(types=types), Posted((), type="feature"), frozenset())
    assert (scored.wrong_type, scored.has_type) == (wrong, has_type)


def test_quotes_of_an_issue_are_compared_without_line_breaks() -> None:
    given = IssueCase(name="a", title="t", body="b", quotes=(("set x, or y fails",), ("restart",)))
    quoted = issue_analysis(sources=[{"number": 1, "quote": "Set `x`.\nSet x,\n  or y fails."}])
    scored = score_issue(given, quoted)
    assert scored.missed == ("quotes: restart",)
    assert "quotes: set x, or y fails" in scored.found


def test_findings_count_as_they_would_be_posted(library: Library) -> None:
    chosen = SETTINGS.model_copy(
        update={"findings": Findings(min_severity="medium", min_confidence=0.5)}
    )
    facts = to_question(case(), chosen, library, {})[0].facts
    findings = [at(10), at(99, quote="line 11"), at(12, quote="nothing"), at(1, path="no.py")]
    reply = pull_request_analysis(
        findings=[*findings, at(13, confidence=0.2), at(14, severity="low")]
    )
    posted = find_posted(reply, facts)
    lines = [one.line and one.line.number for one in posted.findings]
    assert (lines, posted.reported, posted.exact) == ([10, 11, None, None], 4, 1)
