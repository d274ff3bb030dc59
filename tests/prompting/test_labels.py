"""`labels` in the front matter: overriding the shipped rules, and the error messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from hls_handler.analysis import REPLY_TYPES
from hls_handler.prompting.labels import find_label, list_possible_labels, to_rule_values
from tests.prompting.samples import load
from tests.prompting.test_library_errors import front, problems

FIELDS = (
    "{component: {enum: [payments, none]}, areas: {type: list, enum: [api, docs]}, regression: {type: boolean},"
    " version: {type: string}, versions: {type: list}, count: {type: integer}}"
)


def labels(folder: Path, given: str, fields: str = FIELDS) -> dict[str, tuple[str, ...]]:
    """Return all possible labels by field."""
    kind = load(folder, {"issues/a.j2": front(fields=fields, labels=given) + "x"}).prompts["issues/a"].reply_model
    return {
        field: list_possible_labels(rule, kind.model_fields[field].annotation)
        for field, rule in kind.label_rules.items()
    }


def test_without_labels_the_shipped_rules_apply_to_the_changed_values(tmp_path: Path) -> None:
    assert labels(tmp_path, "{}") == {
        "kind": ("bug", "enhancement", "question", "documentation", "maintenance"),
        "priority": ("priority-high", "priority-medium", "priority-low"),
        "difficulty": ("difficulty-easy", "difficulty-moderate", "difficulty-complex"),
        "component": ("component-payments",),
    }


def test_labels_override_the_shipped_rules_field_by_field(tmp_path: Path) -> None:
    given = (
        '{component: "team: {value}", kind: {bug: defect, question: support}, priority: false, difficulty: ,'
        ' areas: "area/{value}", regression: regression}'
    )
    assert labels(tmp_path, given) == {
        "kind": ("defect", "support"),
        "component": ("team: payments",),
        "areas": ("area/api", "area/docs"),
        "regression": ("regression",),
    }


@pytest.mark.parametrize(
    ("rule", "value", "label"),
    [
        ("{value}", "bug", "bug"),
        ("is-{value}-ish", "bug", "is-bug-ish"),
        ("c-{value}", "none", None),
        ("c-{value}", "", None),
        ("regression", True, "regression"),
        ("regression", False, None),
        ({"bug": "defect", "none": "unsorted"}, "bug", "defect"),
        ({"bug": "defect", "none": "unsorted"}, "none", "unsorted"),
        ({"bug": "defect"}, "question", None),
        ({"true": "old", "false": "new"}, False, "new"),
    ],
)
def test_label_of_a_value(rule: str | dict[str, str], value: object, label: str | None) -> None:
    assert [find_label(rule, one) for one in to_rule_values(value)] == [label]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("[kind]", "6: labels: input should be a valid dictionary, found ['kind']"),
        ("{componnent: x}", "6: labels.componnent: issue_analysis has no such field; did you mean 'component'?"),
        (
            "{version: '{value}'}",
            (
                "6: labels.version: only booleans and fields with an enum can become labels, because "
                "Claude can write anything into others"
            ),
        ),
        (
            "{versions: '{value}'}",
            (
                "6: labels.versions: only booleans and fields with an enum can become labels, because "
                "Claude can write anything into others"
            ),
        ),
        (
            "{summary: '{value}'}",
            (
                "6: labels.summary: only booleans and fields with an enum can become labels, because "
                "Claude can write anything into others"
            ),
        ),
        (
            "{count: '{value}'}",
            (
                "6: labels.count: only booleans and fields with an enum can become labels, because "
                "Claude can write anything into others"
            ),
        ),
        (
            "{kind: triage}",
            (
                "6: labels.kind: write a pattern with {value} once, false for no label, or a label for each value; "
                "found 'triage'"
            ),
        ),
        (
            "{kind: '{value} {kind}'}",
            (
                "6: labels.kind: write a pattern with {value} once, false for no label, or a label for each value; "
                "found '{value} {kind}'"
            ),
        ),
        (
            "{kind: 3}",
            "6: labels.kind: write a pattern with {value}, false for no label, or a label for each value; found 3",
        ),
        (
            "{kind: {}}",
            "6: labels.kind: write a pattern with {value}, false for no label, or a label for each value; found {}",
        ),
        (
            "{regression: 're-{value}'}",
            "6: labels.regression: is a boolean; write the label for true, without {value}",
        ),
        (
            "\n  kind:\n    bug: defect\n    qestion: x",
            "9: labels.kind.qestion: unknown value; did you mean 'question'?",
        ),
        (
            "{kind: {bug: no}}",
            "6: labels.kind.bug: write the name of a label in quotes, or remove this value; found False",
        ),
        (
            "{component: 'the component is most probably this one here: {value}'}",
            (
                "6: labels.component: the label 'the component is most probably this one here: payments' has 54 "
                "characters; GitHub allows 50"
            ),
        ),
        (
            "{kind: {bug: ' defect'}}",
            "6: labels.kind: the label ' defect' is empty, or has a comma, or a leading or trailing space",
        ),
        (
            "{kind: {bug: 'a,b'}}",
            "6: labels.kind: the label 'a,b' is empty, or has a comma, or a leading or trailing space",
        ),
        (
            "{regression: Bug}",
            "6: labels.regression: the label 'Bug' is also a label of kind; use different labels",
        ),
    ],
)
def test_invalid_labels_are_reported_with_their_line(tmp_path: Path, given: str, message: str) -> None:
    files = {"base.j2": "{% block task %}{% endblock %}", "issues/a.j2": front(fields=FIELDS, labels=given) + "x"}
    assert problems(tmp_path, files) == [f"issues/a.j2:{message}"]


def test_value_that_makes_a_shipped_label_too_long_is_reported_at_its_line(tmp_path: Path) -> None:
    value = "x" * 41
    fields = f"\n  component:\n    enum: [a, {value}]"
    files = {"base.j2": "{% block task %}{% endblock %}", "issues/a.j2": front(fields=fields) + "x"}
    assert problems(tmp_path, files) == [
        f"issues/a.j2:6: fields.component: the label 'component-{value}' has 51 characters; GitHub allows 50"
    ]


@pytest.mark.parametrize("name", REPLY_TYPES)
def test_every_shipped_rule_is_for_a_field_with_known_values(name: str) -> None:
    kind = REPLY_TYPES[name]
    for field, rule in kind.label_rules.items():
        assert list_possible_labels(rule, kind.model_fields[field].annotation) != ()
