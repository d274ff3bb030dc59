"""What was known of closed issues when they were opened, and the labels that people left, on the
sandbox.
"""

from __future__ import annotations

import os
import string
from dataclasses import replace
from datetime import datetime
from itertools import count

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from hls_handler.actions import EnsureLabels, RequestedLabel
from hls_handler.batches.first_text import (
    FirstIssue,
    Truth,
    find_first_issue,
    make_delivery,
    make_truth,
)
from hls_handler.batches.trial import Trial, read_unstored
from hls_handler.cli.prompt_try import Sender
from hls_handler.events import GHOST, Account, Event, Label, parse_event
from hls_handler.github.values import IssueHistory
from hls_handler.handlers.reader import EMPTY_HISTORY
from hls_handler.prompting import recorded
from hls_handler.routing import Router, Rule, from_event
from hls_handler.settings.effective import RepositoryTable
from hls_sandbox.objects import Account as SandboxAccount
from tests.batches.histories import (
    MONA,
    REPOSITORY,
    TRIAGE_BOT,
    ZOE,
    Past,
    Step,
    StepKind,
    make_state,
    read,
)
from tests.engine.claude import FakeClaude
from tests.engine.world import BUG, library
from tests.engine.world import settings as service_settings
from tests.github_fake.reader import SandboxReader

HLS_APP = SandboxAccount("my-hls[bot]", 21, "Bot")
HLS_USER = SandboxAccount("hls-bot", 22, "User")
DELETED = SandboxAccount(GHOST.login, GHOST.id, "User")
HISTORIES = 500 if os.environ.get("ALL_HISTORIES") else 100
DOCUMENT = recorded.load("issues.opened").payload["repository"]


def history_of(past: Past) -> IssueHistory:
    (found,) = read(past).closed_issues(1)
    return found


def first_in(history: IssueHistory) -> FirstIssue:
    first = find_first_issue(history)
    assert isinstance(first, FirstIssue)
    return first


def first_of(past: Past) -> FirstIssue:
    return first_in(history_of(past))


def event_of(first: FirstIssue) -> Event:
    return replace(
        parse_event("issues", "batch", make_delivery(first, DOCUMENT).body), is_recent=True
    )


def truth_of(*steps: Step, bot: Account | None = None, labels: tuple[str, ...] = ()) -> Truth:
    return make_truth(history_of(Past(steps=steps, labels=labels)), bot)


# --- as first written
# -----------------------------------------------------------------------------


def test_issue_without_changes_is_as_it_is_now() -> None:
    assert first_of(Past()) == FirstIssue(
        number=7,
        author=Account("mona", 11, "User"),
        created_at=datetime.fromisoformat("2026-11-02T16:00:00+00:00"),
        title="Crash at start",
        body="It crashes.",
        labels=(),
    )


def test_first_title_and_text_come_before_all_changes() -> None:
    steps = [
        Step("edit", "It crashes with 3.2.", MONA),
        Step("rename", "Crash with 3.2", after_s=70),
        Step("edit", "It crashes with 3.2 on ARM.", after_s=80),
        Step("rename", "Crash on ARM", after_s=90),
    ]
    first = first_of(Past(steps=steps))
    assert (first.title, first.body) == ("Crash at start", "It crashes.")


def test_oldest_text_is_first_in_either_order_of_github() -> None:
    history = history_of(Past(steps=[Step("edit", "Fixed.", MONA)]))
    reverse = replace(history, revisions=history.revisions[::-1])
    assert first_in(reverse).body == "It crashes."


def test_labels_that_the_author_sets_later_or_others_at_once_were_not_known() -> None:
    steps = [
        Step("labeled", "triage", TRIAGE_BOT, after_s=0),
        Step("labeled", "docs", MONA, after_s=1),
        Step("labeled", "late", MONA, after_s=2),
    ]
    assert first_of(Past(labels=("bug",), steps=steps)).labels == ("bug", "docs")


def test_issue_of_a_deleted_account_has_the_author_ghost() -> None:
    assert first_of(Past(author=DELETED)).author == Account("ghost", 10137, "User")


EDITED = Past(steps=[Step("edit", "Fixed.", MONA)])


def test_deleted_first_text_skips_the_issue() -> None:
    deleted = Past(steps=[*EDITED.steps, Step("delete first text", after_s=90)])
    reason = "its first text was deleted from the history"
    assert find_first_issue(history_of(deleted)) == reason


def test_deleted_later_text_skips_nothing() -> None:
    edited = history_of(EDITED)
    oldest, newest = edited.revisions
    history = replace(edited, revisions=(oldest, replace(newest, text=None)))
    assert first_in(history).body == "It crashes."


def test_edits_that_github_did_not_keep_skip_the_issue() -> None:
    reason = "GitHub does not have its first text"
    edited = history_of(EDITED)
    assert find_first_issue(replace(edited, includes_first_text=False)) == reason
    assert find_first_issue(replace(edited, revisions=())) == reason


def test_over_a_hundred_changes_skip_the_issue() -> None:
    titles = [Step("rename", f"Title {number}") for number in range(101)]
    assert first_of(Past(steps=titles[:100])).title == "Crash at start"
    reason = "its title and labels were changed over 100 times"
    assert find_first_issue(history_of(Past(steps=titles))) == reason


# --- the labels that people left
# -----------------------------------------------------------------------------


def test_labels_by_people_are_the_truth() -> None:
    steps = (Step("labeled", "bug"), Step("labeled", "crash", MONA))
    assert truth_of(*steps) == Truth(("bug", "crash"), (), ())


def test_label_by_the_author_at_creation_is_a_persons() -> None:
    assert truth_of(labels=("bug",)) == Truth(("bug",), (), ())


def test_label_that_a_bot_set_last_is_undecided() -> None:
    steps = (
        Step("labeled", "bug", TRIAGE_BOT),
        Step("labeled", "docs"),
        Step("unlabeled", "docs"),
        Step("labeled", "docs", TRIAGE_BOT),
        Step("labeled", "stale"),
        Step("unlabeled", "stale", TRIAGE_BOT),
    )
    assert truth_of(*steps) == Truth((), (), ("bug", "docs", "stale"))


def test_label_of_a_bot_that_a_person_removed_is_rejected() -> None:
    steps = (Step("labeled", "bug", TRIAGE_BOT), Step("unlabeled", "bug"))
    assert truth_of(*steps) == Truth((), ("bug",), ())


def test_label_of_a_bot_that_a_person_set_again_is_a_persons() -> None:
    steps = (
        Step("labeled", "bug", TRIAGE_BOT),
        Step("unlabeled", "bug"),
        Step("labeled", "bug"),
    )
    assert truth_of(*steps) == Truth(("bug",), (), ())


@pytest.mark.parametrize(
    ("own", "bot"),
    [
        (HLS_APP, Account("my-hls[bot]", 0, "Bot")),
        (HLS_USER, Account("hls-bot", 22, "User")),
        (HLS_USER, Account("HLS-bot", 0, "User")),
    ],
)
def test_labels_of_this_bot_are_no_truth_whatever_its_account_is(
    own: SandboxAccount, bot: Account
) -> None:
    steps = (
        Step("labeled", "bug", own),
        Step("labeled", "docs", own),
        Step("unlabeled", "docs"),
    )
    assert truth_of(*steps, bot=bot) == Truth((), ("docs",), ("bug",))


def test_label_by_a_deleted_account_is_undecided() -> None:
    assert truth_of(Step("labeled", "bug", DELETED)) == Truth((), (), ("bug",))


def test_changes_after_the_closing_do_not_count() -> None:
    steps = (
        Step("labeled", "bug", after_s=3_600),
        Step("unlabeled", "bug", after_s=3_601),
        Step("labeled", "late", after_s=3_601),
    )
    assert truth_of(*steps) == Truth(("bug",), (), ())


def test_label_without_a_change_is_undecided() -> None:
    """An importer sets labels that no entry of the timeline names."""
    history = replace(history_of(Past()), labels=("imported",))
    assert make_truth(history, None) == Truth((), (), ("imported",))


# --- the event
# -----------------------------------------------------------------------------

CHANGED = Past(
    labels=("needs-triage",),
    steps=[
        Step("edit", "LATER text"),
        Step("rename", "LATER title"),
        Step("comment", "LATER comment", MONA),
        Step("labeled", "LATER label"),
    ],
)


def test_event_is_that_of_the_opened_issue() -> None:
    event = event_of(first_of(CHANGED))
    assert event.issue is not None
    assert event.key == "issues.opened"
    assert (event.repository.full_name, event.sender.login) == (REPOSITORY, "mona")
    assert (event.issue.title, event.issue.body) == ("Crash at start", "It crashes.")
    assert (event.issue.state, event.issue.labels) == ("open", (Label("needs-triage"),))
    assert event.issue.html_url == "https://github.com/Codertocat/Hello-World/issues/7"
    assert (event.issue.comments, event.issue.author_association) == (0, "NONE")


def test_event_of_a_private_repository_has_no_times_and_counts_of_now() -> None:
    event = event_of(first_of(Past()))
    repository = event.payload["repository"]
    assert isinstance(repository, dict)
    assert sorted(repository) == [
        "default_branch",
        "description",
        "full_name",
        "html_url",
        "id",
        "language",
        "name",
        "owner",
        "private",
    ]


def test_handler_of_issues_asks_about_the_first_text_and_plans_labels() -> None:
    def route(event: Event) -> Rule:
        given = service_settings()
        routed = Router(given, RepositoryTable(given), library()).route(from_event(event))
        assert isinstance(routed, Rule)
        return routed

    reader = read(CHANGED)
    event = event_of(first_of(CHANGED))
    rule = route(event)
    source = read_unstored(event, reader, service_settings(), library(), rule, EMPTY_HISTORY)
    claude = FakeClaude([BUG])
    job = Trial(source, library(), rule.prompt, b"0" * 16).make_job(Sender(claude).send)
    source.handler.run(job)
    (asked,) = claude.asked
    assert "It crashes." in asked.task
    assert "needs-triage" in asked.task
    assert "LATER" not in asked.system + asked.task
    labels = next(one for one in job.actions if isinstance(one, EnsureLabels))
    assert RequestedLabel("bug", "kind") in labels.requested


# --- leaks
# -----------------------------------------------------------------------------

WORDS = some.text(string.ascii_letters + " éß\n`<>", max_size=12)
PEOPLE = (MONA, ZOE, TRIAGE_BOT, HLS_APP, DELETED)
KINDS: tuple[StepKind, ...] = ("edit", "rename", "comment", "labeled")


@some.composite
def changed_issues(draw: some.DrawFn) -> Past:
    """An issue with up to 12 changes in any order, of which each has a unique word with LATER."""
    author = draw(some.sampled_from((MONA, TRIAGE_BOT, DELETED)))
    numbers = count()
    steps: list[Step] = []
    after_s = 0
    added: list[str] = []
    for kind in draw(some.lists(some.sampled_from(KINDS), max_size=12)):
        by = draw(some.sampled_from(PEOPLE))
        # a label of another account counts as later at once, one of the author after a second
        earliest = after_s
        if kind == "labeled" and by == author:
            earliest = max(after_s, 2)
        after_s = draw(some.integers(earliest, earliest + 2_000))
        text = f"{draw(WORDS)}LATER{next(numbers)}"
        steps.append(Step(kind, text, by, after_s))
        if kind == "labeled":
            added.append(text)
        is_removed = draw(some.booleans())
        if added and is_removed:
            remover = draw(some.sampled_from(PEOPLE))
            steps.append(Step("unlabeled", added.pop(), remover, after_s))
    return Past(
        title=draw(WORDS),
        body=draw(WORDS),
        author=author,
        labels=tuple(draw(some.sets(some.sampled_from(("bug", "docs", "needs-triage"))))),
        steps=steps,
        closed_after_s=draw(some.integers(0, 10_000)),
    )


@settings(max_examples=HISTORIES)
@given(changed_issues())
def test_no_later_text_reaches_the_first_issue_or_its_event(past: Past) -> None:
    """No leak of later text; `make histories` generates 500 histories."""
    state = make_state(past)
    (history,) = SandboxReader(state, REPOSITORY).closed_issues(1)
    first = first_in(history)
    event = event_of(first)
    shown = msgspec.json.encode(event.payload).decode()
    assert (first.title, first.body) == (past.title, past.body)
    assert first.labels == past.labels
    assert "LATER" not in f"{first}{event}{shown}"
    if past.steps:
        assert "LATER" in str(history) + str(state.conversations())
