"""The author's own fields: what becomes of a reply type, and what an author is told who gets it wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from hls_handler.analysis import IssueAnalysis, Reply, ReviewAnalysis
from hls_handler.clients.claude import request_schema
from hls_handler.prompting.fields import any_version, unasked_reply
from hls_handler.prompting.library import Library
from hls_handler.prompting.plausible import plausible
from hls_handler.prompting.render import render, render_comment
from hls_handler.sandbox.claude_rules import check_request
from tests.prompting.samples import ANALYSIS, EVIL, KEY, issue_variables, load
from tests.prompting.test_library_errors import front, problems

FIELDS = """
  kind: {enum: [bug, question]}
  component: {type: string, enum: [payments, search, none], description: the team that owns it}
  affected_version: {type: string, description: "as the reporter names it, or empty"}
  areas: {type: list, enum: [api, docs]}
  steps: {type: list}
  reporters: {type: integer}
  certainty: {type: number}
  regression: {type: boolean}
labels: {areas: "area/{value}", regression: regression}"""
SECOND = "---\ndescription: b\nreply: issue_response\n---\n"
TOLD = {
    "component": "payments",
    "affected_version": "2.1",
    "areas": ["api"],
    "steps": ["Open the cart"],
    "reporters": 3,
    "certainty": 0.5,
    "regression": True,
}


def loaded(folder: Path, fields: str = FIELDS, template: str = "x", comment: str = "x") -> Library:
    return load(folder, {"issues/a.j2": front(fields=fields) + template, "issues/a.comment.md.j2": comment})


def model(folder: Path, fields: str = FIELDS) -> type[Reply]:
    return loaded(folder, fields).prompts["issues/a"].reply_model


def told(kind: type[Reply], /, **other: object) -> Reply:
    return kind.model_validate({**ANALYSIS.model_dump(), **TOLD, **other})


def test_a_prompt_without_fields_of_its_own_has_the_shipped_type(tmp_path: Path) -> None:
    library = load(tmp_path, {"issues/a.j2": front() + "x"})
    assert library.prompts["issues/a"].reply_model is IssueAnalysis


def test_the_type_with_fields_is_one_of_the_shipped_type_with_more(tmp_path: Path) -> None:
    reply = told(model(tmp_path))
    assert isinstance(reply, IssueAnalysis)
    assert list(type(reply).model_fields) == [*IssueAnalysis.model_fields, *list(TOLD)[1:]]
    assert {name: getattr(reply, name) for name in TOLD} == TOLD
    assert type(reply).model_validate_json(reply.model_dump_json()) == reply


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "enhancement"},
        {"component": "backend"},
        {"areas": ["api", "paint"]},
        {"areas": ["api", "api", "api"]},
        {"affected_version": "x" * 4001},
        {"affected_version": None},
        {"steps": ["x"] * 21},
        {"steps": ["x" * 501]},
        {"certainty": "inf"},
        {"unheard_of": 1},
    ],
    ids=str,
)
def test_a_reply_that_does_not_fit_the_fields_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        told(model(tmp_path), **wrong)


def test_a_library_that_is_read_again_has_the_same_type(tmp_path: Path) -> None:
    assert model(tmp_path / "one") is model(tmp_path / "two")
    assert model(tmp_path / "one") is not model(tmp_path / "three", "{regression: {type: boolean}}")


def test_claude_is_told_of_the_fields_in_a_schema_that_the_api_takes(tmp_path: Path) -> None:
    library = loaded(tmp_path)
    schema: Any = request_schema(render(library, "issues/a", issue_variables(), key=KEY).schema)
    properties = schema["properties"]
    assert properties["kind"]["enum"] == ["bug", "question"]
    assert properties["component"] == {
        "enum": ["payments", "search", "none"],
        "description": "the team that owns it",
        "title": "Component",
    }
    assert properties["priority"] == {"enum": ["high", "medium", "low"], "title": "Priority"}
    assert properties["affected_version"]["description"].startswith("as the reporter names it, or empty")
    assert properties["areas"]["items"] == {"enum": ["api", "docs"]}
    assert [properties[name]["type"] for name in ("reporters", "certainty", "regression")] == [
        "integer",
        "number",
        "boolean",
    ]
    assert schema["required"] == list(properties)
    assert schema["description"] == "What a maintainer wants to know about an issue."
    output = {"format": {"type": "json_schema", "schema": schema}}
    asked = {"model": "claude-haiku-5-5", "max_tokens": 900, "messages": [{"role": "user", "content": "x"}]}
    check_request({**asked, "output_config": output})


def test_the_shipped_type_is_left_as_it_is(tmp_path: Path) -> None:
    model(tmp_path)
    assert {"affected_version", "areas"}.isdisjoint(IssueAnalysis.model_fields)
    assert set(IssueAnalysis.label_rules) == {"kind", "priority", "difficulty", "component"}
    assert IssueAnalysis.model_validate(ANALYSIS.model_dump()) == ANALYSIS


def test_made_up_replies_have_the_fields_too(tmp_path: Path) -> None:
    kind = model(tmp_path)
    made: list[Any] = list(plausible(kind))
    assert {reply.component for reply in made} == {"payments", "search", "none"}
    assert {reply.kind for reply in made} == {"bug", "question"}
    for reply in made:
        assert kind.model_validate_json(reply.model_dump_json()) == reply


def test_rule_7_an_authors_values_are_ours_in_comments_and_other_texts_are_scrubbed(tmp_path: Path) -> None:
    comment = "{{ analysis.component | upper }} {{ analysis.areas | join('+') }} {{ analysis.affected_version }}"
    library = loaded(tmp_path, comment=comment)
    reply = told(library.prompts["issues/a"].reply_model, affected_version="@everyone fixes #1")
    made = render_comment(library, "issues/a", {**issue_variables(), "analysis": reply}, key=KEY)
    assert made is not None
    assert made.startswith("PAYMENTS api ")
    assert "@everyone" not in made
    assert "fixes #1" not in made


def test_rule_7_an_authors_text_field_is_a_strangers_text_in_the_next_prompt(tmp_path: Path) -> None:
    files = {
        "issues/a.j2": front(fields=FIELDS, then="{prompt: issues/b, when: analysis.regression}") + "x",
        "issues/b.j2": SECOND + "{{ analysis.affected_version }} {{ analysis.kind }}",
    }
    library = load(tmp_path, files)
    reply = told(library.prompts["issues/a"].reply_model, affected_version=EVIL)
    assert library.next_after("issues/a", reply) == "issues/b"
    task = render(library, "issues/b", {**issue_variables(), "analysis": reply}, key=KEY).task
    assert task.startswith("<stranger ")
    assert task.endswith("> bug")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("[a]", "5: fields: input should be a valid dictionary, found ['a']"),
        ("{a: b}", "5: fields.a: has keys of its own (type, enum, description), found 'b'"),
        ("{a: {typ: string}}", "5: fields.a.typ: unknown key; did you mean 'type'?"),
        (
            "{a: {type: text}}",
            "5: fields.a.type: input should be 'string', 'integer', 'number', 'boolean' or 'list', found 'text'",
        ),
        ("{a: {description: x}}", "5: fields.a: has no type; known: boolean, integer, list, number, string"),
        ("{a: {type: list, enum: x}}", "5: fields.a.enum: input should be a valid tuple, found 'x'"),
        (
            "{a: {enum: [yes, maybe]}}",
            "5: fields.a.enum.0: input should be a valid string, found True; put it in quotes",
        ),
        ("\n  a:\n    enum: [x]", "7: fields.a.enum: has 1 values; 2 to 100 are possible"),
        ("{a: {enum: [x, y, x]}}", "5: fields.a.enum: 'x' is there twice"),
        (
            '{a: {enum: [x, "y\\n"]}}',
            "5: fields.a.enum: 'y\\n' has a line break, a space at an end or an invisible character",
        ),
        (
            '{a: {enum: [x, "y\\u200bz"]}}',
            "5: fields.a.enum: 'y\\u200bz' has a line break, a space at an end or an invisible character",
        ),
        (
            "{a: {enum: [x, password=hunter2]}}",
            "5: fields.a.enum: a value looks like a credential, and those are taken out of replies",
        ),
        ("{a: {type: number, enum: [x, y]}}", "5: fields.a.enum: is for string and list only, and the type is number"),
        (
            "{affected-version: {type: string}}",
            "5: fields.affected-version: is no name for a field; use a letter, then letters, digits and _, at most 40",
        ),
        (
            "{_a: {type: string}}",
            "5: fields._a: is no name for a field; use a letter, then letters, digits and _, at most 40",
        ),
        ("{copy: {type: string}}", "5: fields.copy: is a name that HLS keeps for itself; choose another"),
        ("{model_dump: {type: string}}", "5: fields.model_dump: is a name that HLS keeps for itself; choose another"),
        ("{label_rules: {type: string}}", "5: fields.label_rules: is a name that HLS keeps for itself; choose another"),
        (
            "{summary: {type: string}}",
            (
                "5: fields.summary: is a field of issue_analysis already; only the values of component, difficulty, "
                "kind, priority can be changed; give yours another name"
            ),
        ),
        (
            "{worth_saying: {type: boolean}}",
            (
                "5: fields.worth_saying: is a field of issue_analysis already; only the values of component, "
                "difficulty, kind, priority can be changed; give yours another name"
            ),
        ),
        (
            "{kind: {description: x}}",
            "5: fields.kind: is a field of issue_analysis already; give its new values with enum",
        ),
        ("{kind: {type: list, enum: [x, y]}}", "5: fields.kind.type: is string in issue_analysis, and cannot change"),
    ],
)
def test_what_is_wrong_with_fields_is_said_with_its_line_and_nothing_else(
    tmp_path: Path, fields: str, message: str
) -> None:
    """No follow-up: names on a reply whose fields cannot be used are not checked."""
    files = {"issues/a.j2": front(fields=fields) + "x", "issues/a.comment.md.j2": "{{ analysis.anything }}"}
    assert problems(tmp_path, files | {"base.j2": "{% block task %}{% endblock %}"}) == [f"issues/a.j2:{message}"]


def test_where_nothing_can_be_changed_it_is_said_so(tmp_path: Path) -> None:
    files = {"issues/a.j2": front(reply="issue_response", fields="{answer: {type: string}}") + "x"}
    assert problems(tmp_path, files | {"base.j2": "{% block task %}{% endblock %}"}) == [
        (
            "issues/a.j2:5: fields.answer: is a field of issue_response already; none can be changed; "
            "give yours another name"
        )
    ]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"issues/a.comment.md.j2": "{{ analysis.affected_versoin }}"},
            "issues/a.comment.md.j2:1: analysis has no 'affected_versoin'; did you mean 'affected_version'?",
        ),
        (
            {"issues/b.j2": SECOND + "\n{{ analysis.regresion }}"},
            "issues/b.j2:6: analysis has no 'regresion'; did you mean 'regression'?",
        ),
    ],
    ids=["comment", "next prompt"],
)
def test_a_field_that_nobody_declared_is_an_error_in_templates(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    first = front(fields=FIELDS, then="{prompt: issues/b, when: analysis.regression}") + "x"
    second = SECOND + "{{ analysis.affected_version }}"
    library = {"base.j2": "{% block task %}{% endblock %}", "issues/a.j2": first, "issues/b.j2": second, **files}
    assert problems(tmp_path, library) == [message]


def test_a_field_that_nobody_declared_is_an_error_in_when(tmp_path: Path) -> None:
    then = "{prompt: issues/b, when: analysis.regresion}"
    files = {
        "base.j2": "{% block task %}{% endblock %}",
        "issues/a.j2": front(fields="{regression: {type: boolean}}", then=then) + "x",
        "issues/b.j2": SECOND + "x",
    }
    assert problems(tmp_path, files) == [
        "issues/a.j2:6: then.when: analysis has no 'regresion'; did you mean 'regression'?"
    ]


# --- replies that nobody asked Claude for, and replies of other times ------------------------------------------------


def test_where_nobody_was_asked_the_authors_fields_are_empty(tmp_path: Path) -> None:
    files = {
        "reviews/a.j2": "---\ndescription: a\non: [pull_request_review.submitted]\nreply: review_analysis\nfields:"
        "\n  tone: {enum: [calm, heated]}\n  points: {type: list}\n  weight: {type: integer}\n  share: {type: number}"
        "\n  again: {type: boolean}\n  note: {type: string}\n---\nx"
    }
    kind = load(tmp_path, files).prompts["reviews/a"].reply_model
    ours = ReviewAnalysis(worth_saying=False, summary="", requests=[])
    assert unasked_reply(ours, ReviewAnalysis) == ours
    reply = unasked_reply(ours, kind)
    assert isinstance(reply, kind)
    assert dict(reply) == {
        **dict(ours),
        "tone": "",
        "points": [],
        "weight": 0,
        "share": 0.0,
        "again": False,
        "note": "",
    }


def test_any_version_of_a_reply_can_be_told_of(tmp_path: Path) -> None:
    reply = told(model(tmp_path))
    again = any_version(IssueAnalysis).model_validate_json(reply.model_dump_json())
    assert isinstance(again, IssueAnalysis)
    assert again.component == "payments"  # type: ignore[comparison-overlap]
    assert again.model_extra == {name: value for name, value in TOLD.items() if name != "component"}
    assert any_version(IssueAnalysis) is any_version(IssueAnalysis)
