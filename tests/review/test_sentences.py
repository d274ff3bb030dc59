"""The sentences of a review's comment, which agree with their numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hls_handler.analysis import FileSummary
from hls_handler.github.values import MergeState
from hls_handler.review.coverage import FileCoverage
from hls_handler.review.skipped_files import SkippedFile
from hls_handler.review.suggested_reviewers import Reviewer
from hls_handler.review.variables import describe_failing, describe_more, write_sentences
from tests.handlers.world import pull_request_analysis
from tests.review.pushes import Pushes, found

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
    ("number", "text"),
    [
        (20, ""),
        (21, "And 1 more that is still open."),
        (22, "And 2 more that are still open."),
    ],
)
def test_earlier_findings_that_are_not_listed(number: int, text: str) -> None:
    assert describe_more(number, "still open") == text


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
    ("number", "sentences"),
    [
        (
            1,
            [
                "1 finding",
                "not proved",
                "And 1 more finding, for which there is no room here.",
                f"Left out: 1 finding {UNWANTED}",
                "1 thread of this bot is unresolved.",
                "1 file that GitHub does not list",
                "What changes in 1 file",
                "This comment is too long for the prompt for a coding agent with 1 open finding.",
                "1 file needs no review",
            ],
        ),
        (
            2,
            [
                "2 findings",
                "0 of them not proved",
                "And 2 more findings, for which there is no room here.",
                f"Left out: 2 findings {UNWANTED}",
                "2 threads of this bot are unresolved.",
                "2 files that GitHub does not list",
                "What changes in 2 files",
                "This comment is too long for the prompt for a coding agent with 2 open findings.",
                "2 files need no review",
            ],
        ),
    ],
)
def test_sentences_agree_with_their_numbers(number: int, sentences: list[str]) -> None:
    paths = ["a.py", "b.py"][:number]
    findings = [found(path, 1, "x = 1") for path in paths]
    pushes = Pushes()
    pushes.push(dict.fromkeys(paths, "x = 1\n"), findings=findings)
    facts = pushes.job.facts
    skipped = tuple(SkippedFile(path, "lock file") for path in paths)
    unwanted = [found(path, 1, "x = 1", category="style") for path in paths]
    facts = replace(
        facts,
        unlisted=number,
        selection=replace(facts.selection, skipped=skipped),
        file_summaries=tuple(FileSummary(path=path, summary="New.") for path in paths),
        merge=MergeState(False, (), "", is_behind=False, is_blocked=False, open_threads=number),
        reply=pull_request_analysis(findings=[*findings, *unwanted]),
    )
    written = write_sentences(facts)
    assert [
        written.raised,
        written.unproved,
        written.no_room[number],
        written.held_back,
        written.threads,
        written.unlisted,
        written.summarized,
        written.no_agent_prompt,
        written.unneeded,
    ] == sentences
