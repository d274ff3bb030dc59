"""What the service posts about a case is compared with what is right."""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.analysis import Finding, ReplyFields
from hls_handler.prompting.prompt import Library
from tests.engine.world import settings
from tests.golden.asking import Outcome, ask_about
from tests.golden.cases import Case, IssueCase, PullRequestCase
from tests.golden.scoring import Score, find_matches, score
from tests.handlers.world import compare, finding, issue_analysis, pull_request_analysis

FILE = compare("a.py", [], [f"line {number}" for number in range(1, 41)])


def place(line: int) -> dict[str, Any]:
    return {"path": "a.py", "line": line, "quote": f"line {line}"}


def defect(about: str, category: str, severity: str, *lines: int) -> dict[str, Any]:
    places = [place(line) for line in lines]
    return {"about": about, "categories": [category], "severity": severity, "places": places}


def review_case(**known: Any) -> PullRequestCase:
    """A case with a defect of category bugs at line 10, and one of security at line 30 or 35."""
    first = defect("first", "bugs", "high", 10)
    second = defect("second", "security", "low", 30, 35)
    plain = {"name": "a", "files": [FILE], "defects": [first, second]}
    return PullRequestCase.model_validate({**plain, **known})


def at(line: int, **known: Any) -> Finding:
    plain = {"path": "a.py", "line": line, "quote": f"line {line}", "title": f"at {line}"}
    return finding(**{**plain, "confidence": 1.0, **known})


def ask(case: Case, reply: ReplyFields, library: Library, **sections: Any) -> Outcome:
    given = settings(review={"verify": False}, **sections)
    return ask_about(case, given, library, lambda _rendered, _correction: reply)


def score_findings(library: Library, *findings: Finding, **known: Any) -> Score:
    case = review_case(**known)
    return score(case, ask(case, pull_request_analysis(findings=[*findings]), library))


@pytest.mark.parametrize(
    ("reported", "matches"),
    [
        (at(13), {(0, 0)}),
        (at(7), {(0, 0)}),
        (at(14), set()),
        (at(20, start_line=12), {(0, 0)}),
        (at(10, category="security"), set()),
        (at(38, category="security"), {(1, 0)}),
    ],
)
def test_finding_matches_a_defect_by_lines_and_category(
    reported: Finding, matches: set[Any], library: Library
) -> None:
    case = review_case()
    outcome = ask(case, pull_request_analysis(findings=[reported]), library)
    assert find_matches(case, outcome) == matches


def test_finding_without_a_line_is_found_by_file_and_category_or_else_invented(
    library: Library,
) -> None:
    found = score_findings(library, at(99, quote="nothing"))
    assert (found.found, found.missed, found.invented) == (("first",), ("second",), ())
    other = score_findings(library, at(99, quote="nothing", category="performance"))
    assert (other.found, other.invented) == ((), ("a.py at 99",))


def test_nearest_finding_counts_and_a_second_one_about_the_defect_is_not_invented(
    library: Library,
) -> None:
    scored = score_findings(library, at(12, severity="low"), at(10))
    assert (scored.found, scored.understated, scored.invented) == (("first",), (), ())
    assert score_findings(library, at(10, severity="low")).understated == ("first",)


def test_tolerated_finding_is_not_invented_and_a_trap_is_named(library: Library) -> None:
    remarks = {
        "tolerated": [{"about": "true", "place": place(20)}],
        "traps": [{"about": "It is right.", "place": place(25)}],
    }
    scored = score_findings(library, at(20), at(25), **remarks)
    assert scored.invented == ("a.py:25 at 25 (trap: It is right.)",)


def test_findings_below_the_thresholds_of_the_settings_do_not_count(library: Library) -> None:
    case = review_case()
    review = pull_request_analysis(findings=[at(10, severity="low"), at(30, confidence=0.2)])
    limits = {"min_severity": "medium", "min_confidence": 0.5}
    assert ask(case, review, library, findings=limits).findings == ()


@pytest.mark.parametrize(
    ("types", "wrong"),
    [
        ((), ""),
        (("feature", "bug-fix"), ""),
        (("refactor", "docs"), "bug-fix in place of refactor or docs"),
    ],
)
def test_type_of_a_review_is_compared_with_the_expected_ones(
    types: Any, wrong: str, library: Library
) -> None:
    assert score_findings(library, types=types).wrong_type == wrong


def test_quotes_of_an_issue_are_compared_without_line_breaks(library: Library) -> None:
    case = IssueCase(name="a", title="t", body="b", quotes=(("set x, or y fails",), ("restart",)))
    reply = issue_analysis(sources=[{"number": 1, "quote": "Set `x`.\nSet x,\n  or y fails."}])
    scored = score(case, ask(case, reply, library))
    assert scored.missed == ("quotes: restart",)
    assert "quotes: set x, or y fails" in scored.found
