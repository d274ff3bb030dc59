"""Labels of a conversation over real HTTP: minimal changes, and recovery from lost responses."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from hls_handler.actions import EnsureLabels, Outcome, RequestedLabel
from hls_handler.clients.api import GithubApi
from hls_handler.clients.github import Github
from hls_handler.clients.repository_labels import RepositoryLabels
from hls_handler.errors import DependencyDown, HlsError, Postponed
from hls_handler.handlers.labels import LabelOrigin, LabelState
from hls_handler.handlers.reader import RepositoryLabel
from hls_handler.settings.model import EffectiveLabels
from tests.clients.conftest import NOON, Keep, make_writer
from tests.clients.fake_github import FakeGithub, Fault
from tests.clients.fake_history import FakeHistory

ON = "/repos/o/r/issues/7/labels"
ALL = "/repos/o/r/labels"
BUG, HIGH, LOW = (
    RequestedLabel("bug", "kind"),
    RequestedLabel("priority-high", "priority"),
    RequestedLabel("priority-low", "priority"),
)


class WriteSlots:
    """Counts the calls before writes; raises each given error once."""

    def __init__(self, *errors: HlsError | None) -> None:
        self.taken = 0
        self._errors = list(errors)

    def __call__(self) -> None:
        error = self._errors.pop(0) if self._errors else None
        if error is not None:
            raise error
        self.taken += 1


@pytest.fixture
def keep(api: GithubApi, history: FakeHistory) -> Keep:
    def keep(
        *requested: RequestedLabel,
        slots: WriteSlots | None = None,
        dry_run: bool = False,
        settings: EffectiveLabels | None = None,
        before: Mapping[str, LabelState] | None = None,
    ) -> Outcome:
        writer = make_writer(Github(api), history, slots or WriteSlots(), dry_run=dry_run)
        action = EnsureLabels(requested, ("kind", "priority", "size"))
        known = history.labels() if before is None else before
        return writer.ensure_labels(7, action, labels=settings or EffectiveLabels(), before=known)

    return keep


def test_missing_labels_are_created_with_colour_and_set_in_one_request(
    keep: Keep, history: FakeHistory, github: FakeGithub
) -> None:
    slots = WriteSlots()
    outcome = keep(BUG, HIGH, slots=slots)
    assert outcome == Outcome("labels", "changed", "added bug, priority-high", added=("bug", "priority-high"))
    assert github.calls == [f"GET {ON}", f"GET {ALL}", f"POST {ALL}", f"POST {ALL}", f"POST {ON}"]
    assert github.labels["priority-high"] == {
        "name": "priority-high",
        "color": "b60205",
        "description": "Hurts many people, or hurts much",
    }
    assert github.events == ["labeled bug", "labeled priority-high"]
    assert history.label_states == {"bug": "set", "priority-high": "set"}
    assert slots.taken == 3


def test_existing_labels_take_one_read_and_no_write(keep: Keep, github: FakeGithub) -> None:
    keep(BUG, HIGH)
    github.seen.clear()
    slots = WriteSlots()
    assert keep(BUG, HIGH, slots=slots) == Outcome("labels", "unchanged", "the labels are as they should be")
    assert github.calls == [f"GET {ON}"]
    assert slots.taken == 0


def test_labels_of_a_repository_are_listed_once_an_hour(api: GithubApi, github: FakeGithub) -> None:
    now = 0.0
    client = Github(api, labels=RepositoryLabels(lambda: now))
    github.add_label("bug")

    def set_labels(number: int, *requested: RequestedLabel) -> list[str]:
        writer = make_writer(client, FakeHistory())
        github.seen.clear()
        action = EnsureLabels(requested, ("kind", "priority"))
        writer.ensure_labels(number, action, labels=EffectiveLabels(), before={}, present=frozenset())
        return github.calls

    assert set_labels(7, BUG) == [f"GET {ALL}", f"POST {ON}"]
    assert set_labels(7, BUG, HIGH) == [f"POST {ALL}", f"POST {ON}"]  # the list says that it must be created
    assert set_labels(7, HIGH) == [f"POST {ON}"]  # it was created, so it exists
    now = 3600.0
    assert set_labels(7, BUG) == [f"GET {ALL}", f"POST {ON}"]


def test_one_listing_serves_the_prompt_and_the_writes(api: GithubApi, github: FakeGithub) -> None:
    client = Github(api)
    github.add_label("bug")
    github.labels["area/cart"] = {"name": "area/cart", "description": "The cart"}
    github.labels["stale"] = {"name": "stale", "description": None}  # type: ignore[dict-item]
    assert client.reader("o/r").labels() == (
        RepositoryLabel("bug", ""),
        RepositoryLabel("area/cart", "The cart"),
        RepositoryLabel("stale", ""),
    )
    writer = make_writer(client, FakeHistory())
    writer.ensure_labels(7, EnsureLabels((BUG,), ("kind",)), labels=EffectiveLabels(), before={}, present=frozenset())
    assert client.reader("o/r").labels()[0] == RepositoryLabel("bug", "")
    assert github.calls == [f"GET {ALL}", f"POST {ON}"]


def test_rule_14_suggested_label_is_looked_up_and_never_created(api: GithubApi, github: FakeGithub) -> None:
    client = Github(api)
    github.add_label("area/cart")
    client.reader("o/r").labels()
    del github.labels["area/cart"]  # a person deletes it while the listing is known
    cart = RequestedLabel("area/cart", "suggested_labels area/cart")
    action = EnsureLabels(
        (cart, BUG),
        ("kind", cart.group),
        existing_only=frozenset({"area/cart"}),
        rejected=(("admin", "it is not among the labels that the prompt listed"),),
    )
    writer = make_writer(client, FakeHistory())
    outcome = writer.ensure_labels(7, action, labels=EffectiveLabels(), before={}, present=frozenset())
    assert outcome.detail == (
        "added bug; admin not added: it is not among the labels that the prompt listed; "
        "area/cart not added: the repository has no such label"
    )
    assert github.calls == [f"GET {ALL}", f"GET {ALL}/area%2Fcart", f"POST {ALL}", f"POST {ON}"]
    assert github.issue_labels == ["bug"]


def test_label_is_stored_with_the_prompt_that_requested_it(api: GithubApi) -> None:
    history, small = FakeHistory(), RequestedLabel("size/small", "size")
    writer = make_writer(Github(api), history)
    action = EnsureLabels(
        (BUG, HIGH, small), ("kind", "priority", "size"), prompt_ids={"kind": "p@1", "priority": "q@2"}
    )
    writer.ensure_labels(7, action, labels=EffectiveLabels(), before={})
    assert history.origins == {"bug": LabelOrigin("kind", "p@1"), "priority-high": LabelOrigin("priority", "q@2")}


def test_label_names_are_quoted_in_urls(keep: Keep, github: FakeGithub) -> None:
    settings = EffectiveLabels(create=False)
    github.add_label("size/small")
    github.add_label("size/large")
    keep(RequestedLabel("size/small", "size"), settings=settings)
    keep(RequestedLabel("size/large", "size"), settings=settings)
    assert github.issue_labels == ["size/large"]
    assert f"GET {ALL}/size%2Fsmall" in github.calls
    assert f"DELETE {ON}/size%2Fsmall" in github.calls


def test_reading_of_labels_stops_when_all_names_are_found(keep: Keep, github: FakeGithub) -> None:
    for number in range(350):
        github.add_label(f"label {number}")
        if number == 150:
            github.add_label("BUG")
            github.add_label("Priority-High")
    keep(BUG, HIGH, settings=EffectiveLabels(create=False))
    assert github.calls == [f"GET {ON}", f"GET {ALL}", f"GET {ALL}", f"POST {ON}"]
    assert github.issue_labels == ["BUG", "Priority-High"]


def test_rule_14_label_removed_by_a_person_is_not_set_again(
    keep: Keep, history: FakeHistory, github: FakeGithub
) -> None:
    keep(BUG)
    github.issue_labels.clear()
    for _ in range(2):
        assert keep(BUG) == Outcome(
            "labels", "withheld", "the labels are as they should be; bug not added: a person removed it"
        )
    assert github.issue_labels == []
    assert history.label_states == {"bug": "removed"}


@pytest.mark.parametrize(
    "fault",
    [
        Fault("POST", ON, "drop", after=True),
        Fault("POST", ALL, status=502, after=True),
        Fault("POST", ON, "drop"),
        Fault("GET", ON, "drop"),
    ],
    ids=lambda fault: f"{fault.verb} {fault.path} {fault.kind} {'after' if fault.after else 'before'}",
)
def test_lost_response_causes_no_second_label_event(
    keep: Keep, history: FakeHistory, github: FakeGithub, fault: Fault
) -> None:
    github.faults = [fault]
    with pytest.raises(DependencyDown):
        keep(BUG, HIGH)
    outcome = keep(BUG, HIGH)
    assert outcome == Outcome("labels", "changed", "added bug, priority-high", added=("bug", "priority-high"))
    assert github.events == ["labeled bug", "labeled priority-high"]
    assert history.label_states == {"bug": "set", "priority-high": "set"}


def test_outcome_includes_writes_of_earlier_runs(keep: Keep, history: FakeHistory, github: FakeGithub) -> None:
    keep(LOW)
    before = history.labels()
    for _ in range(3):  # one removal, two creations
        with pytest.raises(Postponed):
            keep(BUG, HIGH, slots=WriteSlots(None, Postponed("not our turn", at=NOON)), before=before)
    last = keep(BUG, HIGH, before=before)
    assert last == Outcome(
        "labels",
        "changed",
        "added bug, priority-high; removed priority-low",
        added=("bug", "priority-high"),
        removed=("priority-low",),
    )
    assert keep(BUG, HIGH, before=before) == last  # as if the service had stopped before it stored the outcome
    assert github.events[1:] == ["unlabeled priority-low", "labeled bug", "labeled priority-high"]


@pytest.mark.parametrize("after", [True, False], ids=["after the effect", "before it"])
def test_removal_with_lost_response_does_not_count_as_removal_by_a_person(
    keep: Keep, history: FakeHistory, github: FakeGithub, after: bool
) -> None:
    keep(LOW)
    github.faults = [Fault("DELETE", f"{ON}/priority-low", "drop", after=after)]
    with pytest.raises(DependencyDown):
        keep(HIGH)
    keep(HIGH)
    assert github.issue_labels == ["priority-high"]
    assert history.label_states == {"priority-high": "set"}
    keep(LOW)
    assert github.issue_labels == ["priority-low"]
    assert github.events == [
        "labeled priority-low",
        "unlabeled priority-low",
        "labeled priority-high",
        "unlabeled priority-high",
        "labeled priority-low",
    ]


def test_label_removed_concurrently_is_no_error(keep: Keep, github: FakeGithub) -> None:
    keep(LOW)
    github.faults = [Fault("DELETE", f"{ON}/priority-low", status=404, body={"message": "Label does not exist"})]
    assert keep(HIGH).removed == ("priority-low",)


def test_refused_removal_costs_only_itself(keep: Keep, history: FakeHistory, github: FakeGithub) -> None:
    keep(LOW)
    github.faults = [Fault("DELETE", f"{ON}/priority-low", status=422, body={"message": "Validation Failed"})]
    outcome = keep(HIGH)
    assert outcome.detail == (
        "added priority-high; priority-low not removed: GitHub refused it (422 Validation Failed)"
    )
    assert (outcome.added, outcome.removed) == (("priority-high",), ())
    assert github.issue_labels == ["priority-low", "priority-high"]
    assert history.label_states == {"priority-low": "set", "priority-high": "set"}
    assert keep(HIGH).removed == ("priority-low",)


def test_label_that_github_refuses_to_create_costs_only_itself(
    keep: Keep, history: FakeHistory, github: FakeGithub
) -> None:
    outcome = keep(RequestedLabel("a,b", "kind"), HIGH)
    assert outcome.detail == "added priority-high; a,b not added: GitHub refused it (422 name: invalid)"
    assert (outcome.added, github.issue_labels) == (("priority-high",), ["priority-high"])
    assert history.label_states == {"priority-high": "set"}


def test_label_that_github_refuses_to_set_costs_only_itself(
    keep: Keep, history: FakeHistory, github: FakeGithub
) -> None:
    rejection = {"message": "Validation Failed", "errors": [{"field": "labels", "code": "custom"}]}
    github.faults = [Fault("POST", ON, status=422, body=rejection), Fault("POST", ON, status=422, body=rejection)]
    outcome = keep(BUG, HIGH)
    assert outcome.detail == "added priority-high; bug not added: GitHub refused it (422 labels: custom)"
    assert github.issue_labels == ["priority-high"]
    assert history.label_states == {"priority-high": "set"}


def test_dry_run_decides_and_writes_nothing(keep: Keep, history: FakeHistory, github: FakeGithub) -> None:
    keep(LOW)
    github.seen.clear()
    changes = history.changes
    outcome = keep(BUG, HIGH, dry_run=True)
    assert outcome == Outcome(
        "labels",
        "dry_run",
        "would have: added bug, priority-high; removed priority-low",
        added=("bug", "priority-high"),
        removed=("priority-low",),
    )
    assert github.calls == [f"GET {ON}", f"GET {ALL}"]
    assert history.changes == changes
