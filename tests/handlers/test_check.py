"""The decision about the check on a commit: a success is proof that everything was reviewed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import pytest

from hls_handler.actions import Annotation, EnsureCheck
from hls_handler.analysis import Receipt, Severity
from hls_handler.github.values import LabelOffer, RepositoryLabel
from hls_handler.handlers import pull_requests
from hls_handler.handlers.pull_requests import plan_review_check
from hls_handler.review.coverage import Coverage, FileCoverage
from hls_handler.review.record import LedgerEntry
from hls_handler.review.wanted_check import (
    EndedReview,
    plan_check,
    plan_ignored_check,
    plan_unreviewed_check,
)
from hls_handler.settings.sections import ReviewSettings
from tests.handlers.world import (
    file,
    gather_review,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REVIEWED = FileCoverage("area.py", lines=2, reviewed=2, reason=None, needs_review=True)
PARTLY = FileCoverage(
    "big.py", lines=4_000, reviewed=3_000, reason="the patch is too long", needs_review=True
)
SKIPPED = FileCoverage(
    "more.py", lines=0, reviewed=0, reason="over the token budget", needs_review=True
)
LOCK_FILE = FileCoverage("uv.lock", lines=0, reviewed=0, reason="lock file", needs_review=False)
RECEIPT = Receipt(2, 12_345, 678, 0.01234, prompt_ids=("pull_requests/review@3f9c2a",))
HIGH = LedgerEntry(
    "a" * 16,
    "area.py",
    "RIGHT",
    "x",
    "high",
    "bugs",
    "Wrong",
    "open",
    "",
    number=1,
    body="It is *wrong*.",
    line=3,
)


def check(
    *files: FileCoverage, findings: tuple[LedgerEntry, ...] = (), **known: Any
) -> EnsureCheck:
    coverage = Coverage(files, known.pop("unlisted", 0))
    return plan_check(EndedReview(COMMIT, coverage, findings, RECEIPT), ReviewSettings(**known))


def test_complete_review_is_a_success_with_a_receipt() -> None:
    planned = check(REVIEWED, LOCK_FILE)
    assert (planned.commit, planned.conclusion, planned.title) == (
        COMMIT,
        "success",
        "1 of 1 file reviewed",
    )
    assert planned.description == "1 of 1 file reviewed; 0.0123 USD"
    assert (
        planned.summary == "1 of 1 file that needs a review was reviewed as a whole.\n"
        "\n"
        "Cost: 0.0123 USD.\n"
        "\n"
        "### No review needed\n"
        "\n"
        "- `uv.lock`: lock file"
    )


def test_green_check_with_open_findings_begins_with_them() -> None:
    planned = check(REVIEWED, findings=(HIGH, replace(HIGH, number=4, severity="low")))
    assert planned.conclusion == "success"
    assert planned.title == "2 open findings, 1 high; 1 of 1 file reviewed"
    assert planned.description == "2 open findings, 1 high; 1 of 1 file reviewed; 0.0123 USD"
    assert planned.summary.startswith(
        "Open findings:\n"
        "\n"
        "- **Wrong** (finding 1, high): `area.py:3`\n"
        "- **Wrong** (finding 4, low): `area.py:3`\n"
        "\n"
        "1 of 1 file that needs a review was reviewed as a whole.\n"
    )


def test_check_names_a_price_only_if_settings_say_so() -> None:
    facts = gather_review(file())
    (planned,) = plan_review_check(facts, RECEIPT)
    assert "USD" not in planned.summary + planned.description
    (planned,) = plan_review_check(replace(facts, shows_cost=True), RECEIPT)
    assert "\n\nCost: 0.0123 USD." in planned.summary
    assert planned.description.endswith("; 0.0123 USD")


@pytest.mark.parametrize(("number", "found"), [(1, "1 open finding"), (2, "2 open findings")])
def test_summary_counts_undecided_findings_whatever_file_changed(number: int, found: str) -> None:
    planned = check(REVIEWED, findings=(replace(HIGH, is_undecided=True),) * number)
    hint = "`/review` of a person with write permission asks Claude again."
    assert f"\nIt is undecided whether a change fixes {found}: {hint}\n" in planned.summary


def test_summary_and_omissions_count_labels_that_the_prompt_does_not_list() -> None:
    facts = replace(
        gather_review(file()), offer=LabelOffer((RepositoryLabel("ui", ""),), 0.7, missing=30)
    )
    (planned,) = plan_review_check(facts, RECEIPT)
    assert "\nLabels were not listed: 30 of 31 labels of the repository." in planned.summary
    assert pull_requests.describe_omissions(facts) == "30 of 31 labels of the repository"


def test_summary_says_what_was_not_verified_and_not_read_again() -> None:
    facts = replace(
        gather_review(file()), unverified="Claude gave no usable reply", unanswered={0: "no budget"}
    )
    record = replace(facts.record, blocks={"area.py": ()})
    (planned,) = plan_review_check(replace(facts, is_full=True, record=record), RECEIPT)
    lines = planned.summary.split("\n")
    assert "The findings were not verified: Claude gave no usable reply." in lines
    assert "Not everything was read again, so earlier reviews count: no budget." in lines


def test_data_in_long_lines_is_named_and_leaves_a_review_complete() -> None:
    planned = check(replace(REVIEWED, data=98_304))
    assert planned.conclusion == "success"
    lines = planned.summary.split("\n")
    assert f"- `{REVIEWED.path}`: 98,304 characters of data in long lines" in lines


def test_status_names_the_reason_if_nothing_was_reviewed() -> None:
    assert check(SKIPPED).description == "0 of 1 file reviewed; 0.0123 USD: over the token budget"


def test_status_at_the_limit_of_cost_names_the_command_that_continues() -> None:
    coverage = Coverage((SKIPPED,))
    planned = plan_check(
        EndedReview(COMMIT, coverage, (), RECEIPT, is_at_limit=True), ReviewSettings()
    )
    assert planned.description.endswith("; /review continues")


@pytest.mark.parametrize(
    ("missing", "listed"),
    [
        (
            {"files": (REVIEWED, PARTLY)},
            "- `big.py`: 3000 of 4000 changed lines reviewed; the patch is too long",
        ),
        ({"files": (REVIEWED, SKIPPED)}, "- `more.py`: over the token budget"),
        ({"files": (REVIEWED,), "unlisted": 2}, "- 2 changed files beyond those that GitHub lists"),
        ({"files": (), "unlisted": 1}, "- 1 changed file beyond those that GitHub lists"),
    ],
    ids=["partly", "skipped", "unlisted", "only unlisted"],
)
@pytest.mark.parametrize("incomplete", ["neutral", "failure"])
def test_incomplete_review_is_never_a_success(
    missing: dict[str, Any], listed: str, incomplete: Literal["neutral", "failure"]
) -> None:
    given = dict(missing)
    planned = check(*given.pop("files"), incomplete=incomplete, **given)
    assert planned.conclusion == incomplete
    assert listed in planned.summary.split("\n")


@pytest.mark.parametrize(
    ("files", "title"),
    [
        ((LOCK_FILE,), "Nothing needs a review: 1 lock file"),
        ((), "Nothing needs a review: no file was changed"),
    ],
)
def test_success_without_a_review_says_that_nothing_needed_one(
    files: tuple[FileCoverage, ...], title: str
) -> None:
    planned = plan_check(EndedReview(COMMIT, Coverage(files), (), Receipt()), ReviewSettings())
    assert (planned.conclusion, planned.title, planned.description) == ("success", title, title)


@pytest.mark.parametrize(
    ("severity", "fail_on", "conclusion"),
    [
        ("critical", None, "success"),
        ("high", "high", "failure"),
        ("medium", "high", "success"),
    ],
)
def test_open_finding_fails_only_from_the_severity_that_settings_name(
    severity: Severity, fail_on: Severity | None, conclusion: str
) -> None:
    planned = check(REVIEWED, findings=(replace(HIGH, severity=severity),), fail_on=fail_on)
    assert planned.conclusion == conclusion


@pytest.mark.parametrize(
    ("findings", "known", "sentence"),
    [
        (
            (HIGH,),
            {"fail_on": "high"},
            (
                "**Finding 1 fails this check** until it is fixed by a push, or dismissed by a"
                " person with write permission: `/dismiss 1 because ...` in a comment."
            ),
        ),
        (
            (HIGH, replace(HIGH, number=4, comment_id=5), replace(HIGH, number=5, severity="low")),
            {"fail_on": "high"},
            (
                "**Findings 1 and 4 fail this check** until each is fixed by a push, or dismissed"
                " by a person with write permission: `/dismiss NUMBER because ...` in a comment, or"
                " *Resolve* in its thread."
            ),
        ),
        (
            (replace(HIGH, unseen="whether it is locked"),),
            {"fail_on": "high", "incomplete": "failure"},
            (
                "**Finding 1 fails this check** until it is fixed by a push, or dismissed by a"
                " person with write permission: `/dismiss 1 because ...` in a comment."
            ),
        ),
    ],
)
def test_red_check_says_what_turns_it_green(
    findings: tuple[LedgerEntry, ...], known: dict[str, Any], sentence: str
) -> None:
    planned = check(REVIEWED, findings=findings, **known)
    assert planned.conclusion == "failure"
    assert sentence in planned.summary.split("\n")


def test_red_check_of_an_incomplete_review_names_both_cures() -> None:
    planned = check(REVIEWED, PARTLY, findings=(HIGH,), fail_on="high", incomplete="failure")
    assert (
        "**This check fails because the review is incomplete**: `/review` of a person with write"
        " permission tries again."
    ) in planned.summary.split("\n")
    assert "**Finding 1 fails this check** until" in planned.summary


def test_open_finding_is_linked() -> None:
    coverage = Coverage((REVIEWED,))
    url = "https://github.com/o/r/pull/7#discussion_r5"
    review = EndedReview(COMMIT, coverage, (HIGH,), RECEIPT, urls={HIGH.key: url})
    planned = plan_check(review, ReviewSettings())
    assert f"- **Wrong** (finding 1, high): [`area.py:3`]({url})" in planned.summary.split("\n")


@pytest.mark.parametrize(
    ("kind", "reason", "summary"),
    [
        (
            "draft",
            "the pull request is a draft; mark it ready for review, or add features.drafts to x",
            (
                "Not reviewed: the pull request is a draft; mark it ready for review, or comment"
                " `/review` with write permission"
            ),
        ),
        ("no prompt", "no prompt has it; add it to y.yaml", "Not reviewed: no prompt has it"),
        (
            "asked to skip",
            "the title asks HLS to skip it; remove it to have it processed",
            "Not reviewed: the title asks HLS to skip it; remove it to have it processed",
        ),
    ],
)
def test_check_of_an_ignored_event_names_no_settings(kind: str, reason: str, summary: str) -> None:
    planned = plan_ignored_check(COMMIT, kind, reason, ReviewSettings(), is_exempt=False)
    assert planned.summary == summary


@pytest.mark.parametrize(
    ("findings", "fail_on", "title"),
    [
        ([HIGH], "high", "1 high finding dismissed by anna; 1 of 1 file reviewed"),
        ([HIGH, HIGH], "high", "2 high findings dismissed by anna; 1 of 1 file reviewed"),
        ([HIGH], "critical", "1 of 1 file reviewed"),
        ([HIGH], None, "1 of 1 file reviewed"),
    ],
)
def test_title_of_a_green_check_names_who_dismissed_what_would_fail_it(
    findings: Sequence[LedgerEntry], fail_on: Severity | None, title: str
) -> None:
    dismissed = tuple(replace(one, state="dismissed", dismissed_by="anna") for one in findings)
    planned = check(REVIEWED, findings=dismissed, fail_on=fail_on)
    assert (planned.conclusion, planned.title) == ("success", title)


def test_title_lists_severities_and_people_of_dismissals_and_a_failing_check_does_not() -> None:
    critical = replace(HIGH, severity="critical", state="dismissed", dismissed_by="ben")
    high = replace(HIGH, state="dismissed", dismissed_by="anna")
    low = replace(HIGH, severity="low")
    assert check(REVIEWED, findings=(high, critical, low), fail_on="high").title == (
        "1 open finding, 1 low; 1 critical and 1 high findings dismissed by anna and ben;"
        " 1 of 1 file reviewed"
    )
    assert "dismissed" not in check(REVIEWED, findings=(high, HIGH), fail_on="high").title


def test_annotations_show_lines_of_the_commit() -> None:
    removed, without_line = replace(HIGH, side="LEFT"), replace(HIGH, line=None)
    single, commented = replace(HIGH, severity="medium", body=""), replace(HIGH, comment_id=7)
    assert check(
        REVIEWED, findings=(removed, without_line, single, commented, HIGH)
    ).annotations == (
        Annotation("area.py", 3, 3, "failure", "Wrong (finding 1)", "It is *wrong*."),
        Annotation("area.py", 3, 3, "warning", "Wrong (finding 1)", "Wrong (finding 1)"),
    )


def test_rule_15_names_of_files_cannot_break_out_of_the_summary() -> None:
    planned = check(
        replace(SKIPPED, path="a`\n\n@octocat ![x](https://evil.example/x.png) <img src=x>")
    )
    assert [line for line in planned.summary.split("\n") if "octocat" in line] == [
        # all in a code span
        "- `` a` @octocat ![x](https://evil.example/x.png) <img src=x> ``: over the token budget"
    ]


def test_rule_10_credentials_are_redacted_in_annotations_and_reasons() -> None:
    token = "ghp_" + "a1B2" * 9
    planned = check(
        REVIEWED, findings=(replace(HIGH, title=f"See {token}", body=f"It is {token}."),)
    )
    ended = plan_unreviewed_check(COMMIT, "neutral", "The review failed", f"no answer with {token}")
    shown = (
        planned.annotations[0].title,
        planned.annotations[0].message,
        ended.title,
        ended.summary,
        ended.description,
    )
    assert [text for text in shown if token in text] == []
