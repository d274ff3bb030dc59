"""Matching of findings with planted defects, and the checks of replies about issues and workflows."""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.analysis import Finding, WorkflowAnalysis
from hls_handler.prompting.prompt import Library
from hls_handler.review.patches import Line, parse_patch
from hls_handler.review.positions import Located
from hls_handler.settings.model import Findings
from tests.engine.world import settings
from tests.golden.cases import IssueCase, PullRequestCase, WorkflowCase, parse_diff
from tests.golden.questions import to_question
from tests.golden.scoring import (
    Posted,
    Score,
    find_candidates,
    find_matches,
    find_posted,
    score_issue,
    score_review,
    score_workflow,
)
from tests.handlers.world import finding, issue_analysis, pull_request_analysis

SETTINGS = settings()


LINES = [f"line {number}" for number in range(1, 41)]
DIFF = "diff --git a/a.py b/a.py\nnew file mode 100644\n@@ -0,0 +1,40 @@\n" + "\n".join(f"+{line}" for line in LINES)


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
            {"about": "second", "places": [place(30), place(35)], "categories": ["security"], "severity": "low"},
        ],
    }
    return PullRequestCase.model_validate(plain | known)


def at(line: int, **known: Any) -> Finding:
    return finding(**{"path": "a.py", "line": line, "quote": f"line {line}", "title": f"at {line}", **known})


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
def test_finding_matches_a_defect_by_file_side_lines_and_category(reported: Finding, matches: set[Any]) -> None:
    assert find_matches(case(), located(reported)) == matches


def test_finding_without_a_line_is_found_by_file_and_category_or_else_invented() -> None:
    right, wrong = located(at(99), at(99, category="style", title="wrong"), line=None)
    scored = score(case(), right, wrong)
    assert (scored.found, scored.missed, scored.unanchored) == (("first",), ("second",), 2)
    assert scored.invented == ("a.py wrong",)
    assert find_candidates(case(), [wrong]) == {(0, 0), (1, 0)}


def test_judge_compares_findings_of_any_category_up_to_ten_lines_away() -> None:
    findings = located(at(20, category="style"), at(21), at(10, path="b.py"))
    assert find_candidates(case(defects=case().defects[:1]), findings) == {(0, 0)}


def test_nearest_finding_counts_and_a_second_one_about_the_defect_is_not_invented() -> None:
    scored = score(case(), *located(at(12, severity="low"), at(10)))
    assert (scored.found, scored.understated, scored.invented) == (("first",), (), ())


def test_tolerated_finding_is_not_invented_and_a_trap_is_named() -> None:
    given = case(
        tolerated=[{"about": "true", "place": place(20)}], traps=[{"about": "It is right.", "place": place(25)}]
    )
    scored = score(given, *located(at(20), at(25)))
    assert scored.invented == ("a.py:25 at 25 (trap: It is right.)",)


def test_defect_outside_of_the_profile_is_neither_found_nor_missed_nor_invented() -> None:
    unexpected = case(defects=[case().defects[0].model_copy(update={"expected": False})])
    scored = score(unexpected, *located(at(10, severity="low")))
    assert (scored.found, scored.missed, scored.invented, scored.understated) == ((), (), (), ())


def test_findings_count_as_they_would_be_posted(library: Library) -> None:
    chosen = SETTINGS.model_copy(update={"findings": Findings(min_severity="medium", min_confidence=0.5)})
    facts = to_question(case(), chosen, library, {})[0].facts
    findings = [at(10), at(99, quote="line 11"), at(12, quote="nothing"), at(1, path="no.py")]
    reply = pull_request_analysis(findings=[*findings, at(13, confidence=0.2), at(14, severity="low")])
    posted = find_posted(reply, facts)
    lines = [one.line and one.line.number for one in posted.findings]
    assert (lines, posted.reported, posted.exact) == ([10, 11, None, None], 4, 1)


ISSUE = IssueCase(
    name="crash",
    title="t",
    body="b",
    kinds=("bug",),
    priorities=("high", "medium"),
    worth_saying=True,
    missing=(("version", "release"),),
    missing_at_most=1,
    answer=(("token", "ssh  key"),),
    must_not=("sorry",),
)


def test_reply_about_an_issue_is_scored() -> None:
    reply = issue_analysis(missing=["Which Version is it?"], recommended_response="Use an SSH key.")
    score = score_issue(ISSUE, reply)
    assert (score.missed, score.invented) == ((), ())
    assert score.found == (
        "kind is bug",
        "priority is high or medium",
        "worth_saying is true",
        "missing: version or release",
        "at most 1 requests",
        "answer: token or ssh  key",
    )
    wrong = issue_analysis(
        kind="question", priority="low", worth_saying=False, missing=["Logs", "Steps"], summary="Sorry, it crashes."
    )
    score = score_issue(ISSUE, wrong)
    assert (score.found, len(score.missed), score.invented) == ((), 6, ("says 'sorry'",))


WORKFLOW = WorkflowCase(
    name="run",
    workflow="Tests",
    failed="Run make",
    changed=("a.c",),
    log=(("Set up job", ("ready",)), ("Run make", ("##[group]Run make", "##[endgroup]", "a.c:3: error: no x", "bye"))),
    quotes=("a.c:3: error: no x",),
    cause=(("no x", "declared"),),
    where=("a.c",),
    must_not=("flaky",),
)


@pytest.mark.parametrize(
    ("changes", "missed", "invented"),
    [
        ({}, (), ()),
        ({"quote": "a.c:3: error: no y"}, ("quotes the line with the cause",), ()),
        ({"cause": "", "advice": "x is not declared."}, (), ()),
        ({"cause": "It failed.", "where": []}, ("cause: no x or declared", "where: a.c"), ()),
        ({"worth_saying": False}, ("worth_saying is true",), ()),
        ({"advice": "A FLAKY test."}, (), ("says 'flaky'",)),
    ],
)
def test_reply_about_a_workflow_is_scored(
    changes: dict[str, Any], missed: tuple[str, ...], invented: tuple[str, ...], library: Library
) -> None:
    facts = to_question(WORKFLOW, SETTINGS, library, {})[0].facts
    good = {
        "worth_saying": True,
        "cause": "There is no x.",
        "quote": "a.c:3: error: no x",
        "where": [{"path": "a.c", "line": 3, "why": "The error."}],
        "advice": "",
    }
    score = score_workflow(WORKFLOW, WorkflowAnalysis.model_validate(good | changes), facts)
    assert (score.missed, score.invented) == (missed, invented)
