"""Labels on a thread, over real HTTP: the least change, and no answer that is lost does harm."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from hls_handler.actions import KeepLabels, LabelWish, Outcome
from hls_handler.clients.api import Api
from hls_handler.clients.github import Github
from hls_handler.errors import DependencyDown, HlsError, LeaseLost, Permanent, Retryable, Wait
from hls_handler.events import Account
from hls_handler.handlers.labelling import LabelState, Origin
from hls_handler.settings.model import LabelsOfARepository
from tests.clients.conftest import NOON
from tests.clients.fake_github import HLS, FakeGithub, Fault
from tests.clients.fake_memory import FakeMemory

WE = Account(str(HLS["login"]), 9001, "User")
ON = "/repos/o/r/issues/7/labels"
ALL = "/repos/o/r/labels"
BUG, HIGH, LOW = LabelWish("bug", "kind"), LabelWish("priority-high", "priority"), LabelWish("priority-low", "priority")


class Turns:
    """Counts the turns taken before writes; raises what it is told to, once."""

    def __init__(self, *errors: HlsError | None) -> None:
        self.taken = 0
        self._errors = list(errors)

    def __call__(self) -> None:
        error = self._errors.pop(0) if self._errors else None
        if error is not None:
            raise error
        self.taken += 1


def keep(
    api: Api,
    memory: FakeMemory,
    *wishes: LabelWish,
    turns: Turns | None = None,
    dry_run: bool = False,
    settings: LabelsOfARepository | None = None,
    before: Mapping[str, LabelState] | None = None,
) -> Outcome:
    writer = Github(api).writer(
        "o/r", we=WE, memory=memory, before_write=turns or Turns(), still_ours=lambda: None, dry_run=dry_run
    )
    action = KeepLabels(wishes, ("kind", "priority", "size"))
    known = memory.labels() if before is None else before
    return writer.keep_labels(7, action, labels=settings or LabelsOfARepository(), before=known)


def test_missing_labels_are_created_with_their_look_and_set_in_one_request(api: Api, github: FakeGithub) -> None:
    memory, turns = FakeMemory(), Turns()
    outcome = keep(api, memory, BUG, HIGH, turns=turns)
    assert outcome == Outcome("labels", "changed", "added bug, priority-high", added=("bug", "priority-high"))
    assert github.calls == [f"GET {ON}", f"GET {ALL}", f"POST {ALL}", f"POST {ALL}", f"POST {ON}"]
    assert github.labels["priority-high"] == {
        "name": "priority-high",
        "color": "b60205",
        "description": "Hurts many people, or hurts much",
    }
    assert github.events == ["labeled bug", "labeled priority-high"]
    assert memory.label_states == {"bug": "ours", "priority-high": "ours"}
    assert turns.taken == 3


def test_labels_that_are_there_cost_one_read_and_no_write(api: Api, github: FakeGithub) -> None:
    memory = FakeMemory()
    keep(api, memory, BUG, HIGH)
    github.seen.clear()
    turns = Turns()
    assert keep(api, memory, BUG, HIGH, turns=turns) == Outcome(
        "labels", "unchanged", "the labels are as they should be"
    )
    assert github.calls == [f"GET {ON}"]
    assert turns.taken == 0


def test_one_missing_label_is_looked_up_by_its_name(api: Api, github: FakeGithub) -> None:
    github.add_label("bug")
    keep(api, FakeMemory(), BUG)
    assert github.calls == [f"GET {ON}", f"GET {ALL}/bug", f"POST {ON}"]


def test_a_label_is_remembered_with_the_prompt_whose_reply_asked_for_it(api: Api) -> None:
    memory, small = FakeMemory(), LabelWish("size/small", "size")
    writer = Github(api).writer(
        "o/r", we=WE, memory=memory, before_write=Turns(), still_ours=lambda: None, dry_run=False
    )
    action = KeepLabels((BUG, HIGH, small), ("kind", "priority", "size"), said={"kind": "p@1", "priority": "q@2"})
    writer.keep_labels(7, action, labels=LabelsOfARepository(), before={})
    assert memory.origins == {"bug": Origin("kind", "p@1"), "priority-high": Origin("priority", "q@2")}


def test_names_are_quoted_in_addresses(api: Api, github: FakeGithub) -> None:
    memory = FakeMemory()
    keep(api, memory, LabelWish("size/small", "size"))
    keep(api, memory, LabelWish("size/large", "size"))
    assert github.on_thread == ["size/large"]
    assert f"GET {ALL}/size%2Fsmall" in github.calls
    assert f"DELETE {ON}/size%2Fsmall" in github.calls


def test_a_large_repository_is_read_only_until_all_names_are_found(api: Api, github: FakeGithub) -> None:
    for number in range(350):
        github.add_label(f"label {number}")
        if number == 150:
            github.add_label("BUG")
            github.add_label("Priority-High")
    keep(api, FakeMemory(), BUG, HIGH)
    assert github.calls == [f"GET {ON}", f"GET {ALL}", f"GET {ALL}", f"POST {ON}"]
    assert github.on_thread == ["BUG", "Priority-High"]


def test_an_old_label_of_ours_gives_way_to_the_new_one_of_its_group(api: Api, github: FakeGithub) -> None:
    memory = FakeMemory()
    keep(api, memory, LOW)
    outcome = keep(api, memory, HIGH)
    assert outcome.detail == "added priority-high; removed priority-low"
    assert (outcome.added, outcome.removed) == (("priority-high",), ("priority-low",))
    assert github.on_thread == ["priority-high"]
    assert memory.label_states == {"priority-high": "ours"}


def test_rule_14_a_label_that_a_person_took_away_does_not_come_back(api: Api, github: FakeGithub) -> None:
    memory = FakeMemory()
    keep(api, memory, BUG)
    github.on_thread.clear()
    for _ in range(2):
        assert keep(api, memory, BUG) == Outcome(
            "labels", "withheld", "the labels are as they should be; bug not added: a person took it away"
        )
    assert github.on_thread == []
    assert memory.label_states == {"bug": "gone"}


def test_a_persons_label_stays_and_ours_of_its_group_is_withheld(api: Api, github: FakeGithub) -> None:
    github.on_thread = ["priority-low"]
    outcome = keep(api, FakeMemory(), HIGH)
    assert outcome.kind == "withheld"
    assert outcome.detail.endswith("priority-high not added: a person set priority-low")
    assert github.calls == [f"GET {ON}"]


def test_rule_14_nothing_is_created_where_settings_say_so(api: Api, github: FakeGithub) -> None:
    github.add_label("bug")
    outcome = keep(api, FakeMemory(), BUG, HIGH, settings=LabelsOfARepository(create=False))
    assert github.on_thread == ["bug"]
    assert outcome.detail == (
        "added bug; priority-high not added: the repository has no such label, and labels.create is off in the settings"
    )
    assert f"POST {ALL}" not in github.calls


@pytest.mark.parametrize(
    "fault",
    [
        Fault("POST", ON, "drop", after=True),
        Fault("POST", ON, status=502, after=True),
        Fault("POST", ALL, "drop", after=True),
        Fault("POST", ALL, status=502, after=True),
        Fault("POST", ON, "drop"),
        Fault("POST", ALL, "drop"),
        Fault("GET", ON, "drop"),
        Fault("GET", ALL, status=500),
    ],
    ids=lambda fault: f"{fault.verb} {fault.path} {fault.kind} {'after' if fault.after else 'before'}",
)
def test_a_lost_answer_leads_to_no_second_label_event(api: Api, github: FakeGithub, fault: Fault) -> None:
    memory = FakeMemory()
    github.faults = [fault]
    with pytest.raises(DependencyDown):
        keep(api, memory, BUG, HIGH)
    outcome = keep(api, memory, BUG, HIGH)
    assert outcome == Outcome("labels", "changed", "added bug, priority-high", added=("bug", "priority-high"))
    assert github.events == ["labeled bug", "labeled priority-high"]
    assert memory.label_states == {"bug": "ours", "priority-high": "ours"}


def test_what_earlier_rounds_of_a_delivery_did_is_told_at_the_end(api: Api, github: FakeGithub) -> None:
    memory = FakeMemory()
    keep(api, memory, LOW)
    before = memory.labels()
    for _ in range(3):  # one removal, two creations
        with pytest.raises(Wait):
            keep(api, memory, BUG, HIGH, turns=Turns(None, Wait("not our turn", at=NOON)), before=before)
    last = keep(api, memory, BUG, HIGH, before=before)
    assert last == Outcome(
        "labels",
        "changed",
        "added bug, priority-high; removed priority-low",
        added=("bug", "priority-high"),
        removed=("priority-low",),
    )
    assert keep(api, memory, BUG, HIGH, before=before) == last  # had the service ended before the outcome was kept
    assert github.events[1:] == ["unlabeled priority-low", "labeled bug", "labeled priority-high"]


def test_labels_are_told_in_the_order_of_the_wishes_whichever_round_set_them(api: Api, github: FakeGithub) -> None:
    memory = FakeMemory()
    told = keep(api, memory, HIGH, BUG, before={})
    assert told.detail == "added priority-high, bug"
    assert keep(api, memory, HIGH, BUG, before={}) == told


@pytest.mark.parametrize("after", [True, False], ids=["after the effect", "before it"])
def test_a_removal_whose_answer_is_lost_is_told(api: Api, github: FakeGithub, after: bool) -> None:
    memory = FakeMemory()
    keep(api, memory, LOW)
    before = memory.labels()
    github.faults = [Fault("DELETE", f"{ON}/priority-low", "drop", after=after)]
    with pytest.raises(DependencyDown):
        keep(api, memory, HIGH, before=before)
    outcome = keep(api, memory, HIGH, before=before)
    assert outcome.detail == "added priority-high; removed priority-low"


def test_a_label_that_a_person_takes_away_between_two_rounds_is_not_told_as_ours(api: Api, github: FakeGithub) -> None:
    memory = FakeMemory()
    keep(api, memory, BUG, LOW)
    before = memory.labels()
    with pytest.raises(Wait):
        keep(api, memory, BUG, HIGH, turns=Turns(None, Wait("not our turn", at=NOON)), before=before)
    github.on_thread.remove("bug")
    outcome = keep(api, memory, BUG, HIGH, before=before)
    assert (outcome.added, outcome.removed) == (("priority-high",), ("priority-low",))


@pytest.mark.parametrize("after", [True, False], ids=["after the effect", "before it"])
def test_a_removal_whose_answer_is_lost_is_not_taken_for_a_persons_no(
    api: Api, github: FakeGithub, after: bool
) -> None:
    memory = FakeMemory()
    keep(api, memory, LOW)
    github.faults = [Fault("DELETE", f"{ON}/priority-low", "drop", after=after)]
    with pytest.raises(DependencyDown):
        keep(api, memory, HIGH)
    keep(api, memory, HIGH)
    assert github.on_thread == ["priority-high"]
    assert memory.label_states == {"priority-high": "ours"}
    keep(api, memory, LOW)
    assert github.on_thread == ["priority-low"]
    assert github.events == [
        "labeled priority-low",
        "unlabeled priority-low",
        "labeled priority-high",
        "unlabeled priority-high",
        "labeled priority-low",
    ]


def test_a_label_that_somebody_takes_off_at_the_same_moment_is_fine(api: Api, github: FakeGithub) -> None:
    memory = FakeMemory()
    keep(api, memory, LOW)
    github.faults = [Fault("DELETE", f"{ON}/priority-low", status=404, body={"message": "Label does not exist"})]
    assert keep(api, memory, HIGH).removed == ("priority-low",)


def test_a_removal_that_github_refuses_is_not_taken_for_done(api: Api, github: FakeGithub) -> None:
    memory = FakeMemory()
    keep(api, memory, LOW)
    github.faults = [Fault("DELETE", f"{ON}/priority-low", status=422, body={"message": "Validation Failed"})]
    with pytest.raises(Retryable):
        keep(api, memory, HIGH)
    assert github.on_thread == ["priority-low"]
    assert "priority-low" in memory.label_states


def test_a_label_that_another_worker_creates_at_the_same_moment_is_fine(api: Api, github: FakeGithub) -> None:
    github.add_label("bug")
    github.faults = [Fault("GET", f"{ALL}/bug", status=404, body={"message": "Not Found"})]
    assert keep(api, FakeMemory(), BUG).added == ("bug",)


def test_a_label_that_github_does_not_take_is_our_own_fault(api: Api, github: FakeGithub) -> None:
    with pytest.raises(Retryable, match=r"^POST /repos/o/r/labels: 422: GitHub does not take the label a,b$") as error:
        keep(api, FakeMemory(), LabelWish("a,b", "kind"))
    assert not isinstance(error.value, DependencyDown)


@pytest.mark.parametrize("stopped", [0, 1, 2, 3])
@pytest.mark.parametrize(
    "error", [Wait("not our turn", at=NOON), LeaseLost("another worker has it")], ids=["wait", "lease lost"]
)
def test_a_stop_before_any_write_breaks_nothing(api: Api, github: FakeGithub, stopped: int, error: HlsError) -> None:
    memory = FakeMemory()
    keep(api, memory, LOW)
    github.events.clear()
    turns = Turns(*[None] * stopped, error)  # one removal, two creations, one addition
    with pytest.raises(type(error)):
        keep(api, memory, BUG, HIGH, turns=turns)
    assert turns.taken == stopped
    keep(api, memory, BUG, HIGH)
    assert github.events == ["unlabeled priority-low", "labeled bug", "labeled priority-high"]
    assert memory.label_states == {"bug": "ours", "priority-high": "ours"}


def test_an_intent_that_came_to_nothing_is_forgotten(api: Api, github: FakeGithub) -> None:
    memory = FakeMemory()
    with pytest.raises(Wait):
        keep(api, memory, BUG, turns=Turns(None, Wait("not our turn", at=NOON)))
    assert memory.label_states == {"bug": "intended"}
    keep(api, memory, HIGH)
    assert memory.label_states == {"priority-high": "ours"}


def test_a_dry_run_looks_and_decides_and_writes_nothing(api: Api, github: FakeGithub) -> None:
    memory = FakeMemory()
    keep(api, memory, LOW)
    github.seen.clear()
    changes = memory.changes
    outcome = keep(api, memory, BUG, HIGH, dry_run=True)
    assert outcome == Outcome(
        "labels",
        "dry_run",
        "would have: added bug, priority-high; removed priority-low",
        added=("bug", "priority-high"),
        removed=("priority-low",),
    )
    assert github.calls == [f"GET {ON}", f"GET {ALL}"]
    assert memory.changes == changes


def test_a_dry_run_of_what_is_done_already_says_so(api: Api, github: FakeGithub) -> None:
    memory = FakeMemory()
    keep(api, memory, LOW)
    assert keep(api, memory, LOW, dry_run=True).kind == "unchanged"


def test_a_missing_permission_is_named(api: Api, github: FakeGithub) -> None:
    github.faults = [
        Fault(
            *("POST", ON),
            status=403,
            body={"message": "Resource not accessible by personal access token"},
            headers={"X-Accepted-GitHub-Permissions": "issues=write; pull_requests=write"},
        )
    ]
    github.add_label("bug")
    with pytest.raises(Permanent, match="GitHub asks for issues=write; pull_requests=write"):
        keep(api, FakeMemory(), BUG)
