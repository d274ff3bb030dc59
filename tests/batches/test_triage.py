"""Batches of open issues: which are chosen, what is written, and what is paid."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from hls_handler.batches.preview import CannotPlan
from hls_handler.batches.triage import count_ends
from hls_handler.engine.pipeline import run_delivery
from hls_handler.settings.sections import RepositoryEntry
from hls_sandbox.objects import Account
from tests.batches.backlog import BY, Backlog, list_chosen
from tests.conftest import Acts
from tests.handlers.conversation import REPOSITORY, Talk, person


def test_open_issues_get_the_labels_of_a_new_issue_and_no_comment(backlog: Backlog) -> None:
    progress = backlog.run()
    assert count_ends(progress.deliveries) == {"done": 3}
    assert Talk(backlog.home, 7).shown() == "bug priority-low difficulty-easy"
    assert progress.deliveries[0].reason == (
        "added bug, priority-low, difficulty-easy;"
        " comments are switched off by batch 1, which has no --comments"
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
    preview = backlog.plan()
    assert list_chosen(preview) == [12, 8, 7]
    assert preview.left_out == {
        "pull request": 1,
        "processed already, or in a batch": 1,
        "other bot": 1,
        "a person set or removed a label that HLS would set": 2,
        "asked to skip": 1,
        "locked": 1,
    }
    assert [line for line in preview.describe() if line.startswith("left out")] == [
        "left out    2: a person set or removed a label that HLS would set",
        "left out    1: processed already, or in a batch",
        "left out    1: pull request",
        "left out    3 for other reasons (--json)",
    ]


def test_preview_says_what_settings_do_not_let_it_write(backlog: Backlog) -> None:
    world = backlog.home.world
    (entry,) = world.settings.repositories
    off = {"dry_run": False, "auto_labeling": False}
    changed = RepositoryEntry.model_validate(
        entry.model_dump(exclude_unset=True) | {"features": off}
    )
    world.settings = world.settings.model_copy(update={"repositories": (changed,)})
    labels = "labels are switched off by settings (repositories[0].features.auto_labeling)"
    nothing = "Claude is asked and paid, and nothing is written"
    assert backlog.plan().notes == (labels, nothing)
    assert backlog.plan(comments=True).notes == (labels,)


def test_label_of_another_bot_settles_nothing(backlog: Backlog) -> None:
    talk = backlog.add_issue(20)
    bot = Account("labeler[bot]", 51, "Bot")
    backlog.home.state.add_labels(talk.now, ("question",), by=bot)
    assert 20 in list_chosen(backlog.plan())


def test_plan_asks_and_stores_nothing(backlog: Backlog) -> None:
    backlog.plan()
    store = backlog.home.world.store
    assert (store.batches.newest(limit=9), backlog.home.questions) == ([], [])
    assert store.queue.seconds_until_due() is None


def test_limit_takes_the_newest_issues_and_the_next_run_the_others(backlog: Backlog) -> None:
    first = backlog.run(limit=2)
    second = backlog.run(limit=2)
    assert [[one.number for one in run.deliveries] for run in (first, second)] == [[8, 12], [7]]


def test_issues_of_a_batch_that_runs_or_was_stopped_are_in_no_other(backlog: Backlog) -> None:
    first = backlog.start(limit=2)
    assert list_chosen(backlog.plan()) == [7]
    backlog.home.world.store.batches.stop(first.id, by=BY)
    assert list_chosen(backlog.plan()) == [7]


def test_two_commands_at_the_same_moment_pay_each_issue_once(backlog: Backlog) -> None:
    previews = [backlog.plan(), backlog.plan()]
    with ThreadPoolExecutor(2) as pool:
        started = list(pool.map(backlog.start_of, previews))
    backlog.process()
    numbers = [len(backlog.progress(batch).deliveries) for batch in started]
    assert sorted(numbers) == [0, 3]
    assert len(backlog.home.questions) == 3


def test_webhook_of_an_issue_precedes_and_replaces_its_triage(backlog: Backlog) -> None:
    run = backlog.start(limit=3)
    Talk(backlog.home, 7).act("edited", title="Crash at noon", body="It crashes at noon.")
    backlog.process()
    states = {one.number: one.state for one in backlog.progress(run).deliveries}
    assert states == {7: "superseded", 8: "done", 12: "done"}


def test_issues_are_processed_at_once_after_the_first_is_done(backlog: Backlog) -> None:
    batch = backlog.start(limit=3)
    world = backlog.home.world
    assert world.store.batches.find_first(batch.id) is not None
    first = world.run()
    assert first is not None
    assert first.state == "done"
    second, third = world.claim(), world.claim()
    ends = [run_delivery(lease, world.tools()) for lease in (third, second)]
    assert [end.state for end in ends if end is not None] == ["done", "done"]


def test_run_is_logged_and_counts_as_no_webhook(backlog: Backlog, acts: Acts) -> None:
    backlog.run()
    store = backlog.home.world.store
    assert store.statistics.counters().get(("webhooks", ""), 0) == 0
    assert acts() == [(BY, "batch", ["triage octo/hello batch 1"])]


def test_issues_of_deleted_deliveries_are_known_by_their_labels(backlog: Backlog) -> None:
    world = backlog.home.world
    first = backlog.run(limit=2)
    world.advance(100 * 86400)
    deleted = world.store.retention.delete_deliveries(after=timedelta(days=90), limit=10)
    assert deleted == 2
    assert backlog.progress(first.batch).state == "deleted"
    assert list_chosen(backlog.plan()) == [7]


def test_batch_has_the_name_that_github_gives_the_repository(backlog: Backlog) -> None:
    assert backlog.plan(repository=REPOSITORY.upper()).new.repository == REPOSITORY


def test_second_batch_of_all_issues_is_refused(backlog: Backlog) -> None:
    backlog.run()
    with pytest.raises(CannotPlan, match="is left to process: processed already, or in a batch"):
        backlog.plan()
