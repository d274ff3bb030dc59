"""The undo of a batch, with people in between."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from hls_handler.batches.preview import CannotPlan
from hls_handler.batches.triage import DRY_RUN, undo
from hls_handler.batches.undo import BatchWrites, UndoPlan, decide_undo
from hls_handler.github.values import TimelineEvent
from hls_handler.store.batches import Batch
from hls_sandbox.objects import Account
from tests.batches.backlog import BY, Backlog
from tests.conftest import Acts
from tests.engine.world import BUG, open_world
from tests.github_fake.routes import set_type
from tests.handlers.conversation import Talk, open_home
from tests.handlers.world import HLS

ZOE = Account("zoe", 2, "User")
SET = {"bug", "priority-low", "difficulty-easy"}
SEEDS = 10 if os.environ.get("ALL_HISTORIES") else 4  # `make histories` tries all
HISTORIES_PER_SEED = 20


@pytest.fixture
def typed() -> Iterator[Backlog]:
    """A backlog of an organisation with issue types, and the open issue 7."""
    with open_world() as world:
        home = open_home(world, labels={"issue_type": True})
        home.go_live()
        home.says(BUG)
        found = Backlog(home)
        found.add_issue(7)
        yield found


def undone(backlog: Backlog, run: Batch) -> str | None:
    """Take the run back, and return what is said of issue 7."""
    row = next(one for one in backlog.undo(run).undo if one.number == 7)
    assert row.state == "done", row
    return row.reason


def test_undo_takes_back_labels_and_type_and_withdraws_the_comment(typed: Backlog) -> None:
    talk = Talk(typed.home, 7)
    run = typed.run(comments=True).batch
    assert talk.shown().partition("\n")[0] == "bug priority-low difficulty-easy (Bug)"
    assert undone(typed, run) == (
        "removed bug, difficulty-easy, priority-low; removed the type Bug; edited our comment"
    )
    assert talk.shown() == (
        "\n--\nWithdrawn: a maintainer took back batch 1, which wrote this comment."
    )
    assert typed.progress(run).state == "undone"


def test_undo_leaves_what_a_person_changed_and_names_the_person(typed: Backlog) -> None:
    talk = Talk(typed.home, 7)
    run = typed.run().batch
    talk.unlabel("bug")
    talk.label("bug")
    talk.unlabel("priority-low")
    talk.label("priority-high")
    set_type(typed.home.state, talk.now, {"name": "Task"}, by=ZOE)
    assert undone(typed, run) == (
        "removed difficulty-easy; bug stays as it is: zoe changed it last;"
        " priority-low stays as it is: zoe changed it last;"
        " the type stays as it is: zoe changed it last"
    )
    assert talk.shown() == "bug priority-high (Task)"


def test_label_that_the_repository_spells_in_another_case_is_taken_back() -> None:
    plan = decide_undo(
        BatchWrites(("Bug",), has_type=False, has_comment=False),
        ["bug"],
        [TimelineEvent("labeled", label="bug")],
        lambda _actor: True,
    )
    assert plan == UndoPlan(("Bug",), has_type=False, has_comment=False, left=())


def test_type_that_a_person_set_before_the_run_stays(typed: Backlog) -> None:
    talk = Talk(typed.home, 7)
    set_type(typed.home.state, talk.now, {"name": "Task"}, by=ZOE)
    assert undone(typed, typed.run().batch) == "removed bug, difficulty-easy, priority-low"
    assert talk.shown() == " (Task)"


def test_comment_that_a_person_edited_stays(typed: Backlog) -> None:
    talk = Talk(typed.home, 7)
    run = typed.run(comments=True).batch
    (comment,) = talk.now.comments
    typed.home.state.edit_comment(talk.now, comment, f"Hello. {comment.body}")
    assert "a person edited our comment: it stays" in (undone(typed, run) or "")
    assert talk.now.comments[0].body.startswith("Hello. ")


def test_undo_is_no_correction_and_no_statistic(typed: Backlog) -> None:
    home = typed.home
    run = typed.run().batch
    store = home.world.store
    before = store.statistics.counters()
    typed.undo(run)
    for name in SET:
        label = {"name": name}
        Talk(home, 7).act("unlabeled", by=HLS.login, label=label)
    history = store.repositories.history(1, HLS.login)
    assert history.issue(7, "issues", most_corrections=9)[1] == ()
    after = store.statistics.counters()
    changed = {name for name, label in after if after[name, label] != before.get((name, label), 0)}
    assert not {name for name in changed if name.startswith("label_")}


def test_undo_is_logged_and_accepts_nothing_twice(typed: Backlog, acts: Acts) -> None:
    run = typed.run().batch
    typed.undo(run)
    progress = typed.undo(run)
    assert [one.guid for one in progress.undo] == ["batch-1-7-undo", "batch-1-12-undo"]
    assert acts()[-1] == (BY, "undo batch", ["batch 1"])


def test_undo_ends_issues_that_wait(typed: Backlog) -> None:
    run = typed.start()
    progress = typed.undo(run)
    assert [one.reason for one in progress.deliveries] == [
        "batch 1 was taken back before this issue was processed"
    ] * 2
    assert (progress.undo, typed.home.questions) == ([], [])


def test_issue_of_a_run_that_was_taken_back_can_be_processed_again(typed: Backlog) -> None:
    typed.undo(typed.run().batch)
    again = typed.run()
    assert (again.batch.id, Talk(typed.home, 7).shown()) == (
        2,
        "bug priority-low difficulty-easy (Bug)",
    )


def test_later_webhook_is_no_part_of_the_undo(typed: Backlog) -> None:
    run = typed.run().batch
    typed.home.says(BUG.model_copy(update={"kind": "enhancement"}))
    Talk(typed.home, 7).act("edited", title="Add colours", body="I want colours.")
    undone(typed, run)
    assert Talk(typed.home, 7).shown().split()[0] == "enhancement"


def test_comment_that_a_later_webhook_rewrote_stays(typed: Backlog) -> None:
    run = typed.run(comments=True).batch
    talk = Talk(typed.home, 7)
    answer = {"kind": "enhancement", "recommended_response": "Use colours."}
    typed.home.says(BUG.model_copy(update=answer))
    talk.act("edited", title="Add colours", body="I want colours.")
    said = undone(typed, run) or ""
    assert said.endswith("our comment stays as it is: a later event rewrote it")
    assert talk.shown() == "enhancement\n--\nUse colours."


NAMES = (*sorted(SET), "question", "priority-high", "help wanted")


def live(talk: Talk, chance: random.Random, steps: int) -> set[str]:
    """Let people change labels; return those that they changed."""
    touched = set[str]()
    for _ in range(chance.randrange(steps)):
        name = chance.choice(NAMES)
        present = name in talk.now.labels
        if chance.random() < 0.5:
            if not present:
                talk.label(name)
                touched.add(name)
        elif present:
            talk.unlabel(name)
            touched.add(name)
    return touched


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.full) for seed in range(1, SEEDS))]
)
def test_undo_restores_the_labels_of_random_histories(seed: int) -> None:
    with open_world() as world:
        home = open_home(world)
        home.go_live()
        home.says(BUG)
        backlog = Backlog(home)
        chance = random.Random(seed)
        numbers = range(100, 100 + HISTORIES_PER_SEED)
        talks = [backlog.add_issue(number) for number in numbers]
        for talk in talks:
            talk.label("help wanted")
        plan = backlog.start()
        for talk in talks:
            live(talk, chance, 3)  # after the plan, before HLS
        before = {talk.number: set(talk.now.labels) for talk in talks}
        backlog.process()
        written = {talk.number: set(talk.now.labels) - before[talk.number] for talk in talks}
        touched = {talk.number: live(talk, chance, 6) for talk in talks}
        left = {talk.number: set(talk.now.labels) for talk in talks}
        backlog.undo(plan)
        for talk in talks:
            number = talk.number
            expected = left[number] - (written[number] - touched[number])
            assert set(talk.now.labels) == expected, (number, written[number], touched[number])


def test_webhook_does_not_replace_an_undo_that_waits(typed: Backlog) -> None:
    run = typed.run().batch
    undo(typed.home.world.store, run, by=BY)
    typed.home.says(BUG.model_copy(update={"kind": "enhancement"}))
    talk = Talk(typed.home, 7)
    talk.act("edited", title="Crash at noon", body="It crashes at noon.")
    typed.process()
    assert {one.number: one.state for one in typed.progress(run).undo} == {7: "done", 12: "done"}


def test_closed_issue_is_taken_back(typed: Backlog) -> None:
    run = typed.run().batch
    talk = Talk(typed.home, 7)
    undo(typed.home.world.store, run, by=BY)
    talk.act("closed", state="closed")
    typed.process()
    assert {one.number: one.state for one in typed.progress(run).undo} == {7: "done", 12: "done"}
    assert talk.shown() == ""


def test_dry_run_wrote_nothing_to_take_back() -> None:
    with open_world() as world:
        backlog = Backlog(open_home(world, features={"dry_run": True}))
        backlog.home.says(BUG)
        backlog.add_issue(7)
        run = backlog.run().batch
        assert undone(backlog, run) == "the batch changed nothing here"


def test_issues_of_a_dry_run_are_processed_after_it_is_switched_off() -> None:
    with open_world() as world:
        home = open_home(world, features={"dry_run": True})
        backlog = Backlog(home)
        home.says(BUG)
        backlog.add_issue(7)
        dry = backlog.plan()
        backlog.start_of(dry)
        backlog.process()
        assert dry.notes[-1] == DRY_RUN
        with pytest.raises(CannotPlan, match=r"processed already, or in a batch \(2\)"):
            backlog.plan()
        home.go_live()
        live = backlog.run()
        assert live.batch.id == 2
        assert Talk(home, 7).shown() == "bug priority-low difficulty-easy"
        assert len(home.questions) == 2  # Claude's replies of the dry run are used again
