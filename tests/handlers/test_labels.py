"""Decisions about labels: added, removed, suggested by a reply, and corrected by people."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import pytest

from hls_handler.actions import EnsureLabels, RequestedLabel
from hls_handler.analysis import ReplyFields
from hls_handler.github.labels import (
    SHIPPED_LABELS,
    LabelDifference,
    LabelSpec,
    decide_labels,
    spec_of,
)
from hls_handler.github.values import RepositoryLabel
from hls_handler.handlers.labels import describe_missing, plan_labels, select_offer
from hls_handler.settings.sections import EffectiveLabels
from hls_handler.store.corrections import AppliedLabel, find_changed_corrections
from tests.handlers.world import analysis, issue_analysis
from tests.prompting.samples import load
from tests.prompting.test_library_errors import front

NAMES = frozenset(spec.name for spec in SHIPPED_LABELS)
HIGH, LOW = RequestedLabel("priority-high", "priority"), RequestedLabel("priority-low", "priority")
BUG = RequestedLabel("bug", "kind")
NOTHING = LabelDifference((), (), (), (), (), (), ())


def decide(*requested: RequestedLabel, **given: Any) -> LabelDifference:
    action = EnsureLabels(
        requested, given.get("groups", ("kind", "priority")), given.get("custom_labels", ())
    )
    return decide_labels(
        action,
        EffectiveLabels(
            **{name: given[name] for name in EffectiveLabels.model_fields if name in given}
        ),
        present=given.get("present", frozenset()),
        stored=given.get("stored", {}),
        in_repository=given.get("in_repository", NAMES),
    )


def set_of(*labels: str) -> dict[str, Any]:
    """The conversation has these labels, and HLS set each of them."""
    return {"present": frozenset(labels), "stored": dict.fromkeys(labels, "set")}


def of_person(*labels: str, **stored: str) -> dict[str, Any]:
    return {
        "present": frozenset(labels),
        "stored": {name.replace("_", "-"): state for name, state in stored.items()},
    }


PERSON_SET_LOW = (("priority-high", "a person set priority-low"),)


@pytest.mark.parametrize(
    ("requested", "given", "add", "remove", "withheld"),
    [
        ([BUG, HIGH], {}, ("bug", "priority-high"), (), ()),
        ([LOW], of_person(priority_high="removed"), ("priority-low",), (), ()),
        ([HIGH], of_person("priority-low"), (), (), PERSON_SET_LOW),
        ([HIGH], of_person("priority-high"), (), (), ()),
        (
            [HIGH],
            of_person("priority-high", "priority-low", priority_high="set"),
            (),
            ("priority-high",),
            PERSON_SET_LOW,
        ),
        ([HIGH], set_of("priority-low"), ("priority-high",), ("priority-low",), ()),
        ([BUG], set_of("priority-low"), ("bug",), ("priority-low",), ()),
        ([BUG], set_of("size/small"), ("bug",), (), ()),
        (
            [HIGH, LOW, HIGH],
            {},
            ("priority-high",),
            (),
            (("priority-low", "another priority label comes first, and at most one is set"),),
        ),
        ([BUG, RequestedLabel("Bug", "type")], {}, ("bug",), (), ()),
        ([BUG, HIGH], {"allow": ("Priority-*",)}, ("priority-high",), (), None),
        (
            [HIGH],
            {
                "present": frozenset(map(str, range(99))) | {"priority-low"},
                "stored": {"priority-low": "set"},
            },
            ("priority-high",),
            ("priority-low",),
            (),
        ),
    ],
    ids=[
        "missing",
        "another than removed",
        "rule 14: a person's stays",
        "a person's is not ours",
        "ours beside a person's",
        "replaced",
        "no longer requested",
        "group that the analysis does not cover",
        "first of a group",
        "requested by two fields",
        "allowed by a glob",
        "a removed label frees a slot",
    ],
)
def test_labels_that_are_added_and_removed(
    requested: list[RequestedLabel],
    given: dict[str, Any],
    add: tuple[str, ...],
    remove: tuple[str, ...],
    withheld: tuple[tuple[str, str], ...] | None,
) -> None:
    change = decide(*requested, **given)
    assert (change.add, change.remove) == (add, remove)
    assert withheld is None or change.withheld == withheld


@pytest.mark.parametrize(
    ("requested", "given", "expected"),
    [
        (BUG, of_person("bug", bug="intended"), {"confirm": ("bug",), "add": ()}),
        (
            BUG,
            of_person(bug="intended"),
            {"add": ("bug",), "removed_by_person": (), "not_applied": ()},
        ),
        (
            BUG,
            of_person(priority_low="intended"),
            {"add": ("bug",), "not_applied": ("priority-low",)},
        ),
        (
            HIGH,
            of_person("priority-low", priority_low="intended"),
            {"add": ("priority-high",), "remove": ("priority-low",), "confirm": ()},
        ),
    ],
    ids=[
        "present",
        "missing",
        "no longer requested and missing",
        "no longer requested and present",
    ],
)
def test_intended_label_whose_response_was_lost(
    requested: RequestedLabel, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    change = decide(requested, **given)
    assert {name: getattr(change, name) for name in expected} == expected


def test_rule_14_a_bot_label_that_a_person_removed_is_not_added_again() -> None:
    first = decide(BUG, stored={"bug": "set"})
    assert (first.add, first.removed_by_person) == ((), ("bug",))
    assert first.withheld == (("bug", "a person removed it"),)
    later = decide(BUG, stored={"bug": "removed"})
    assert (later.add, later.removed_by_person) == ((), ())
    assert later.withheld == (("bug", "a person removed it"),)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"present": frozenset({"BUG"}), "stored": {"bug": "set"}}, NOTHING),
        ({"present": frozenset({"Bug"})}, NOTHING),
        (
            {"in_repository": frozenset({"Bug"}), "create": False},
            LabelDifference((), ("bug",), (), (), (), (), ()),
        ),
    ],
    ids=["set", "a person's", "in the repository"],
)
def test_names_that_differ_in_case_are_the_same(
    given: dict[str, Any], expected: LabelDifference
) -> None:
    assert decide(BUG, **given) == expected


def test_a_missing_label_is_created_with_its_colour_and_description() -> None:
    change = decide(BUG, in_repository=frozenset())
    assert change.create == (
        LabelSpec("bug", "kind", "d73a4a", "Something does not work as it should"),
    )
    assert change.add == ("bug",)


@pytest.mark.parametrize(
    ("label", "given", "reason"),
    [
        (
            BUG,
            {"in_repository": frozenset(), "create": False},
            "the repository has no such label, and labels.create is off in the settings",
        ),
        (BUG, {"allow": ("priority-*", "BUGS")}, "labels.allow in the settings does not allow it"),
        (BUG, {"allow": ("bug",), "deny": ("release-*", "B*")}, "labels.deny has B*"),
        (
            BUG,
            {"present": frozenset(map(str, range(100)))},
            "the conversation has 100 labels, the most that GitHub allows",
        ),
        (
            HIGH,
            {"stored": {"priority-high": "removed"}, "in_repository": frozenset(), "create": False},
            "a person removed it",
        ),
        (
            HIGH,
            {
                "present": frozenset({"priority-low"}),
                "stored": {"priority-high": "removed"},
                "allow": (),
            },
            "labels.allow in the settings does not allow it",
        ),
    ],
    ids=["missing", "not allowed", "denied", "full", "removed and missing", "all reasons"],
)
def test_rule_14_a_withheld_label_has_a_reason(
    label: RequestedLabel, given: dict[str, Any], reason: str
) -> None:
    change = decide(label, **given)
    assert change.add == ()
    assert change.create == ()
    assert change.withheld == ((label.name, reason),)


def test_several_labels_of_a_list_are_set() -> None:
    api, docs = (
        RequestedLabel("area/api", "areas area/api"),
        RequestedLabel("area/docs", "areas area/docs"),
    )
    web = RequestedLabel("area/web", "areas area/web")
    change = decide(
        api,
        docs,
        groups=(api.group, docs.group, web.group),
        custom_labels=(api, docs, web),
        present=frozenset({"area/web", "area/docs"}),
        stored={"area/web": "set"},
    )
    assert (change.add, change.remove, change.withheld) == (("area/api",), ("area/web",), ())


def test_the_catalogue_meets_githubs_limits() -> None:
    assert len(NAMES) == len(SHIPPED_LABELS) == 24
    of_facts = {spec.name for spec in SHIPPED_LABELS if spec.group in ("size", "status")}
    assert of_facts == {
        *("size/small", "size/medium", "size/large"),
        *("status/needs-review", "status/needs-changes", "status/needs-info"),
    }
    for spec in SHIPPED_LABELS:
        assert len(spec.name) <= 50
        assert 0 < len(spec.description) <= 100
        assert len(spec.color) == 6
        assert set(spec.color) <= set(string.hexdigits)
    other = RequestedLabel("area/api", "areas area/api")
    assert spec_of(other) == LabelSpec(
        "area/api", "areas area/api", "ededed", "Set by HLS: areas area/api"
    )


def test_rule_14_a_label_must_also_be_allowed_by_the_repository() -> None:
    change = decide(
        BUG,
        HIGH,
        allow=("*",),
        repository_allow={".github/hls.yaml:3": ("Priority-*",)},
    )
    assert change.add == ("priority-high",)
    assert change.withheld == (("bug", ".github/hls.yaml:3 does not allow it"),)
    assert decide(BUG, allow=("*",), repository_allow={"x:1": ("a*",)}).withheld == (
        ("bug", "x:1 does not allow it"),
    )
    assert decide(BUG, allow=("priority-*",), repository_allow={"x:1": ("*",)}).withheld == (
        ("bug", "labels.allow in the settings does not allow it"),
    )


FIELDS = (
    "{component: {enum: [payments, search, none]}, areas: {type: list, enum: [api, docs]}, old:"
    " {type: boolean}}"
)
LABELS = (
    '{kind: {bug: defect}, priority: false, difficulty: false, areas: "area/{value}", old: old}'
)
GROUPS = ("kind", "component", "areas area/api", "areas area/docs", "old")


def test_custom_fields_become_labels_with_all_their_possible_labels(tmp_path: Path) -> None:
    not_shipped = (
        RequestedLabel("defect", "kind"),
        RequestedLabel("component-payments", "component"),
        RequestedLabel("component-search", "component"),
        RequestedLabel("area/api", "areas area/api"),
        RequestedLabel("area/docs", "areas area/docs"),
        RequestedLabel("old", "old"),
    )

    def reply(folder: Path, **fields: object) -> ReplyFields:
        library = load(folder, {"issues/a.j2": front(fields=FIELDS, labels=LABELS) + "x"})
        kind = library.prompts["issues/a"].reply_model
        return kind.model_validate(
            {
                **issue_analysis().model_dump(),
                "component": "search",
                "areas": [],
                "old": False,
                **fields,
            }
        )

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
            not_shipped,
            dict.fromkeys(GROUPS, "p@1"),
        ),
    )


@pytest.mark.parametrize(
    ("number", "description", "listed", "shown", "missing"),
    [
        (130, 60, 130, 60, ""),
        (130, 100, 130, 100, ""),
        (131, 100, 131, 0, ""),
        (1000, 0, 1000, 0, ""),
        (1100, 100, 1000, 0, "100 of 1100 labels of the repository"),
    ],
)
def test_too_many_labels_lose_their_descriptions_and_then_the_last_ones_are_left_out(
    number: int, description: int, listed: int, shown: int, missing: str
) -> None:
    labels = [RepositoryLabel(f"area/{number:06}", "x" * description) for number in range(number)]
    offer = select_offer(labels, EffectiveLabels(), set())
    assert [label.name for label in offer.labels] == [label.name for label in labels[:listed]]
    assert {len(label.description) for label in offer.labels} == {shown}
    assert describe_missing(offer) == missing


HIGH_NAME = "priority-high"


@pytest.mark.parametrize(
    ("recorded", "shown", "set_by_bot", "expected"),
    [
        (None, [HIGH_NAME], [HIGH_NAME], "unchanged"),
        (None, [], [HIGH_NAME], ""),
        (None, ["priority-low"], [HIGH_NAME], "priority-low"),
        (None, [HIGH_NAME, "priority-low"], [HIGH_NAME], "priority-low"),
        ("", ["priority-low"], [], "priority-low"),
        ("priority-low", [], [], ""),
        ("priority-low", [HIGH_NAME], [], None),
    ],
    ids=[
        "not changed",
        "removed",
        "replaced",
        "another label added",
        "replaced after it was removed",
        "the replacement was removed",
        "set again instead of the replacement",
    ],
)
def test_correction_of_a_label(
    recorded: str | None, shown: list[str], set_by_bot: list[str], expected: str | None
) -> None:
    group_of = {
        "bug": "kind",
        "question": "kind",
        "priority-high": "priority",
        "priority-low": "priority",
        "priority-medium": "priority",
    }
    changed = find_changed_corrections(
        [AppliedLabel("priority", HIGH_NAME, "issues/analyze@3f9c2a", recorded)],
        shown,
        set_by_bot=set_by_bot,
        groups=group_of,
    )
    corrected = (AppliedLabel("priority", HIGH_NAME, "issues/analyze@3f9c2a", expected),)
    assert changed == (() if expected == "unchanged" else corrected)
