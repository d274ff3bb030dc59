"""Labels requested by the fields of replies."""

from __future__ import annotations

from pathlib import Path

from hls_handler.actions import EnsureLabels, RequestedLabel
from hls_handler.analysis import Reply
from hls_handler.handlers.requested_labels import plan_labels
from tests.handlers.world import analysis, issue_analysis, issue_response
from tests.prompting.samples import load
from tests.prompting.test_library_errors import front

FIELDS = "{component: {enum: [payments, search, none]}, areas: {type: list, enum: [api, docs]}, old: {type: boolean}}"
LABELS = '{kind: {bug: defect}, priority: false, difficulty: false, areas: "area/{value}", old: old}'
NOT_SHIPPED = (
    RequestedLabel("defect", "kind"),
    RequestedLabel("component-payments", "component"),
    RequestedLabel("component-search", "component"),
    RequestedLabel("area/api", "areas area/api"),
    RequestedLabel("area/docs", "areas area/docs"),
    RequestedLabel("old", "old"),
)
GROUPS = ("kind", "component", "areas area/api", "areas area/docs", "old")


def reply(folder: Path, **fields: object) -> Reply:
    library = load(folder, {"issues/a.j2": front(fields=FIELDS, labels=LABELS) + "x"})
    kind = library.prompts["issues/a"].reply_model
    return kind.model_validate(
        {**issue_analysis().model_dump(), "component": "search", "areas": [], "old": False, **fields}
    )


def test_custom_fields_become_labels_with_all_their_possible_labels(tmp_path: Path) -> None:
    assert plan_labels(analysis(reply(tmp_path, areas=["docs", "api"], old=True))) == (
        EnsureLabels(
            (
                RequestedLabel("defect", "kind"),
                RequestedLabel("component-search", "component"),
                RequestedLabel("area/docs", "areas area/docs"),
                RequestedLabel("area/api", "areas area/api"),
                RequestedLabel("old", "old"),
            ),
            GROUPS,
            NOT_SHIPPED,
        ),
    )


def test_groups_of_values_without_a_label_are_covered(tmp_path: Path) -> None:
    assert plan_labels(analysis(reply(tmp_path, kind="question", component="none"))) == (
        EnsureLabels((), GROUPS, NOT_SHIPPED),
    )


def test_the_handlers_own_labels_come_first() -> None:
    small = RequestedLabel("size/small", "size")
    (labels,) = plan_labels(analysis(issue_analysis()), small, groups=("status",))
    assert labels.requested[0] == small
    assert labels.groups == ("size", "status", "kind", "priority", "difficulty", "component")
    assert labels.known == ()


def test_labels_come_from_every_reply_of_a_chain(tmp_path: Path) -> None:
    (labels,) = plan_labels(analysis(issue_analysis(), reply(tmp_path), reply(tmp_path)))
    assert [label.name for label in labels.requested] == [
        *("bug", "priority-high", "difficulty-easy", "component-backend"),
        *("defect", "component-search", "defect", "component-search"),
    ]
    assert labels.known == NOT_SHIPPED


def test_no_action_if_no_reply_covers_a_label_group() -> None:
    assert plan_labels(analysis(issue_response())) == ()
    assert plan_labels(analysis()) == ()
