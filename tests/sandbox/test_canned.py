"""Canned replies are valid for every schema and fit the text."""

from __future__ import annotations

from typing import Any

import anthropic
import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hls_handler.analysis import REPLY_TYPES, IssueAnalysis, IssueResponse, PullRequestAnalysis, ReviewAnalysis
from hls_handler.events import parse_event
from hls_handler.prompting import recorded
from hls_handler.review.patches import parse_patch
from hls_handler.sandbox import derived
from hls_handler.sandbox.canned import canned_reply
from hls_handler.sandbox.reading import Note, PatchOfFile, Reading, read_request

NOTHING = Reading("", "", ())


def schema_of(name: str) -> dict[str, Any]:
    return anthropic.transform_schema(REPLY_TYPES[name].model_json_schema())


def issue(title: str, body: str = "") -> IssueAnalysis:
    return IssueAnalysis.model_validate(canned_reply(schema_of("issue_analysis"), Reading(title, body, ())))


def shipped(name: str) -> IssueAnalysis:
    one = recorded.load(name)
    conversation = parse_event(one.event, "g", one.body).conversation
    assert conversation is not None
    return issue(conversation.title, conversation.body)


def patches_at(name: str) -> tuple[PatchOfFile, ...]:
    pull: Any = recorded.load(name).payload["pull_request"]
    files: Any = derived.files_at(pull["head"]["sha"])
    lines = {file["filename"]: parse_patch(file["patch"]) for file in files if "patch" in file}
    return tuple(
        PatchOfFile(path, tuple(line for hunk in patch.hunks for line in hunk.lines)) for path, patch in lines.items()
    )


def review(name: str) -> PullRequestAnalysis:
    pull: Any = recorded.load(name).payload["pull_request"]
    reading = Reading(pull["title"], pull["body"], patches_at(name))
    return PullRequestAnalysis.model_validate(canned_reply(schema_of("pull_request_analysis"), reading))


@pytest.mark.parametrize(
    ("title", "body", "kind", "priority", "difficulty", "component"),
    [
        ("App crashes on start", "Error 500 in the api", "bug", "high", "moderate", "backend"),
        ("How do I sort the list?", "", "question", "medium", "moderate", "none"),
        ("Typo in the README", "", "documentation", "low", "easy", "none"),
        ("It would be nice to have a dark page", "", "enhancement", "low", "moderate", "frontend"),
        ("Upgrade the postgres dependency", "", "maintenance", "medium", "moderate", "database"),
        ("Deadlock and wrong totals", "", "bug", "medium", "complex", "none"),
    ],
)
def test_an_issue_is_classified_by_keywords(
    title: str, body: str, kind: str, priority: str, difficulty: str, component: str
) -> None:
    analysis = issue(title, body)
    assert (analysis.kind, analysis.priority, analysis.difficulty, analysis.component) == (
        kind,
        priority,
        difficulty,
        component,
    )


def test_the_recorded_bug_lacks_nothing() -> None:
    analysis = shipped("demo/bug")
    assert (analysis.worth_saying, analysis.kind, analysis.priority, analysis.missing) == (True, "bug", "high", [])
    assert analysis.component == "backend"
    assert analysis.summary == (
        "Checkout answers 500 when the cart holds a product that was taken off the catalogue. Since the release of "
        "last week, customers cannot finish an order when one of the products in their cart has been taken off the "
        "catalogue in the meantime."
    )
    assert "try `shop/checkout.py` alone" in analysis.recommended_response


def test_the_recorded_question_is_a_question() -> None:
    analysis = shipped("demo/question")
    assert (analysis.kind, analysis.component, analysis.missing) == ("question", "database", [])
    assert analysis.summary == (
        "How can I run the nightly importer against a read replica? Our nightly product import takes about 40 minutes "
        "and slows the checkout down while it runs."
    )


def test_a_short_bug_report_is_missing_details() -> None:
    assert issue("It crashes all the time", "Every day.").missing == [
        "Which version do you use?",
        "Which steps lead to it, starting from a fresh installation?",
        "What does the log say at that moment?",
        "What did you expect to happen instead?",
    ]


def test_lists_respect_max_items() -> None:
    items = {"type": "array", "items": {"type": "string"}, "description": "{maxItems: 2}"}
    schema = {"type": "object", "properties": {"missing": items}, "additionalProperties": False}
    assert len(canned_reply(schema, Reading("It crashes", "Every day.", ()))["missing"]) == 2


def test_a_few_words_are_not_worth_a_comment() -> None:
    assert issue("hm").worth_saying is False
    assert issue("It crashes at start").worth_saying is True


def test_an_answer_repeats_quoted_names_and_is_not_certain() -> None:
    reading = Reading("Where is the port set?", "I found `DATABASE_URL` only.", ())
    answer = IssueResponse.model_validate(canned_reply(schema_of("issue_response"), reading))
    assert answer.certain is False
    assert "DATABASE_URL" in answer.answer


@pytest.mark.parametrize("name", ["demo/feature", "demo/feature-push"])
def test_every_finding_quotes_a_line_of_its_patch(name: str) -> None:
    shown = {(patch.path, line.side, line.number, line.text) for patch in patches_at(name) for line in patch.lines}
    findings = review(name).findings
    assert findings
    for finding in findings:
        assert (finding.path, finding.side, finding.line, finding.quote) in shown


def test_the_recorded_pull_request_has_findings_of_every_category_and_the_push_fixes_some() -> None:
    first, pushed = review("demo/feature"), review("demo/feature-push")
    assert {finding.category for finding in first.findings} == {"bugs", "security", "performance", "style"}
    assert {finding.side for finding in first.findings} == {"LEFT", "RIGHT"}
    assert first.findings[0].severity == "critical"
    assert {finding.title for finding in pushed.findings} < {finding.title for finding in first.findings}
    assert "SQL built from a value" not in {finding.title for finding in pushed.findings}


def test_suggestions_replace_the_quoted_line() -> None:
    by_title = {finding.title: finding for finding in review("demo/feature").findings}
    comparison = by_title["Comparison with None"]
    assert (comparison.quote, comparison.suggestion) == ("    if row == None:", "    if row is None:")
    loop = by_title["The last element is never looked at"]
    assert loop.suggestion == "    for i in range(len(codes)):"


def test_summary_of_a_pull_request_counts_its_lines() -> None:
    analysis = review("demo/feature")
    assert analysis.type == "feature"
    assert "It adds 86 lines and removes 19, in `migrations/0007_discount_codes.sql`" in analysis.summary


def test_custom_fields_get_values() -> None:
    schema = {
        "type": "object",
        "properties": {
            "area": {"enum": ["billing", "search", "none"]},
            "team": {"enum": ["red", "blue"]},
            "since": {"type": "string", "format": "date"},
            "affected_version": {"type": "string", "description": "as the reporter names it, or empty"},
            "headline": {"type": "string", "description": "{maxLength: 5}"},
            "findings": {"type": "array", "items": {"type": "string"}, "minItems": 1},
            "numbers": {"type": "array", "items": {"type": "integer"}},
            "guess": {"anyOf": [{"type": "null"}, {"type": "number"}]},
            "never": {"type": "null"},
            "version": {"const": 3},
            "both": {"allOf": [{"type": "integer"}, {"description": "x"}]},
        },
        "additionalProperties": False,
    }
    reply = canned_reply(schema, Reading("Search is slow", "", ()))
    jsonschema.validate(reply, schema)
    assert reply["area"] == "search"
    assert reply["affected_version"] == ""
    assert reply["headline"] == "Searc"
    assert reply["findings"] == ["Search is slow"]
    assert reply["numbers"] == []
    assert canned_reply(schema, Reading("Other words", "", ()))["area"] == "none"


LEAVES = st.sampled_from(
    [
        {"type": "string"},
        {"type": "string", "format": "uuid"},
        {"type": "integer"},
        {"type": "number"},
        {"type": "boolean"},
        {"type": "null"},
        {"enum": ["a", 1, None]},
        {"const": "x"},
    ]
)


def larger(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Return schemas of objects, lists and alternatives of smaller schemas."""
    names = st.sampled_from(["kind", "requests", "findings", "missing", "summary", "other"])
    objects = st.dictionaries(names, inner, max_size=4).map(
        lambda parts: {"type": "object", "properties": parts, "required": [*parts], "additionalProperties": False}
    )
    lists = st.tuples(inner, st.sampled_from([0, 1])).map(
        lambda pair: {"type": "array", "items": pair[0], "minItems": pair[1]}
    )
    return objects | lists | inner.map(lambda part: {"anyOf": [part, {"type": "null"}]})


@given(schema=st.recursive(LEAVES, larger, max_leaves=8), title=st.text(max_size=20))
def test_every_schema_gets_a_valid_value(schema: dict[str, Any], title: str) -> None:
    for reading in (NOTHING, Reading(title, "", patches_at("demo/feature"))):
        flaws = jsonschema.Draft202012Validator(schema).iter_errors(canned_reply(schema, reading))
        assert [flaw.message for flaw in flaws] == []


@pytest.mark.parametrize(
    ("name", "values", "text", "chosen"),
    [
        ("component", ["mobile", "backend", "none"], "The mobile app hangs", "mobile"),
        ("component", ["mobile", "backend", "none"], "The api hangs", "backend"),
        ("component", ["mobile", "backend", "none"], "It hangs", "none"),
        ("component", ["mobile", "web"], "The web app hangs", "web"),
        ("kind", ["incident", "bug"], "An incident", "incident"),
        ("kind", ["bug", "question"], "Who knows?", "question"),
        ("kind", ["bug", "question"], "Something", "bug"),
    ],
)
def test_custom_enum_values_are_chosen_if_the_text_has_them(
    name: str, values: list[str], text: str, chosen: str
) -> None:
    schema = {"type": "object", "properties": {name: {"enum": values}}}
    assert canned_reply(schema, Reading(text, "", ())) == {name: chosen}


def test_values_of_an_enum_list_are_chosen_if_the_text_contains_them() -> None:
    schema = {"type": "array", "items": {"enum": ["api", "docs", "web"]}}
    assert canned_reply(schema, Reading("Web and API differ", "", ())) == ["api", "web"]
    assert canned_reply({**schema, "minItems": 1}, NOTHING) != []


def test_sentences_of_a_review_become_requests() -> None:
    notes = (
        Note(None, "Nice work. Please add a test!\n\nWhat about zero?"),
        Note(1, "It must not be `None`. Nit: I would call this `reply`."),
        Note(2, "I like this."),
    )
    reply = ReviewAnalysis.model_validate(canned_reply(schema_of("review_analysis"), Reading("T", "", (), notes)))
    assert reply.summary == "Asked for: 4, of which 2 must be done."
    assert [(one.comment, one.quote, one.todo, one.blocking) for one in reply.requests] == [
        (None, "Please add a test!", "Add a test!", True),
        (None, "What about zero?", "Answer: What about zero?", False),
        (1, "It must not be `None`.", "It must not be `None`.", True),
        (1, "Nit: I would call this `reply`.", "I would call this `reply`.", False),
    ]


def test_a_review_without_requests_gets_an_empty_list() -> None:
    reading = Reading("T", "", (), (Note(None, "Exactly right."),))
    reply = ReviewAnalysis.model_validate(canned_reply(schema_of("review_analysis"), reading))
    assert (reply.summary, reply.requests) == ("", [])


def test_a_prompt_can_replace_the_words_for_a_value() -> None:
    for text, priority in (
        ("A crash", "medium"),
        ("Fire!", "high"),
        ('priority "low" only for: crash. Crash', "medium"),
    ):
        prompt = f'Priority "high" only for: data loss, fire.\nTitle: <untrusted a1>{text}</untrusted a1>'
        rule, _, user = prompt.partition("\n")
        for request in (
            {"messages": [{"role": "user", "content": prompt}]},
            {"system": [{"type": "text", "text": rule}], "messages": [{"role": "user", "content": user}]},
        ):
            reply = canned_reply(schema_of("issue_analysis"), read_request(request))
            assert IssueAnalysis.model_validate(reply).priority == priority
