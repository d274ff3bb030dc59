"""Decisions about adding and removing labels."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hls_handler.actions import EnsureLabels, RequestedLabel
from hls_handler.analysis import Reply
from hls_handler.handlers.labels import SHIPPED_LABELS, LabelDifference, LabelSpec, decide_labels, plan_labels, spec_of
from hls_handler.settings.model import EffectiveLabels
from tests.handlers.world import analysis, issue_analysis, issue_response, pull_request_analysis
from tests.prompting.samples import load
from tests.prompting.test_library_errors import front

NAMES = frozenset(spec.name for spec in SHIPPED_LABELS)
HIGH, LOW = RequestedLabel("priority-high", "priority"), RequestedLabel("priority-low", "priority")
BUG = RequestedLabel("bug", "kind")
NOTHING = LabelDifference((), (), (), (), (), (), ())


def decide(*requested: RequestedLabel, **given: Any) -> LabelDifference:
    action = EnsureLabels(requested, given.get("groups", ("kind", "priority")), given.get("custom_labels", ()))
    fields = ("create", "allow", "repository_allow", "repository_allow_source")
    return decide_labels(
        action,
        EffectiveLabels(**{name: given[name] for name in fields if name in given}),
        present=given.get("present", frozenset()),
        stored=given.get("stored", {}),
        in_repository=given.get("in_repository", NAMES),
    )


def test_a_requested_label_that_is_missing_is_added() -> None:
    assert decide(BUG, HIGH) == LabelDifference((), ("bug", "priority-high"), (), (), (), (), ())


def test_a_present_bot_label_is_unchanged() -> None:
    assert decide(BUG, present=frozenset({"bug"}), stored={"bug": "set"}) == NOTHING


def test_rule_14_a_bot_label_that_a_person_removed_is_not_added_again() -> None:
    first = decide(BUG, stored={"bug": "set"})
    assert (first.add, first.removed_by_person) == ((), ("bug",))
    assert first.withheld == (("bug", "a person removed it"),)
    later = decide(BUG, stored={"bug": "removed"})
    assert (later.add, later.removed_by_person) == ((), ())
    assert later.withheld == (("bug", "a person removed it"),)


def test_another_label_of_the_group_may_replace_a_removed_one() -> None:
    assert decide(LOW, stored={"priority-high": "removed"}).add == ("priority-low",)


def test_rule_14_a_persons_label_stays_and_no_other_of_its_group_is_added() -> None:
    change = decide(HIGH, present=frozenset({"priority-low"}))
    assert (change.add, change.remove) == ((), ())
    assert change.withheld == (("priority-high", "a person set priority-low"),)


def test_a_requested_label_set_by_a_person_does_not_become_a_bot_label() -> None:
    assert decide(HIGH, present=frozenset({"priority-high"})) == NOTHING


def test_a_bot_label_that_a_person_removed_and_set_again_is_theirs() -> None:
    change = decide(LOW, present=frozenset({"priority-high"}), stored={"priority-high": "removed"})
    assert (change.add, change.remove) == ((), ())


def test_a_bot_label_is_removed_if_a_person_set_one_of_the_same_group() -> None:
    change = decide(HIGH, present=frozenset({"priority-high", "priority-low"}), stored={"priority-high": "set"})
    assert change.remove == ("priority-high",)
    assert change.withheld == (("priority-high", "a person set priority-low"),)


def test_an_old_bot_label_is_removed_if_another_of_its_group_is_requested() -> None:
    change = decide(HIGH, present=frozenset({"priority-low"}), stored={"priority-low": "set"})
    assert (change.add, change.remove) == (("priority-high",), ("priority-low",))


def test_an_old_bot_label_is_removed_if_none_of_its_group_is_requested() -> None:
    change = decide(BUG, present=frozenset({"priority-low"}), stored={"priority-low": "set"})
    assert (change.add, change.remove) == (("bug",), ("priority-low",))


def test_groups_that_the_analysis_does_not_cover_are_unchanged() -> None:
    change = decide(BUG, present=frozenset({"size/small"}), stored={"size/small": "set"})
    assert (change.add, change.remove) == (("bug",), ())


def test_the_first_requested_label_of_a_group_is_set() -> None:
    change = decide(HIGH, LOW, HIGH)
    assert change.add == ("priority-high",)
    assert change.withheld == (("priority-low", "another priority label comes first, and at most one is set"),)


def test_an_intended_label_that_is_present_is_confirmed_as_bot_label() -> None:
    change = decide(BUG, present=frozenset({"bug"}), stored={"bug": "intended"})
    assert change == LabelDifference((), (), (), ("bug",), (), (), ())


def test_an_intended_label_that_is_missing_does_not_count_as_removed_by_a_person() -> None:
    change = decide(BUG, stored={"bug": "intended"})
    assert (change.add, change.removed_by_person, change.not_applied) == (("bug",), (), ())


def test_the_state_of_an_intended_label_that_is_no_longer_requested_is_deleted() -> None:
    change = decide(BUG, stored={"priority-low": "intended"})
    assert (change.add, change.not_applied) == (("bug",), ("priority-low",))


def test_an_intended_label_that_is_no_longer_requested_is_removed_and_not_confirmed() -> None:
    change = decide(HIGH, present=frozenset({"priority-low"}), stored={"priority-low": "intended"})
    assert (change.add, change.remove, change.confirm) == (("priority-high",), ("priority-low",), ())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"present": frozenset({"BUG"}), "stored": {"bug": "set"}}, NOTHING),
        ({"present": frozenset({"Bug"})}, NOTHING),
        ({"in_repository": frozenset({"Bug"}), "create": False}, LabelDifference((), ("bug",), (), (), (), (), ())),
    ],
    ids=["set", "a person's", "in the repository"],
)
def test_names_that_differ_in_case_are_the_same(given: dict[str, Any], expected: LabelDifference) -> None:
    assert decide(BUG, **given) == expected


def test_a_missing_label_is_created_with_its_colour_and_description() -> None:
    change = decide(BUG, in_repository=frozenset())
    assert change.create == (LabelSpec("bug", "kind", "d73a4a", "Something does not work as it should"),)
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
        (BUG, {"allow": ()}, "labels.allow in the settings does not allow it"),
        (RequestedLabel("x" * 51, "kind"), {}, "a label's name must have 1 to 50 characters"),
        (RequestedLabel(" ", "kind"), {}, "a label's name must have 1 to 50 characters"),
        (
            BUG,
            {"present": frozenset(map(str, range(100)))},
            "the conversation has 100 labels, the most that GitHub allows",
        ),
    ],
    ids=["missing", "not allowed", "nothing allowed", "long", "blank", "full"],
)
def test_rule_14_a_withheld_label_has_a_reason(label: RequestedLabel, given: dict[str, Any], reason: str) -> None:
    change = decide(label, **given)
    assert change.add == ()
    assert change.create == ()
    assert change.withheld == ((label.name, reason),)


SET_BY_PERSON = "a person set priority-low"
REMOVED = "a person removed it"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"present": frozenset({"priority-low"}), "stored": {"priority-high": "removed"}}, SET_BY_PERSON),
        (
            {"present": frozenset({"priority-low"}), "in_repository": frozenset(), "create": False},
            SET_BY_PERSON,
        ),
        ({"stored": {"priority-high": "removed"}, "in_repository": frozenset(), "create": False}, REMOVED),
        (
            {"present": frozenset({"priority-low"}), "stored": {"priority-high": "removed"}, "allow": ()},
            "labels.allow in the settings does not allow it",
        ),
    ],
    ids=["set and removed", "set and missing", "removed and missing", "all and not allowed"],
)
def test_the_operators_reason_to_withhold_a_label_takes_precedence_over_a_persons(
    given: dict[str, Any], why: str
) -> None:
    assert decide(HIGH, **given).withheld == (("priority-high", why),)


def test_allow_globs_ignore_case() -> None:
    assert decide(BUG, HIGH, allow=("Priority-*",)).add == ("priority-high",)


def test_a_name_of_50_characters_is_allowed() -> None:
    assert decide(RequestedLabel("x" * 50, "kind")).add == ("x" * 50,)


def test_a_removed_label_frees_a_slot() -> None:
    others = frozenset(map(str, range(99)))
    change = decide(HIGH, present=others | {"priority-low"}, stored={"priority-low": "set"})
    assert (change.add, change.remove) == (("priority-high",), ("priority-low",))


def test_labels_are_added_up_to_githubs_limit() -> None:
    change = decide(BUG, HIGH, present=frozenset(map(str, range(99))))
    assert change.add == ("bug",)
    assert change.withheld == (("priority-high", "the conversation has 100 labels, the most that GitHub allows"),)


PAYMENTS, SEARCH = RequestedLabel("team/payments", "component"), RequestedLabel("team/search", "component")


def test_a_custom_label_is_replaced_by_another_of_its_field() -> None:
    change = decide(
        SEARCH,
        groups=("component",),
        custom_labels=(PAYMENTS, SEARCH),
        present=frozenset({"team/payments"}),
        stored={"team/payments": "set"},
    )
    assert (change.add, change.remove) == (("team/search",), ("team/payments",))


def test_a_custom_label_set_by_a_person_prevents_others_of_its_field() -> None:
    change = decide(
        SEARCH, groups=("component",), custom_labels=(PAYMENTS, SEARCH), present=frozenset({"team/payments"})
    )
    assert (change.add, change.withheld) == ((), (("team/search", "a person set team/payments"),))


def test_a_shipped_bot_label_is_removed_if_its_field_now_has_custom_labels() -> None:
    change = decide(
        RequestedLabel("defect", "kind"),
        custom_labels=(RequestedLabel("defect", "kind"),),
        present=frozenset({"bug"}),
        stored={"bug": "set"},
    )
    assert (change.add, change.remove) == (("defect",), ("bug",))


def test_several_labels_of_a_list_are_set() -> None:
    api, docs = RequestedLabel("area/api", "areas area/api"), RequestedLabel("area/docs", "areas area/docs")
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


def test_a_label_requested_by_two_fields_is_added_once() -> None:
    assert decide(BUG, RequestedLabel("Bug", "type")).add == ("bug",)


def test_a_label_outside_the_catalogue_gets_default_color_and_description() -> None:
    assert spec_of(RequestedLabel("component-api", "component")) == LabelSpec(
        "component-api", "component", "ededed", "Set by HLS: component"
    )


def test_the_catalogue_meets_githubs_limits() -> None:
    assert len(NAMES) == len(SHIPPED_LABELS) == 24
    for spec in SHIPPED_LABELS:
        assert len(spec.name) <= 50
        assert 0 < len(spec.description) <= 100
        assert len(spec.color) == 6
        assert set(spec.color) <= set(string.hexdigits)
    assert {spec.group for spec in SHIPPED_LABELS} == {
        "kind",
        "priority",
        "difficulty",
        "component",
        "size",
        "type",
        "status",
    }


label_names = st.sampled_from([*sorted(NAMES), "Bug", "a person's own"])
label_states = st.dictionaries(label_names, st.sampled_from(["intended", "set", "removed"]), max_size=8).filter(
    lambda stored: len({name.casefold() for name in stored}) == len(stored)  # stored names differ by more than case
)
label_lists = st.lists(st.sampled_from([RequestedLabel(spec.name, spec.group) for spec in SHIPPED_LABELS]), max_size=6)


@given(
    requested=label_lists,
    present=st.frozensets(label_names, max_size=8),
    stored=label_states,
    may_create=st.booleans(),
)
def test_rule_14_only_bot_labels_are_removed_and_removed_ones_are_not_added_again(
    requested: list[RequestedLabel], present: frozenset[str], stored: dict[str, Any], may_create: bool
) -> None:
    change = decide(*requested, present=present, stored=stored, create=may_create)
    assert all(stored.get(name) in ("set", "intended") for name in change.remove)
    assert not any(stored.get(name) in ("set", "removed") for name in change.add)
    assert not {name.casefold() for name in change.add} & {name.casefold() for name in present}
    assert len(change.add) == len({label.group for label in requested if label.name in change.add})


@given(requested=label_lists, present=st.frozensets(label_names, max_size=8))
def test_the_decision_is_idempotent(requested: list[RequestedLabel], present: frozenset[str]) -> None:
    change = decide(*requested, present=present)
    after = decide(*requested, present=present | set(change.add), stored=dict.fromkeys(change.add, "set"))
    assert (after.add, after.remove, after.removed_by_person) == ((), (), ())


def test_rule_14_a_label_must_also_be_allowed_by_the_repository() -> None:
    change = decide(
        BUG, HIGH, allow=("*",), repository_allow=("Priority-*",), repository_allow_source=".github/hls.yaml:3"
    )
    assert change.add == ("priority-high",)
    assert change.withheld == (("bug", ".github/hls.yaml:3 does not allow it"),)
    assert decide(BUG, allow=("priority-*",), repository_allow=("*",)).withheld == (
        ("bug", "labels.allow in the settings does not allow it"),
    )


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
            dict.fromkeys(GROUPS, "p@1"),
        ),
    )


def test_groups_of_values_without_a_label_are_covered(tmp_path: Path) -> None:
    assert plan_labels(analysis(reply(tmp_path, kind="question", component="none"))) == (
        EnsureLabels((), GROUPS, NOT_SHIPPED, dict.fromkeys(GROUPS, "p@1")),
    )


def test_the_handlers_own_labels_come_first() -> None:
    small = RequestedLabel("size/small", "size")
    (labels,) = plan_labels(analysis(issue_analysis()), small, groups=("status",))
    assert labels.requested[0] == small
    assert labels.groups == ("size", "status", "kind", "priority", "difficulty", "component")
    assert labels.custom_labels == ()


def test_labels_come_from_every_reply_of_a_chain(tmp_path: Path) -> None:
    (labels,) = plan_labels(analysis(issue_analysis(), reply(tmp_path), reply(tmp_path)))
    assert [label.name for label in labels.requested] == [
        *("bug", "priority-high", "difficulty-easy", "component-backend"),
        *("defect", "component-search", "defect", "component-search"),
    ]
    assert labels.custom_labels == NOT_SHIPPED


def test_no_action_if_no_reply_covers_a_label_group() -> None:
    assert plan_labels(analysis(issue_response())) == ()
    assert plan_labels(analysis()) == ()


def test_label_groups_get_the_id_of_the_prompt_whose_reply_has_the_field() -> None:
    (labels,) = plan_labels(analysis(issue_analysis(), issue_response()))
    assert labels.prompt_ids == {"kind": "p@1", "priority": "p@1", "difficulty": "p@1", "component": "p@1"}


def test_groups_without_a_reply_field_have_no_prompt_id() -> None:
    (labels,) = plan_labels(analysis(pull_request_analysis()), RequestedLabel("size/small", "size"))
    assert labels.groups == ("size", "type")
    assert labels.prompt_ids == {"type": "p@1"}
