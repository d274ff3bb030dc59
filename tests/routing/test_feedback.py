"""Which changes of labels are let in as feedback, and which are not worth keeping."""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.events import Account
from hls_handler.routing import Candidate, Feedback, Ignored, Rule, as_feedback
from hls_handler.settings.effective import RepositoryTable
from tests.routing.world import PROMPTS, FakeCatalogue, candidate, decide, no, settings

WE = Account("hls-bot", 99, "User")
NO_PROMPT = {key: names for key, names in PROMPTS.items() if key != "issues.labeled"}


def changed(label: str | None = "bug", key: str = "issues.labeled", **known: Any) -> Candidate:
    return candidate(key, label=label, **known)


@pytest.mark.parametrize("events", [["issues"], ["issues.opened"], ["issues.unlabeled", "push"]])
@pytest.mark.parametrize("key", ["issues.labeled", "issues.unlabeled"])
def test_a_persons_change_is_let_in_wherever_any_event_of_issues_is(events: list[str], key: str) -> None:
    by = settings({"name": "octo/hello", "events": events})
    verdict = decide(changed("Priority-High", key), by, prompts=NO_PROMPT, we=WE)
    assert isinstance(verdict, Feedback)
    assert (verdict.event_key, verdict.field) == (key, "priority")
    assert verdict.why(by.sources) == (
        "hls.yaml:10 (repositories[0].events) has the thread's events, and people's changes of priority labels are "
        "feedback"
    )


def test_so_is_that_of_a_pull_request_for_its_own_fields() -> None:
    by = settings({"name": "octo/hello", "events": ["pull_request.opened"]})
    assert isinstance(decide(changed("type/docs", "pull_request.labeled"), by), Feedback)
    assert no(changed("bug", "pull_request.labeled"), by)[0] == "event not enabled"


@pytest.mark.parametrize(
    ("label", "known", "kind"),
    [
        ("help wanted", {}, "no prompt"),
        ("size/small", {}, "no prompt"),
        (None, {}, "no prompt"),
        ("bug", {"sender": "HLS-bot"}, "own account"),
        ("bug", {"sender": "renovate[bot]", "sender_is_bot": True}, "other bot"),
        ("bug", {"labels": ("skip-hls",)}, "asked to skip"),
        ("bug", {"title": "WIP [skip hls]"}, "asked to skip"),
        ("bug", {"repository": "octo/other"}, "repository not configured"),
    ],
    ids=[
        "a label of no field",
        "a field of facts",
        "no label at all",
        "our own doing",
        "a bot's",
        "asked by a label to leave it alone",
        "asked in the title",
        "another repository",
    ],
)
def test_what_cannot_be_feedback_is_ignored_at_the_door(label: str | None, known: dict[str, Any], kind: str) -> None:
    verdict = decide(changed(label, **known), prompts=NO_PROMPT, we=WE)
    assert isinstance(verdict, Ignored)
    assert verdict.kind == kind


def test_a_bot_is_not_listened_to_even_where_its_threads_are_worked_on() -> None:
    by = settings(features={"bots": True})
    verdict = decide(changed(sender="labeler[bot]", sender_is_bot=True), by, prompts=NO_PROMPT)
    assert verdict == Ignored("other bot", "labeler[bot] is a bot: what bots do about labels is not taken for feedback")


def test_a_persons_change_on_a_bots_thread_is_feedback() -> None:
    assert isinstance(decide(changed(author="renovate[bot]", author_is_bot=True), prompts=NO_PROMPT), Feedback)


def test_a_thread_without_any_enabled_event_gives_no_feedback() -> None:
    assert no(changed(), settings({"name": "octo/hello", "events": ["pull_request"]}))[0] == "event not enabled"
    assert no(changed(), settings({"name": "octo/hello", "enabled": False}))[0] == "repository disabled"


def test_other_events_that_have_a_label_are_none() -> None:
    assert no(changed(key="issues.pinned"))[0] == "no prompt"


def test_a_prompt_for_changes_of_labels_goes_first_and_the_change_is_feedback_besides() -> None:
    by = settings()
    rule = decide(changed(), by, we=WE)
    assert isinstance(rule, Rule)
    assert rule.prompt == "issues/triage"
    effective = RepositoryTable(by).find("octo/hello")
    assert effective is not None
    assert isinstance(as_feedback(changed(), effective, FakeCatalogue(), settings=by, we=WE), Feedback)
