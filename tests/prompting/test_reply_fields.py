"""Additional fields in the front matter: the resulting reply type, and the error messages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from hls_handler.analysis import (
    IssueResponse,
    ReplyFields,
    ReviewAnalysis,
    Score,
    find_label,
    lowest_scores,
    to_rule_values,
)
from hls_handler.claude.provider import request_schema
from hls_handler.github.labels import SHIPPED_LABELS
from hls_handler.prompting.prompt import Library
from hls_handler.prompting.render import render, render_comment
from hls_handler.prompting.reply_fields import complete_static_reply, with_optional_fields
from tests.github_fake.claude_rules import check_request
from tests.prompting.samples import ANALYSIS, FRONT, KEY, issue_variables, load, shipped
from tests.prompting.test_library_errors import front

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
VALUES = {
    "component": "payments",
    "affected_version": "2.1",
    "areas": ["api"],
    "steps": ["Open the cart"],
    "reporters": 3,
    "certainty": 0.5,
    "regression": True,
}


def loaded(folder: Path, fields: str = FIELDS) -> Library:
    return load(folder, {"issues/a.j2": front(fields=fields) + "x", "issues/a.comment.md.j2": "x"})


def checked_schema(library: Library) -> dict[str, Any]:
    """Return the schema of a request, which the API accepts."""
    schema: Any = request_schema(render(library, "issues/a", issue_variables(), key=KEY).schema)
    output = {"format": {"type": "json_schema", "schema": schema}}
    asked = {
        "model": "claude-haiku-5-5",
        "max_tokens": 900,
        "messages": [{"role": "user", "content": "x"}],
    }
    check_request({**asked, "output_config": output})
    return {**schema}


def make_reply(kind: type[ReplyFields], /, **other: object) -> ReplyFields:
    return kind.model_validate({**ANALYSIS.model_dump(), **VALUES, **other})


def test_reply_that_violates_a_field_definition_is_rejected(tmp_path: Path) -> None:
    kind = loaded(tmp_path).prompts["issues/a"].reply_model
    assert make_reply(kind).model_dump() | VALUES == make_reply(kind).model_dump()
    wrong: tuple[dict[str, object], ...] = (
        {"kind": "enhancement"},
        {"areas": ["api", "api", "api"]},
        {"affected_version": "x" * 4001},
        {"steps": ["x"] * 21},
        {"certainty": "inf"},
        {"unheard_of": 1},
    )
    for given in wrong:
        with pytest.raises(ValidationError):
            make_reply(kind, **given)


def test_additional_fields_are_in_the_request_schema_and_the_api_accepts_it(tmp_path: Path) -> None:
    schema = checked_schema(loaded(tmp_path))
    properties = schema["properties"]
    assert properties["kind"]["enum"] == ["bug", "question"]
    assert properties["component"] == {
        "enum": ["payments", "search", "none"],
        "description": "the team that owns it",
    }
    assert properties["priority"] == {"enum": ["high", "medium", "low"]}
    assert properties["affected_version"]["description"].startswith(
        "as the reporter names it, or empty"
    )
    assert properties["areas"]["items"] == {"enum": ["api", "docs"]}
    assert [properties[name]["type"] for name in ("reporters", "certainty", "regression")] == [
        "integer",
        "number",
        "boolean",
    ]
    assert schema["required"] == list(properties)
    assert schema["description"] == "The analysis of an issue, for its maintainers."


def test_scores_have_the_dimensions_of_the_front_matter(tmp_path: Path) -> None:
    library = loaded(tmp_path, "{scores: {type: scores, enum: [tests, error handling]}}")
    assert checked_schema(library)["$defs"]["Score"]["properties"]["dimension"]["enum"] == [
        "tests",
        "error handling",
    ]
    kind, given = library.prompts["issues/a"].reply_model, ANALYSIS.model_dump()
    reply = kind.model_validate({**given, "scores": [{"dimension": "error handling", "score": 5}]})
    assert lowest_scores([None, reply, ANALYSIS]) == (Score(dimension="error handling", score=5),)
    for wrong in ({"dimension": "tests", "score": 6}, {"dimension": "style", "score": 1}):
        with pytest.raises(ValidationError):
            kind.model_validate({**given, "scores": [wrong]})


def test_rule_7_enum_values_are_trusted_and_other_texts_are_not(tmp_path: Path) -> None:
    comment = (
        "{{ analysis.component | upper }} {{ analysis.areas | join('+') }} {{"
        " analysis.affected_version }}"
    )
    library = load(
        tmp_path,
        {
            "issues/a.j2": (
                front(fields=FIELDS, then="{prompt: issues/b, when: analysis.regression}") + "x"
            ),
            "issues/a.comment.md.j2": comment,
            "issues/b.j2": SECOND + "{{ analysis.affected_version }} {{ analysis.kind }}",
        },
    )
    reply = make_reply(
        library.prompts["issues/a"].reply_model, affected_version="@everyone fixes #1"
    )
    variables = {**issue_variables(), "analysis": reply}
    made = render_comment(library, "issues/a", variables, key=KEY)
    assert made is not None
    assert made.startswith("PAYMENTS api ")
    assert "@everyone" not in made
    assert "fixes #1" not in made
    assert library.find_next_prompt("issues/a", reply) == "issues/b"
    assert re.fullmatch(
        r"<untrusted \w+>@everyone fixes #1</untrusted \w+> bug",
        render(library, "issues/b", variables, key=KEY).task,
    )


# --- static replies, and replies of other versions of a prompt
# -------------------------------------------------------


def test_additional_fields_of_a_static_reply_are_empty(tmp_path: Path) -> None:
    files = {
        "reviews/a.j2": (
            "---\ndescription: a\non: [pull_request_review.submitted]\nreply:"
            " review_analysis\nfields:\n  tone: {enum: [calm, heated]}\n  points: {type: list}\n "
            " weight: {type: integer}\n  share: {type: number}\n  again: {type: boolean}\n  note:"
            " {type: string}\n---\nx"
        )
    }
    kind = load(tmp_path, files).prompts["reviews/a"].reply_model
    static_reply = ReviewAnalysis(worth_saying=False, summary="", requests=[])
    reply = complete_static_reply(static_reply, kind)
    assert isinstance(reply, kind)
    assert dict(reply) == {
        **dict(static_reply),
        "tone": "",
        "points": [],
        "weight": 0,
        "share": 0.0,
        "again": False,
        "note": "",
    }


def test_shipped_labels_without_size_and_status_come_from_replies() -> None:
    known = {
        spec.name: spec.group for spec in SHIPPED_LABELS if spec.group not in ("size", "status")
    }
    library = shipped()
    assert {**library.label_groups("issues"), **library.label_groups("pull_request")} == known
    assert set(library.label_groups("pull_request").values()) == {"type"}
    assert library.label_groups("pull_request", ["issues"]) == library.label_groups("pull_request")
    assessed = library.label_groups("pull_request", ["issues", "pull_requests"])
    assert set(assessed.values()) == {"type", "priority", "difficulty"}


def test_field_of_the_prompt_itself_is_not_replaced_by_an_optional_one(tmp_path: Path) -> None:
    own = FRONT.replace("issue_analysis", "pull_request_analysis").replace(
        "issues.opened", "pull_request.opened"
    )
    fields = 'fields: {priority: {enum: [now, later]}}\nlabels: {priority: "prio/{value}"}\n'
    library = load(
        tmp_path, {"pull_requests/own.j2": own.replace("reply:", f"{fields}reply:") + "Judge.\n"}
    )
    extended = with_optional_fields(
        library.prompts["pull_requests/own"].reply_model, ["priority", "difficulty"]
    )
    properties = extended.model_json_schema()["properties"]
    assert properties["priority"]["enum"] == ["now", "later"]
    assert properties["difficulty"]["enum"] == ["easy", "moderate", "complex"]
    assert extended.label_rules == {
        "type": "type/{value}",
        "priority": "prio/{value}",
        "difficulty": "difficulty-{value}",
    }
    assert with_optional_fields(IssueResponse, ["priority"]) is IssueResponse


def test_labels_of_following_prompts_are_included(tmp_path: Path) -> None:
    own = """{areas: {type: list, enum: [Api, web]}}
labels: {kind: {bug: Defect}, difficulty: false, priority: false, component: false, areas: "area/{value}"}"""
    first = front(reply="issue_response", then="{prompt: issues/sort.j2, when: analysis.certain}")
    second = f"---\ndescription: Sort it\nreply: issue_analysis\nfields: {own}\n---\n"
    library = load(
        tmp_path, {"issues/answer.j2": first + "Answer.\n", "issues/sort.j2": second + "Sort."}
    )
    assert library.label_groups("issues") == {
        "defect": "kind",
        "area/api": "areas area/Api",
        "area/web": "areas area/web",
    }


@pytest.mark.parametrize(
    ("rule", "value", "label"),
    [
        ("{value}", "bug", "bug"),
        ("c-{value}", "", None),
        ("regression", True, "regression"),
        ("regression", False, None),
        ({"bug": "defect", "none": "unsorted"}, "none", "unsorted"),
        ({"bug": "defect"}, "question", None),
        ({"true": "old", "false": "new"}, False, "new"),
    ],
)
def test_label_of_a_value(rule: str | dict[str, str], value: object, label: str | None) -> None:
    assert [find_label(rule, one) for one in to_rule_values(value)] == [label]
