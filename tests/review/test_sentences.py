"""The sentences of a review's comment, which agree with their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from hls_handler.analysis import FileSummary
from hls_handler.github.values import MergeState
from hls_handler.prompting.render import RuleView
from hls_handler.prompting.variables import sample_values
from hls_handler.review.coverage import FileCoverage
from hls_handler.review.record import OpenFinding
from hls_handler.review.skipped_files import SkippedFile
from hls_handler.review.suggested_reviewers import Reviewer
from hls_handler.review.variables import ShownFinding, describe_failing
from tests.prompting.samples import review_comment

RULE = RuleView("pull_request.opened", "a", dry_run=False, agent_prompt=True)
FINDING = replace(sample_values(ShownFinding)[0], unseen="")
UNPROVED = replace(FINDING, unseen="what callers pass")
OPEN = sample_values(OpenFinding)[1]
MERGE = MergeState(False, (), "", is_behind=False, is_blocked=False)
SUMMARY = FileSummary(path="a.py", summary="New.")
LOCK_FILE = SkippedFile("a.lock", "lock file")
UNKNOWN = "changed; this review could not tell whether that fixes"
UNWANTED = "that the settings do not ask for, by category, severity or certainty."
AGAIN = "A maintainer's `/review` looks again."


@pytest.mark.parametrize(
    ("failing", "undecided", "text"),
    [
        (1, 0, "**1 finding still fails the check.** It is still there"),
        (2, 0, "**2 findings still fail the check.** They are still there"),
        (1, 1, f"**1 finding still fails the check.** Its line {UNKNOWN} it. {AGAIN}"),
        (2, 2, f"**2 findings still fail the check.** Their lines {UNKNOWN} them. {AGAIN}"),
        (2, 1, f"**2 findings still fail the check.** The line of 1 {UNKNOWN} it. {AGAIN}"),
        (3, 2, f"**3 findings still fail the check.** The lines of 2 {UNKNOWN} them. {AGAIN}"),
    ],
)
def test_findings_that_fail_the_check(failing: int, undecided: int, text: str) -> None:
    assert describe_failing(failing, undecided) == text


@pytest.mark.parametrize(
    ("lines", "text"), [(1, "0 of 1 changed line"), (2, "0 of 2 changed lines")]
)
def test_extent_of_a_review_of_a_file(lines: int, text: str) -> None:
    assert FileCoverage("a.py", lines, 0, None, needs_review=True).extent == text


@pytest.mark.parametrize(
    ("requests", "text"),
    [
        (None, "code owner"),
        (0, "code owner, 0 open review requests"),
        (1, "code owner, 1 open review request"),
    ],
)
def test_description_of_a_reviewer(requests: int | None, text: str) -> None:
    assert Reviewer("mona", "code owner", requests).description == text


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"findings": (FINDING,)}, "**1 finding** in"),
        ({"findings": (UNPROVED,)}, "**1 finding** in ` `, not proved:"),
        ({"findings": (FINDING, FINDING)}, "**2 findings** in ` `, the most severe first:"),
        ({"findings": (FINDING, UNPROVED)}, "the most severe first, 1 of them not proved:"),
        ({"findings": (FINDING,) * 51}, "And 1 more finding, for which there is no room here."),
        ({"findings": (FINDING,) * 52}, "And 2 more findings, for which there is no room here."),
        ({"unseen": 1}, "**1 open finding hangs on what was not shown**, as of"),
        ({"unseen": 2}, "**2 open findings hang on what was not shown**, as of"),
        ({"unrepeated": (FINDING,) * 21}, "And 1 more that is still open."),
        ({"unrepeated": (FINDING,) * 22}, "And 2 more that are still open."),
        ({"dismissals": (FINDING,) * 21}, "And 1 more that is dismissed."),
        ({"dismissals": (FINDING,) * 22}, "And 2 more that are dismissed."),
        ({"held_back": 1}, f"Left out: 1 finding {UNWANTED}"),
        ({"held_back": 2}, f"Left out: 2 findings {UNWANTED}"),
        ({"merge": replace(MERGE, open_threads=1)}, "1 thread of this bot is unresolved."),
        ({"merge": replace(MERGE, open_threads=2)}, "2 threads of this bot are unresolved."),
        ({"unlisted": 1}, "Not reviewed: 1 file that GitHub does not list."),
        ({"unlisted": 2}, "Not reviewed: 2 files that GitHub does not list."),
        ({"file_summaries": (SUMMARY,)}, "<summary>What changes in 1 file</summary>"),
        ({"file_summaries": (SUMMARY,) * 2}, "<summary>What changes in 2 files</summary>"),
        ({"skipped": (LOCK_FILE,)}, "<summary>1 file needs no review</summary>"),
        ({"skipped": (LOCK_FILE,) * 2}, "<summary>2 files need no review</summary>"),
    ],
)
def test_comment_agrees_with_its_numbers(variables: Mapping[str, Any], sentence: str) -> None:
    assert sentence in review_comment(rule=RULE, **variables)


@pytest.mark.parametrize(("number", "findings"), [(1, "1 open finding"), (2, "2 open findings")])
def test_comment_without_room_for_the_prompt_for_an_agent(number: int, findings: str) -> None:
    text = review_comment(1, rule=RULE, open_findings=(OPEN,) * number)
    assert f"too long for the prompt for a coding agent with {findings}." in text
