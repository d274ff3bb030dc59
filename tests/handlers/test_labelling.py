"""Which labels are added and removed."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hls_handler.actions import LabelWish
from hls_handler.handlers.labelling import CATALOGUE, LabelChange, LabelSpec, decide_labels, spec_of

NAMES = frozenset(spec.name for spec in CATALOGUE)
HIGH, LOW = LabelWish("priority-high", "priority"), LabelWish("priority-low", "priority")
BUG = LabelWish("bug", "kind")
NOTHING = LabelChange((), (), (), (), (), (), ())


def decide(*wishes: LabelWish, **given: Any) -> LabelChange:
    usual: dict[str, Any] = {
        "groups": ("kind", "priority"),
        "on_thread": frozenset(),
        "memory": {},
        "in_repository": NAMES,
        "may_create": True,
        "allow": ("*",),
    }
    return decide_labels(wishes=wishes, **{**usual, **given})


def test_a_wish_that_is_not_on_the_thread_is_added() -> None:
    assert decide(BUG, HIGH) == LabelChange((), ("bug", "priority-high"), (), (), (), (), ())


def test_our_label_that_is_there_already_stays() -> None:
    assert decide(BUG, on_thread=frozenset({"bug"}), memory={"bug": "ours"}) == NOTHING


def test_rule_14_a_label_of_ours_that_is_gone_was_taken_away_and_does_not_come_back() -> None:
    first = decide(BUG, memory={"bug": "ours"})
    assert (first.add, first.now_gone) == ((), ("bug",))
    assert first.withheld == (("bug", "a person took it away"),)
    later = decide(BUG, memory={"bug": "gone"})
    assert (later.add, later.now_gone) == ((), ())
    assert later.withheld == (("bug", "a person took it away"),)


def test_another_label_may_follow_where_a_person_took_one_away() -> None:
    assert decide(LOW, memory={"priority-high": "gone"}).add == ("priority-low",)


def test_rule_14_a_persons_label_is_left_and_no_other_of_its_group_is_added() -> None:
    change = decide(HIGH, on_thread=frozenset({"priority-low"}))
    assert (change.add, change.remove) == ((), ())
    assert change.withheld == (("priority-high", "a person set priority-low"),)


def test_a_persons_label_that_we_wish_too_is_not_made_ours() -> None:
    assert decide(HIGH, on_thread=frozenset({"priority-high"})) == NOTHING


def test_a_label_that_a_person_took_away_and_put_back_is_theirs() -> None:
    change = decide(LOW, on_thread=frozenset({"priority-high"}), memory={"priority-high": "gone"})
    assert (change.add, change.remove) == ((), ())


def test_our_label_yields_to_a_persons_of_the_same_group() -> None:
    change = decide(HIGH, on_thread=frozenset({"priority-high", "priority-low"}), memory={"priority-high": "ours"})
    assert change.remove == ("priority-high",)
    assert change.withheld == (("priority-high", "a person set priority-low"),)


def test_our_old_label_goes_when_another_of_its_group_is_right() -> None:
    change = decide(HIGH, on_thread=frozenset({"priority-low"}), memory={"priority-low": "ours"})
    assert (change.add, change.remove) == (("priority-high",), ("priority-low",))


def test_our_old_label_goes_when_its_group_has_none_now() -> None:
    change = decide(BUG, on_thread=frozenset({"priority-low"}), memory={"priority-low": "ours"})
    assert (change.add, change.remove) == (("bug",), ("priority-low",))


def test_a_group_that_the_analysis_does_not_speak_about_is_left() -> None:
    change = decide(BUG, on_thread=frozenset({"size/small"}), memory={"size/small": "ours"})
    assert (change.add, change.remove) == (("bug",), ())


def test_of_a_group_the_first_wish_counts() -> None:
    change = decide(HIGH, LOW, HIGH)
    assert change.add == ("priority-high",)
    assert change.withheld == (("priority-low", "of priority a thread carries one label"),)


def test_a_lost_answer_is_recognised_as_our_own_write() -> None:
    change = decide(BUG, on_thread=frozenset({"bug"}), memory={"bug": "intended"})
    assert change == LabelChange((), (), (), ("bug",), (), (), ())


def test_an_intent_that_never_took_effect_is_not_a_persons_no() -> None:
    change = decide(BUG, memory={"bug": "intended"})
    assert (change.add, change.now_gone, change.never_made) == (("bug",), (), ())


def test_an_intent_that_is_wanted_no_more_is_forgotten() -> None:
    change = decide(BUG, memory={"priority-low": "intended"})
    assert (change.add, change.never_made) == (("bug",), ("priority-low",))


def test_an_intended_label_that_is_wanted_no_more_is_removed_and_not_confirmed() -> None:
    change = decide(HIGH, on_thread=frozenset({"priority-low"}), memory={"priority-low": "intended"})
    assert (change.add, change.remove, change.confirm) == (("priority-high",), ("priority-low",), ())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"on_thread": frozenset({"BUG"}), "memory": {"bug": "ours"}}, NOTHING),
        ({"on_thread": frozenset({"Bug"})}, NOTHING),
        ({"in_repository": frozenset({"Bug"}), "may_create": False}, LabelChange((), ("bug",), (), (), (), (), ())),
    ],
    ids=["ours", "a person's", "in the repository"],
)
def test_names_that_differ_in_case_are_the_same(given: dict[str, Any], expected: LabelChange) -> None:
    assert decide(BUG, **given) == expected


def test_a_missing_label_is_created_with_its_colour_and_description() -> None:
    change = decide(BUG, in_repository=frozenset())
    assert change.create == (LabelSpec("bug", "kind", "d73a4a", "Something does not work as it should"),)
    assert change.add == ("bug",)


@pytest.mark.parametrize(
    ("wish", "given", "why"),
    [
        (
            BUG,
            {"in_repository": frozenset(), "may_create": False},
            "the repository has no such label, and labels.create is off in the settings",
        ),
        (BUG, {"allow": ("priority-*", "BUGS")}, "labels.allow in the settings does not let it"),
        (BUG, {"allow": ()}, "labels.allow in the settings does not let it"),
        (LabelWish("x" * 51, "kind"), {}, "a label's name has 1 to 50 characters"),
        (LabelWish(" ", "kind"), {}, "a label's name has 1 to 50 characters"),
        (
            BUG,
            {"on_thread": frozenset(map(str, range(100)))},
            "the thread has 100 labels, the most GitHub allows",
        ),
    ],
    ids=["missing", "not allowed", "nothing allowed", "long", "blank", "full"],
)
def test_rule_14_a_wish_that_is_not_granted_says_why(wish: LabelWish, given: dict[str, Any], why: str) -> None:
    change = decide(wish, **given)
    assert change.add == ()
    assert change.create == ()
    assert change.withheld == ((wish.name, why),)


PERSONS = "a person set priority-low"
AWAY = "a person took it away"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"on_thread": frozenset({"priority-low"}), "memory": {"priority-high": "gone"}}, PERSONS),
        ({"on_thread": frozenset({"priority-low"}), "in_repository": frozenset(), "may_create": False}, PERSONS),
        ({"memory": {"priority-high": "gone"}, "in_repository": frozenset(), "may_create": False}, AWAY),
        (
            {"on_thread": frozenset({"priority-low"}), "memory": {"priority-high": "gone"}, "allow": ()},
            "labels.allow in the settings does not let it",
        ),
    ],
    ids=["person's and taken away", "person's and missing", "taken away and missing", "all and not allowed"],
)
def test_of_several_reasons_to_withhold_a_label_the_operators_own_then_the_persons_is_told(
    given: dict[str, Any], why: str
) -> None:
    assert decide(HIGH, **given).withheld == (("priority-high", why),)


def test_settings_allow_by_glob_whatever_the_case() -> None:
    assert decide(BUG, HIGH, allow=("Priority-*",)).add == ("priority-high",)


def test_the_longest_name_is_fine() -> None:
    assert decide(LabelWish("x" * 50, "kind")).add == ("x" * 50,)


def test_a_label_that_we_remove_makes_room() -> None:
    others = frozenset(map(str, range(99)))
    change = decide(HIGH, on_thread=others | {"priority-low"}, memory={"priority-low": "ours"})
    assert (change.add, change.remove) == (("priority-high",), ("priority-low",))


def test_only_as_many_labels_are_added_as_there_is_room_for() -> None:
    change = decide(BUG, HIGH, on_thread=frozenset(map(str, range(99))))
    assert change.add == ("bug",)
    assert change.withheld == (("priority-high", "the thread has 100 labels, the most GitHub allows"),)


PAYMENTS, SEARCH = LabelWish("team/payments", "component"), LabelWish("team/search", "component")


def test_an_authors_label_gives_way_to_the_next_one_of_its_field() -> None:
    change = decide(
        SEARCH,
        groups=("component",),
        known=(PAYMENTS, SEARCH),
        on_thread=frozenset({"team/payments"}),
        memory={"team/payments": "ours"},
    )
    assert (change.add, change.remove) == (("team/search",), ("team/payments",))


def test_an_authors_label_that_a_person_set_keeps_others_of_its_field_away() -> None:
    change = decide(SEARCH, groups=("component",), known=(PAYMENTS, SEARCH), on_thread=frozenset({"team/payments"}))
    assert (change.add, change.withheld) == ((), (("team/search", "a person set team/payments"),))


def test_a_shipped_label_of_ours_goes_when_its_field_has_the_authors_labels_now() -> None:
    change = decide(
        LabelWish("defect", "kind"),
        known=(LabelWish("defect", "kind"),),
        on_thread=frozenset({"bug"}),
        memory={"bug": "ours"},
    )
    assert (change.add, change.remove) == (("defect",), ("bug",))


def test_several_labels_of_a_list_stand_beside_each_other() -> None:
    api, docs = LabelWish("area/api", "areas area/api"), LabelWish("area/docs", "areas area/docs")
    web = LabelWish("area/web", "areas area/web")
    change = decide(
        api,
        docs,
        groups=(api.group, docs.group, web.group),
        known=(api, docs, web),
        on_thread=frozenset({"area/web", "area/docs"}),
        memory={"area/web": "ours"},
    )
    assert (change.add, change.remove, change.withheld) == (("area/api",), ("area/web",), ())


def test_a_label_that_two_fields_ask_for_is_added_once() -> None:
    assert decide(BUG, LabelWish("Bug", "type")).add == ("bug",)


def test_a_wish_outside_the_catalogue_gets_a_plain_look() -> None:
    assert spec_of(LabelWish("component-api", "component")) == LabelSpec(
        "component-api", "component", "ededed", "Set by HLS: component"
    )


def test_the_catalogue_fits_github_and_the_handlers() -> None:
    assert len(NAMES) == len(CATALOGUE) == 23
    for spec in CATALOGUE:
        assert len(spec.name) <= 50
        assert 0 < len(spec.description) <= 100
        assert len(spec.color) == 6
        assert set(spec.color) <= set(string.hexdigits)
    assert {spec.group for spec in CATALOGUE} == {
        "kind",
        "priority",
        "difficulty",
        "component",
        "size",
        "type",
        "status",
    }


some_names = st.sampled_from([*sorted(NAMES), "Bug", "a person's own"])
some_memories = st.dictionaries(some_names, st.sampled_from(["intended", "ours", "gone"]), max_size=8).filter(
    lambda memory: len({name.casefold() for name in memory}) == len(memory)  # we spell a name in one way
)
some_wishes = st.lists(st.sampled_from([LabelWish(spec.name, spec.group) for spec in CATALOGUE]), max_size=6)


@given(
    wishes=some_wishes,
    on_thread=st.frozensets(some_names, max_size=8),
    memory=some_memories,
    may_create=st.booleans(),
)
def test_rule_14_nobody_elses_label_is_ever_removed_and_nothing_comes_back(
    wishes: list[LabelWish], on_thread: frozenset[str], memory: dict[str, Any], may_create: bool
) -> None:
    change = decide(*wishes, on_thread=on_thread, memory=memory, may_create=may_create)
    assert all(memory.get(name) in ("ours", "intended") for name in change.remove)
    assert not any(memory.get(name) in ("ours", "gone") for name in change.add)
    assert not {name.casefold() for name in change.add} & {name.casefold() for name in on_thread}
    assert len(change.add) == len({wish.group for wish in wishes if wish.name in change.add})


@given(wishes=some_wishes, on_thread=st.frozensets(some_names, max_size=8))
def test_once_it_is_done_there_is_nothing_left_to_do(wishes: list[LabelWish], on_thread: frozenset[str]) -> None:
    change = decide(*wishes, on_thread=on_thread)
    after = decide(*wishes, on_thread=on_thread | set(change.add), memory=dict.fromkeys(change.add, "ours"))
    assert (after.add, after.remove, after.now_gone) == ((), (), ())


def test_rule_14_a_label_has_to_fit_what_the_repository_allows_as_well() -> None:
    change = decide(BUG, HIGH, allow=("*",), narrowed_to=("Priority-*",), narrowed_at=".github/hls.yaml:3")
    assert change.add == ("priority-high",)
    assert change.withheld == (("bug", ".github/hls.yaml:3 does not let it"),)
    assert decide(BUG, allow=("priority-*",), narrowed_to=("*",)).withheld == (
        ("bug", "labels.allow in the settings does not let it"),
    )
