"""Triage runs: which issues are chosen, what is written, and what is paid."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hls_handler.sandbox.objects import Account
from hls_handler.settings.model import Budgets, Repository
from hls_handler.triage.plan import CannotPlan
from hls_handler.triage.report import (
    NOTHING_WRITTEN,
    count_ends,
    describe_plan,
    describe_skipped,
)
from hls_handler.triage.runs import start
from tests.conftest import Acts
from tests.handlers.conversation import REPOSITORY, Talk, person
from tests.triage.backlog import BY, Backlog, skipped


def test_open_issues_get_the_labels_of_a_new_issue_and_no_comment(backlog: Backlog) -> None:
    progress = backlog.run()
    assert count_ends(progress.issues) == {"done": 3}
    assert Talk(backlog.home, 7).shown() == "bug priority-low difficulty-easy"
    assert progress.issues[0].reason == (
        "added bug, priority-low, difficulty-easy;"
        " comments are switched off by triage run 1, which has no --comments"
    )


def test_comments_are_written_if_the_run_has_them(backlog: Backlog) -> None:
    backlog.run(comments=True)
    assert "Thanks to whoever fixes it." in Talk(backlog.home, 7).shown()


def test_skipped_issues_are_counted_by_reason(backlog: Backlog) -> None:
    home = backlog.home
    backlog.add_issue(20, locked=True)
    backlog.add_issue(21, labels=[{"name": "skip-hls"}])
    backlog.add_issue(22).label("question")
    removed = backlog.add_issue(23)
    removed.label("bug")
    removed.unlabel("bug")
    backlog.add_issue(24, user=person("renovate[bot]"))
    home.open_pull_request(25)
    home.open_issue(26)
    plan = backlog.plan()
    assert skipped(plan) == {
        26: "processed already",
        24: "other bot",
        23: "settled by people",
        22: "settled by people",
        21: "asked to skip",
        20: "locked",
        12: None,
        8: None,
        7: None,
    }
    assert plan.skipped == {
        "pull request": 1,
        "processed already": 1,
        "other bot": 1,
        "settled by people": 2,
        "asked to skip": 1,
        "locked": 1,
    }
    assert [one.why for one in plan.issues[2:4]] == ["zoe set bug", "zoe set question"]


def test_preview_says_what_settings_do_not_let_it_write(backlog: Backlog) -> None:
    world = backlog.home.world
    (entry,) = world.settings.repositories
    off = {"dry_run": False, "auto_labeling": False}
    changed = Repository.model_validate(entry.model_dump(exclude_unset=True) | {"features": off})
    world.settings = world.settings.model_copy(update={"repositories": (changed,)})
    labels = "labels are switched off by settings (repositories[0].features.auto_labeling)"
    assert describe_plan(backlog.plan())[2:] == [labels, NOTHING_WRITTEN]
    assert describe_plan(backlog.plan(comments=True))[2:] == [labels]


def test_skipped_pull_requests_have_a_plural() -> None:
    skipped = {"pull request": 2, "locked": 2, "other bot": 1}
    assert describe_skipped(skipped) == "skipped: 2 locked, 1 other bot, 2 pull requests"


def test_label_of_another_bot_settles_nothing(backlog: Backlog) -> None:
    talk = backlog.add_issue(20)
    bot = Account("labeler[bot]", 51, "Bot")
    backlog.home.state.add_labels(talk.now, ("question",), by=bot)
    assert skipped(backlog.plan())[20] is None


def test_plan_asks_and_stores_nothing(backlog: Backlog) -> None:
    backlog.plan()
    store = backlog.home.world.store
    assert (store.triage.newest(most=9), backlog.home.questions) == ([], [])
    assert store.queue.seconds_until_due() is None


def test_limit_takes_the_newest_issues_and_the_next_run_the_others(backlog: Backlog) -> None:
    first = backlog.run(limit=2)
    second = backlog.run(limit=2)
    assert [[one.number for one in run.issues] for run in (first, second)] == [[8, 12], [7]]


def test_started_run_is_continued_and_accepts_nothing_twice(backlog: Backlog) -> None:
    run = backlog.start(limit=2)
    again = backlog.start(limit=3)
    assert again.id == run.id
    backlog.process()
    assert [one.guid for one in backlog.progress(run).issues] == [
        "triage-1-7",
        "triage-1-8",
        "triage-1-12",
    ]
    assert len(backlog.home.questions) == 3


def test_run_that_died_before_it_accepted_an_issue_is_continued(backlog: Backlog) -> None:
    store = backlog.home.world.store
    died = store.triage.begin(backlog.plan().run, by=BY)
    assert backlog.start().id == died


def test_plan_that_was_made_twice_at_once_pays_once(backlog: Backlog) -> None:
    store = backlog.home.world.store
    first, second = backlog.plan(), backlog.plan()
    for plan in (first, second):
        start(store, plan, by=BY)
        backlog.process()
    assert len(backlog.home.questions) == 3


def test_used_up_budget_ends_the_rest_and_a_higher_one_continues_it(backlog: Backlog) -> None:
    progress = backlog.run(max_usd=0.0502)  # a call reserves 0.05 and costs 0.00014
    assert progress.state == "over budget"
    assert progress.issues[0].reason == (
        "the budget of triage run 1 allows no further call: 0.0003 USD spent, this call needs up to"
        " 0.0500 USD, --max-usd is 0.0502; `hls triage` with a higher --max-usd continues the run"
    )
    with pytest.raises(CannotPlan, match=r"used up its 0\.0502 USD"):
        backlog.plan(max_usd=0.0502)
    continued = backlog.run(max_usd=1.0)
    assert (continued.run.id, count_ends(continued.issues)) == (1, {"done": 3})
    assert len(backlog.home.questions) == 3


def test_run_that_a_budget_of_the_service_ended_goes_on_with_its_own(backlog: Backlog) -> None:
    world = backlog.home.world
    budgets = Budgets.model_validate({"total": {"day_usd": 0.0501}, "exceeded": "ignore"})
    before = world.settings
    world.settings = before.model_copy(update={"budgets": budgets})
    assert backlog.run().state == "over budget"
    world.settings = before
    assert count_ends(backlog.run().issues) == {"done": 3}


def test_webhook_of_an_issue_precedes_and_replaces_its_triage(backlog: Backlog) -> None:
    run = backlog.start(limit=3)
    Talk(backlog.home, 7).act("edited", title="Crash at noon", body="It crashes at noon.")
    backlog.process()
    states = {one.number: one.state for one in backlog.progress(run).issues}
    assert states == {7: "superseded", 8: "done", 12: "done"}


def test_run_is_logged_and_counts_as_no_webhook(backlog: Backlog, acts: Acts) -> None:
    backlog.run()
    store = backlog.home.world.store
    assert store.statistics.counters().get(("webhooks", ""), 0) == 0
    assert acts() == [(BY, "triage", ["octo/hello run 1"])]


def test_run_whose_deliveries_retention_deleted_is_not_continued(backlog: Backlog) -> None:
    world = backlog.home.world
    first = backlog.run(limit=2).run
    world.advance(100 * 86400)
    deleted = world.store.retention.delete_deliveries(after=timedelta(days=90), most=10)
    assert deleted == 2
    assert backlog.progress(first).state == "empty"
    assert backlog.plan().continued is None
    second = backlog.run()
    assert (second.run.id, [one.number for one in second.issues]) == (2, [7])


def test_run_has_the_name_that_github_gives_the_repository(backlog: Backlog) -> None:
    plan = backlog.plan(repository=REPOSITORY.upper())
    assert plan.run.repository == REPOSITORY
