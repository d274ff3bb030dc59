"""Labels of a conversation in the sandbox: minimal changes, and recovery from lost responses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from hls_handler.actions import EnsureLabels, Outcome, RequestedLabel
from hls_handler.errors import DependencyDown, HlsError, Postponed
from hls_handler.github.client import Github
from hls_handler.github.labels import LabelOrigin, LabelState, RepositoryLabels
from hls_handler.settings.sections import EffectiveLabels
from tests.github.fake_history import FakeHistory
from tests.github.review_world import NOON, NUMBER, REPOSITORY, ReviewWorld
from tests.github_fake.faults import Effect, Fault

ALL = f"/repos/{REPOSITORY}/labels"
ON = f"/repos/{REPOSITORY}/issues/{NUMBER}/labels"
BUG, CHORE, HIGH, LOW = (
    RequestedLabel("bug", "kind"),  # the only one of them that every new repository has
    RequestedLabel("maintenance", "kind"),
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


def keep(
    world: ReviewWorld,
    *requested: RequestedLabel,
    slots: WriteSlots | None = None,
    dry_run: bool = False,
    settings: EffectiveLabels | None = None,
    before: Mapping[str, LabelState] | None = None,
) -> Outcome:
    action = EnsureLabels(requested, ("kind", "priority", "size"))
    known = world.history.labels() if before is None else before
    writer = world.writer(slots or WriteSlots(), dry_run=dry_run)
    return writer.ensure_labels(NUMBER, action, labels=settings or EffectiveLabels(), before=known)


def write_only(
    world: ReviewWorld, github: Github, action: EnsureLabels, history: FakeHistory | None = None
) -> Outcome:
    """Set labels that the conversation is known not to have."""
    writer = world.writer(github=github, history=history or FakeHistory())
    return writer.ensure_labels(
        NUMBER, action, labels=EffectiveLabels(), before={}, present=frozenset()
    )


def events(world: ReviewWorld) -> list[str]:
    return [f"{event.kind} {event.detail}" for event in world.pull.events]


def take_calls(world: ReviewWorld) -> list[str]:
    calls = world.calls()
    world.sandbox.requests.clear()
    return calls


def add_to_repository(world: ReviewWorld, *names: str) -> None:
    for name in names:
        world.sandbox.state.create_label(REPOSITORY, name, "ededed", None)


def refuse(world: ReviewWorld, method: str, path: str, errors: str = "[]", times: int = 1) -> None:
    body = f'{{"message": "Validation Failed", "errors": {errors}}}'
    world.sandbox.faults.add(
        Fault(effect="status", method=method, path=f"{path}$", status=422, body=body, times=times)
    )


def test_missing_labels_are_created_with_colour_and_set_in_one_request(world: ReviewWorld) -> None:
    slots = WriteSlots()
    outcome = keep(world, CHORE, HIGH, slots=slots)
    added = ("maintenance", "priority-high")
    assert outcome == Outcome("labels", "changed", "added maintenance, priority-high", added=added)
    assert take_calls(world) == [
        f"GET {ON}",
        f"GET {ALL}",
        f"POST {ALL}",
        f"POST {ALL}",
        f"POST {ON}",
    ]
    made = world.sandbox.state.world.repositories[REPOSITORY.lower()].labels["priority-high"]
    assert (made.color, made.description) == ("b60205", "Hurts many people, or hurts much")
    assert events(world) == ["labeled maintenance", "labeled priority-high"]
    assert world.history.label_states == {"maintenance": "set", "priority-high": "set"}
    assert slots.taken == 3
    assert keep(world, CHORE, HIGH, slots=slots) == Outcome(
        "labels", "unchanged", "the labels are as they should be"
    )
    assert take_calls(world) == [f"GET {ON}"]
    assert slots.taken == 3


def test_labels_of_a_repository_are_listed_once_an_hour_for_prompt_and_writes(
    world: ReviewWorld,
) -> None:
    now = 0.0
    github = Github(world.api, labels=RepositoryLabels(lambda: now))

    def write(*requested: RequestedLabel) -> list[str]:
        write_only(world, github, EnsureLabels(requested, ("kind", "priority")))
        return take_calls(world)

    assert "bug" in {label.name for label in github.reader(REPOSITORY).labels()}
    assert write(BUG) == [f"GET {ALL}", f"POST {ON}"]
    # the list says that it must be created
    assert write(BUG, HIGH) == [
        f"POST {ALL}",
        f"POST {ON}",
    ]
    assert write(HIGH) == [f"POST {ON}"]  # it was created, so it exists
    now = 3600.0
    assert write(BUG) == [f"GET {ALL}", f"POST {ON}"]


def test_rule_14_suggested_label_is_looked_up_and_never_created(world: ReviewWorld) -> None:
    github = Github(world.api)
    add_to_repository(world, "area/cart")
    github.reader(REPOSITORY).labels()
    home = world.sandbox.state.world.repositories[REPOSITORY.lower()]
    deleted = replace(
        home, labels={name: label for name, label in home.labels.items() if name != "area/cart"}
    )
    # by a person, while the listing is known
    world.sandbox.state.change(lambda now: now.with_repository(deleted))
    cart = RequestedLabel("area/cart", "suggested_labels area/cart")
    action = EnsureLabels(
        (cart, BUG),
        ("kind", cart.group),
        existing_only=frozenset({"area/cart"}),
        rejected=(("admin", "it is not among the labels that the prompt listed"),),
    )
    assert (
        write_only(world, github, action).detail
        == "added bug; admin not added: it is not among the labels that the prompt listed; "
        "area/cart not added: the repository has no such label"
    )
    assert world.calls() == [f"GET {ALL}", f"GET {ALL}/area%2Fcart", f"POST {ON}"]
    assert world.pull.labels == ("bug",)


def test_label_is_stored_with_the_prompt_that_requested_it(world: ReviewWorld) -> None:
    history, small = FakeHistory(), RequestedLabel("size/small", "size")
    prompts = {"kind": "p@1", "priority": "q@2"}
    action = EnsureLabels((BUG, HIGH, small), ("kind", "priority", "size"), prompt_ids=prompts)
    write_only(world, Github(world.api), action, history)
    assert history.origins == {
        "bug": LabelOrigin("kind", "p@1"),
        "priority-high": LabelOrigin("priority", "q@2"),
    }


def test_label_names_are_quoted_in_urls(world: ReviewWorld) -> None:
    add_to_repository(world, "size/small", "size/large")
    for name in ("size/small", "size/large"):
        keep(world, RequestedLabel(name, "size"), settings=EffectiveLabels(create=False))
    assert world.pull.labels == ("size/large",)
    assert f"GET {ALL}/size%2Fsmall" in world.calls()
    assert f"DELETE {ON}/size%2Fsmall" in world.calls()


def test_rule_14_label_named_like_a_folder_is_never_set(world: ReviewWorld) -> None:
    add_to_repository(world, ".")
    take_calls(world)
    withheld = "added bug; . not added: HLS cannot remove a label of this name again"
    assert keep(world, RequestedLabel(".", "kind"), BUG) == Outcome(
        "labels", "changed", withheld, added=("bug",)
    )
    assert not [call for call in take_calls(world) if call.endswith("/.")]


def test_rule_14_label_removed_by_a_person_is_not_set_again(world: ReviewWorld) -> None:
    keep(world, BUG)
    world.sandbox.state.remove_label(world.pull, "bug")
    withheld = "the labels are as they should be; bug not added: a person removed it"
    for _ in range(2):
        assert keep(world, BUG) == Outcome("labels", "withheld", withheld)
    assert world.pull.labels == ()
    assert world.history.label_states == {"bug": "removed"}


@pytest.mark.parametrize(
    "fault",
    [
        Fault(effect="drop_after", method="POST", path=f"{ON}$"),
        Fault(effect="status_after", status=502, method="POST", path=f"{ALL}$"),
        Fault(effect="drop", method="POST", path=f"{ON}$"),
        Fault(effect="drop", method="GET", path=f"{ON}$"),
    ],
    ids=lambda fault: f"{fault.method} {fault.effect}",
)
def test_lost_response_causes_no_second_label_event(world: ReviewWorld, fault: Fault) -> None:
    world.sandbox.faults.add(fault)
    with pytest.raises(DependencyDown):
        keep(world, CHORE, HIGH)
    added = ("maintenance", "priority-high")
    assert keep(world, CHORE, HIGH) == Outcome(
        "labels", "changed", "added maintenance, priority-high", added=added
    )
    assert events(world) == ["labeled maintenance", "labeled priority-high"]
    assert world.history.label_states == {"maintenance": "set", "priority-high": "set"}


def test_outcome_includes_writes_of_earlier_runs(world: ReviewWorld) -> None:
    keep(world, LOW)
    before = world.history.labels()
    for _ in range(3):  # one removal, two creations
        with pytest.raises(Postponed):
            keep(
                world,
                CHORE,
                HIGH,
                slots=WriteSlots(None, Postponed("not our turn", at=NOON)),
                before=before,
            )
    last = keep(world, CHORE, HIGH, before=before)
    assert last == Outcome(
        *("labels", "changed", "added maintenance, priority-high; removed priority-low"),
        added=("maintenance", "priority-high"),
        removed=("priority-low",),
    )
    # as if the service had stopped before it was stored
    assert keep(world, CHORE, HIGH, before=before) == last
    assert events(world)[1:] == [
        "unlabeled priority-low",
        "labeled maintenance",
        "labeled priority-high",
    ]


@pytest.mark.parametrize("effect", ["drop_after", "drop"])
def test_removal_with_lost_response_does_not_count_as_removal_by_a_person(
    world: ReviewWorld, effect: Effect
) -> None:
    keep(world, LOW)
    world.sandbox.faults.add(Fault(effect=effect, method="DELETE"))
    with pytest.raises(DependencyDown):
        keep(world, HIGH)
    keep(world, HIGH)
    assert world.history.label_states == {"priority-high": "set"}
    keep(world, LOW)
    assert events(world) == [
        "labeled priority-low",
        "unlabeled priority-low",
        "labeled priority-high",
        "unlabeled priority-high",
        "labeled priority-low",
    ]


def test_label_removed_concurrently_is_no_error(world: ReviewWorld) -> None:
    keep(world, LOW)
    body = '{"message": "Label does not exist"}'
    world.sandbox.faults.add(Fault(effect="status", method="DELETE", status=404, body=body))
    assert keep(world, HIGH).removed == ("priority-low",)


def test_refused_removal_costs_only_itself(world: ReviewWorld) -> None:
    keep(world, LOW)
    refuse(world, "DELETE", "priority-low")
    outcome = keep(world, HIGH)
    assert (
        outcome.detail
        == "added priority-high; priority-low not removed: GitHub refused it (422 Validation"
        " Failed)"
    )
    assert (outcome.added, outcome.removed) == (("priority-high",), ())
    assert world.pull.labels == ("priority-low", "priority-high")
    assert world.history.label_states == {"priority-low": "set", "priority-high": "set"}
    assert keep(world, HIGH).removed == ("priority-low",)


@pytest.mark.parametrize(
    ("path", "errors", "times", "reason"),
    [
        (ALL, '[{"code": "invalid", "field": "name"}]', 1, "name: invalid"),
        (ON, '[{"code": "custom", "field": "labels"}]', 2, "labels: custom"),  # together, and alone
    ],
    ids=["create", "set"],
)
def test_label_that_github_refuses_costs_only_itself(
    world: ReviewWorld, path: str, errors: str, times: int, reason: str
) -> None:
    refuse(world, "POST", path, errors, times)
    outcome = keep(world, CHORE, HIGH)
    assert (
        outcome.detail
        == f"added priority-high; maintenance not added: GitHub refused it (422 {reason})"
    )
    assert (outcome.added, world.pull.labels) == (("priority-high",), ("priority-high",))
    assert world.history.label_states == {"priority-high": "set"}


def test_dry_run_decides_and_writes_nothing(world: ReviewWorld) -> None:
    keep(world, LOW)
    take_calls(world)
    changes = world.history.changes
    assert keep(world, CHORE, HIGH, dry_run=True) == Outcome(
        *(
            "labels",
            "dry_run",
            "would have: added maintenance, priority-high; removed priority-low",
        ),
        added=("maintenance", "priority-high"),
        removed=("priority-low",),
    )
    assert take_calls(world) == [f"GET {ON}", f"GET {ALL}"]
    assert world.history.changes == changes
