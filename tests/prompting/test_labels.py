"""Labels in the front matter: laid over the shipped ones, and what an author is told who gets them wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from hls_handler.analysis import REPLY_TYPES
from hls_handler.prompting.labels import label_of, labels_of, values_in
from tests.prompting.samples import load
from tests.prompting.test_library_errors import front, problems

FIELDS = (
    "{component: {enum: [payments, none]}, areas: {type: list, enum: [api, docs]}, regression: {type: boolean},"
    " version: {type: string}, versions: {type: list}, count: {type: integer}}"
)


def labels(folder: Path, given: str, fields: str = FIELDS) -> dict[str, tuple[str, ...]]:
    """By field, all that it may become."""
    kind = load(folder, {"issues/a.j2": front(fields=fields, labels=given) + "x"}).prompts["issues/a"].reply_model
    return {field: labels_of(rule, kind.model_fields[field].annotation) for field, rule in kind.label_rules.items()}


def test_without_labels_the_shipped_ones_hold_for_the_values_of_now(tmp_path: Path) -> None:
    assert labels(tmp_path, "{}") == {
        "kind": ("bug", "enhancement", "question", "documentation", "maintenance"),
        "priority": ("priority-high", "priority-medium", "priority-low"),
        "difficulty": ("difficulty-easy", "difficulty-moderate", "difficulty-complex"),
        "component": ("component-payments",),
    }


def test_an_authors_labels_are_laid_over_the_shipped_ones_field_by_field(tmp_path: Path) -> None:
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
def test_a_value_becomes_a_label(rule: str | dict[str, str], value: object, label: str | None) -> None:
    assert [label_of(rule, one) for one in values_in(value)] == [label]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("[kind]", "6: labels: input should be a valid dictionary, found ['kind']"),
        ("{componnent: x}", "6: labels.componnent: issue_analysis has no such field; did you mean 'component'?"),
        (
            "{version: '{value}'}",
            (
                "6: labels.version: only fields with an enum, lists of one, and true or false become labels; "
                "Claude could write anything"
            ),
        ),
        (
            "{versions: '{value}'}",
            (
                "6: labels.versions: only fields with an enum, lists of one, and true or false become labels; "
                "Claude could write anything"
            ),
        ),
        (
            "{summary: '{value}'}",
            (
                "6: labels.summary: only fields with an enum, lists of one, and true or false become labels; "
                "Claude could write anything"
            ),
        ),
        (
            "{count: '{value}'}",
            (
                "6: labels.count: only fields with an enum, lists of one, and true or false become labels; "
                "Claude could write anything"
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
            "6: labels.regression: is true or false; write the label that stands for true, without {value}",
        ),
        (
            "\n  kind:\n    bug: defect\n    qestion: x",
            "9: labels.kind.qestion: there is no such value; did you mean 'question'?",
        ),
        (
            "{kind: {bug: no}}",
            "6: labels.kind.bug: write a label's name in quotes, or leave the value out; found False",
        ),
        (
            "{component: 'the component is most probably this one here: {value}'}",
            (
                "6: labels.component: the label 'the component is most probably this one here: payments' has 54 "
                "characters; GitHub takes at most 50"
            ),
        ),
        (
            "{kind: {bug: ' defect'}}",
            "6: labels.kind: the label ' defect' is empty, or has a comma or a space at an end",
        ),
        (
            "{kind: {bug: 'a,b'}}",
            "6: labels.kind: the label 'a,b' is empty, or has a comma or a space at an end",
        ),
        (
            "{regression: Bug}",
            "6: labels.regression: the label 'Bug' is that of kind as well; give them different ones",
        ),
    ],
)
def test_what_is_wrong_with_labels_is_said_with_its_line(tmp_path: Path, given: str, message: str) -> None:
    files = {"base.j2": "{% block task %}{% endblock %}", "issues/a.j2": front(fields=FIELDS, labels=given) + "x"}
    assert problems(tmp_path, files) == [f"issues/a.j2:{message}"]


def test_a_value_that_makes_a_shipped_label_too_long_is_named_where_it_stands(tmp_path: Path) -> None:
    value = "x" * 41
    fields = f"\n  component:\n    enum: [a, {value}]"
    files = {"base.j2": "{% block task %}{% endblock %}", "issues/a.j2": front(fields=fields) + "x"}
    assert problems(tmp_path, files) == [
        f"issues/a.j2:6: fields.component: the label 'component-{value}' has 51 characters; GitHub takes at most 50"
    ]


@pytest.mark.parametrize("name", REPLY_TYPES)
def test_every_shipped_rule_is_for_a_field_whose_values_are_known(name: str) -> None:
    kind = REPLY_TYPES[name]
    for field, rule in kind.label_rules.items():
        assert labels_of(rule, kind.model_fields[field].annotation) != ()
