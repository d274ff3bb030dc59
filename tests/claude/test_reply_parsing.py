"""Replies as gateways and models send them: what is read, and what is refused with which reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hls_handler.analysis import (
    Finding,
    FindingVerdicts,
    IssueAnalysis,
    PullRequestAnalysis,
    WorkflowAnalysis,
)
from hls_handler.claude.reply_parsing import UnreadableReply, parse_reply

ISSUE: dict[str, Any] = {
    "worth_saying": True,
    "kind": "bug",
    "priority": "high",
    "difficulty": "easy",
    "component": "none",
    "field_confidence": None,
    "summary": "s",
    "missing": [],
    "recommended_response": "Try --flag.",
    "suggested_labels": [],
    "sources": [],
    "same_as": None,
}
BARE = json.dumps(ISSUE)
FINDING: dict[str, Any] = {
    "path": "a.py",
    "side": "RIGHT",
    "start_line": None,
    "line": 3,
    "quote": "x = 1",
    "body": "It fails.",
    "suggestion": None,
    "category": "bugs",
    "severity": "high",
    "confidence": 0.9,
    "continues": None,
    "rests_on": [],
    "look_up": [],
    "title": "Fails",
}


def review(*findings: object) -> str:
    return json.dumps(
        {
            "type": "feature",
            "summary": "s",
            "earlier": [],
            "findings": findings,
            "suggested_labels": [],
        }
    )


def parse_issue(text: str) -> IssueAnalysis:
    parsed = parse_reply(text, IssueAnalysis)
    assert parsed.lost == {}
    return parsed.reply


def parse_finding(**changes: object) -> Finding:
    parsed = parse_reply(review({**FINDING, **changes}), PullRequestAnalysis)
    assert parsed.lost == {}
    return parsed.reply.findings[0]


@pytest.mark.parametrize(
    "text",
    [
        BARE,
        f"```json\n{BARE}\n```",
        f"\ufeff{BARE}",
        (
            f"Here is {{the}} analysis:\n\n```json\n{json.dumps(ISSUE, indent=2)}\n```\n\nTell me"
            " if {you} need more."
        ),
        f"It may be {json.dumps({**ISSUE, 'kind': 'question'})}, no.\n</thinking>\n{BARE}",
        f"{BARE}\n{BARE}",
        f'{{"name": "reply", "input": {BARE}}}',
        f'The manifest {{"kind": "Deployment"}} is rejected.\n{BARE}',
        f"<Thinking>{json.dumps({**ISSUE, 'kind': 'question'})}</Thinking>\n{BARE}",
        BARE.replace("[]}", "[],}"),
    ],
)
def test_object_is_found_in_the_text_around_it(text: str) -> None:
    assert parse_issue(text) == IssueAnalysis(**ISSUE)


@pytest.mark.parametrize("text", ['see [1,] and {"a": 1,}', "</think> is a tag", 'a "quote'])
def test_text_in_strings_stays_as_it_is(text: str) -> None:
    assert parse_issue(f"```json\n{json.dumps({**ISSUE, 'summary': text})}\n```").summary == text


def test_line_breaks_and_invalid_escapes_in_strings_are_read() -> None:
    assert (
        parse_issue(BARE.replace("Try --flag.", "Try\n--flag.")).recommended_response
        == "Try\n--flag."
    )
    text = BARE.replace('"summary": "', '"summary": "re.compile(r\'\\d+\\\\.\\n\') ')
    assert parse_issue(text).summary == "re.compile(r'\\d+\\.\n') " + IssueAnalysis(**ISSUE).summary


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"missing": None, "recommended_response": None},
            {"missing": [], "recommended_response": ""},
        ),
        ({"worth_saying": None}, {"worth_saying": False}),
        ({"kind": "Bug", "priority": "HIGH "}, {"kind": "bug", "priority": "high"}),
        ({"worth_saying": "true"}, {"worth_saying": True}),
        ({"reasoning": "because"}, {}),
        ({"summary": "y" * 2001}, {"summary": f"{'y' * 1999}…"}),
    ],
)
def test_values_are_made_to_fit_their_fields(
    changes: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert parse_issue(json.dumps({**ISSUE, **changes})) == IssueAnalysis(**{**ISSUE, **expected})


@pytest.mark.parametrize(
    ("given", "read"), [(95, 0.95), ("95", 0.95), (250, 1.0), (-0.5, 0.0), (None, 0.0)]
)
def test_confidence_in_percent_or_out_of_bounds_is_read(given: object, read: float) -> None:
    assert parse_finding(confidence=given).confidence == read


def test_blank_names_to_look_up_are_left_out() -> None:
    assert parse_finding(look_up=["", None, "close"]).look_up == ["close"]


def test_quote_may_be_as_long_as_the_line() -> None:
    assert parse_finding(quote="x" * 9_000).quote == "x" * 9_000


def test_replacement_code_that_is_too_long_is_left_out_and_not_cut() -> None:
    assert parse_finding(suggestion="x = 1\n" * 1_000).suggestion is None


def test_field_that_may_be_null_may_be_missing() -> None:
    finding = {key: value for key, value in FINDING.items() if value is not None}
    parsed = parse_reply(review(finding), PullRequestAnalysis)
    assert (parsed.reply.findings, parsed.lost) == ([Finding(**FINDING)], {})
    assert parse_issue(BARE.replace('"field_confidence": null, ', "")).field_confidence is None


@pytest.mark.parametrize(
    ("name", "empty"),
    [("sources", []), ("missing", []), ("suggested_labels", []), ("recommended_response", "")],
)
def test_list_or_optional_text_that_a_reply_lacks_is_empty(name: str, empty: object) -> None:
    given = {key: value for key, value in ISSUE.items() if key != name}
    assert parse_issue(json.dumps(given)) == IssueAnalysis(**{**ISSUE, name: empty})


def test_optional_texts_of_other_replies_may_be_missing() -> None:
    finding = {key: value for key, value in FINDING.items() if key != "rests_on"}
    given = {"type": "feature", "summary": "s", "findings": [finding]}
    parsed = parse_reply(json.dumps(given), PullRequestAnalysis)
    assert (
        parsed.reply.findings,
        parsed.reply.earlier,
        parsed.reply.suggested_labels,
        parsed.lost,
    ) == (
        [Finding(**FINDING)],
        [],
        [],
        {},
    )
    workflow = parse_reply('{"worth_saying": true, "cause": "c"}', WorkflowAnalysis).reply
    assert (workflow.cause, workflow.quote, workflow.where, workflow.advice) == ("c", "", [], "")


@pytest.mark.parametrize("name", ["summary", "kind", "worth_saying"])
def test_reply_that_lacks_another_field_cannot_be_used(name: str) -> None:
    given = {key: value for key, value in ISSUE.items() if key != name}
    with pytest.raises(UnreadableReply, match=f"^{name}: is missing"):
        parse_reply(json.dumps(given), IssueAnalysis)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"type": "feature", "summary": "s"}', "findings: is missing"),
        (
            '{"type": "feature", "summary": "s", "findings": null}',
            "findings: expected a list",
        ),
    ],
)
def test_review_without_findings_cannot_be_used(text: str, problem: str) -> None:
    with pytest.raises(UnreadableReply) as caught:
        parse_reply(text, PullRequestAnalysis)
    assert str(caught.value) == problem


def test_second_look_without_verdicts_cannot_be_used() -> None:
    with pytest.raises(UnreadableReply, match="verdicts: expected a list"):
        parse_reply('{"verdicts": null}', FindingVerdicts)


def test_finding_that_cannot_be_used_is_left_out_with_the_reason() -> None:
    parsed = parse_reply(review(FINDING, {**FINDING, "line": "?"}, "none"), PullRequestAnalysis)
    assert parsed.reply.findings == [Finding(**FINDING)]
    assert parsed.lost == {
        "findings": (
            "1 of 3 entries of findings in Claude's reply could be used (findings.1.line:"
            " expected a whole number; findings.2: expected an object)"
        )
    }


def test_list_of_findings_that_is_too_long_is_cut_with_the_reason() -> None:
    parsed = parse_reply(review(*[FINDING] * 51), PullRequestAnalysis)
    assert len(parsed.reply.findings) == 50
    assert parsed.lost == {
        "findings": "50 of 51 entries of findings in Claude's reply could be used"
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "",
            (
                "the reply: it has no JSON object with the fields worth_saying, sources, kind,"
                " priority, difficulty, "
            ),
        ),
        (BARE[:-1], "the reply: Invalid JSON: Expecting ',' delimiter: line 1 column 2"),
        (
            BARE + BARE.replace('"bug"', '"question"'),
            "the reply: it has 2 JSON objects that differ; one is needed",
        ),
        (BARE.replace("}", ', "kind": "bug"}'), "the reply: the key kind occurs twice"),
        (
            BARE.replace('"bug"', '"feature"'),
            "kind: expected 'bug', 'enhancement', 'question', 'documentation'",
        ),
        (
            BARE.replace('"s"', '"\\ud800"'),
            "summary: expected text",
        ),
        (BARE.replace('"s"', "9" * 5000), "the reply: Invalid JSON: "),
        (BARE.replace('"s"', "[" * 100_000), "the reply: Invalid JSON: it is nested too deeply"),
    ],
)
def test_reply_that_cannot_be_used_names_the_problem(text: str, problem: str) -> None:
    with pytest.raises(UnreadableReply) as caught:
        parse_reply(text, IssueAnalysis)
    assert str(caught.value).startswith(problem)
