"""Recognition of label corrections: accepted and ignored label changes."""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.events import Account
from hls_handler.routing import Ignored, LabelCorrection, RoutingInput, Rule, find_label_correction
from hls_handler.settings.effective import RepositoryTable
from tests.routing.world import PROMPTS, FakeCatalogue, decide, ignored, routing_input, settings

WE = Account("hls-bot", 99, "User")
NO_PROMPT = {key: names for key, names in PROMPTS.items() if key != "issues.labeled"}


def changed(label: str | None = "bug", key: str = "issues.labeled", **known: Any) -> RoutingInput:
    return routing_input(key, label=label, **known)


@pytest.mark.parametrize("events", [["issues"], ["issues.opened"], ["issues.unlabeled", "push"]])
@pytest.mark.parametrize("key", ["issues.labeled", "issues.unlabeled"])
def test_label_change_by_a_person_is_a_correction_if_any_issue_event_is_enabled(events: list[str], key: str) -> None:
    by = settings({"name": "octo/hello", "events": events})
    result = decide(changed("Priority-High", key), by, prompts=NO_PROMPT, bot=WE)
    assert isinstance(result, LabelCorrection)
    assert (result.event_key, result.group) == (key, "priority")
    assert result.why(by.sources) == (
        "hls.yaml:10 (repositories[0].events) enables events of this kind, and changes of priority labels by people "
        "are corrections"
    )


def test_label_change_of_a_pull_request_is_a_correction_for_its_own_fields() -> None:
    by = settings({"name": "octo/hello", "events": ["pull_request.opened"]})
    assert isinstance(decide(changed("type/docs", "pull_request.labeled"), by), LabelCorrection)
    assert ignored(changed("bug", "pull_request.labeled"), by)[0] == "event not enabled"


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
        "a field that Claude does not fill in",
        "no label at all",
        "our own action",
        "a bot's",
        "skip label",
        "skip marker in the title",
        "another repository",
    ],
)
def test_other_label_changes_are_ignored(label: str | None, known: dict[str, Any], kind: str) -> None:
    result = decide(changed(label, **known), prompts=NO_PROMPT, bot=WE)
    assert isinstance(result, Ignored)
    assert result.kind == kind


def test_label_change_by_a_bot_is_ignored_even_if_events_of_bots_are_processed() -> None:
    by = settings(features={"bots": True})
    result = decide(changed(sender="labeler[bot]", sender_is_bot=True), by, prompts=NO_PROMPT)
    assert result == Ignored("other bot", "labeler[bot] is a bot; label changes by bots do not count as corrections")


def test_label_change_by_a_person_on_an_issue_of_a_bot_is_a_correction() -> None:
    assert isinstance(decide(changed(author="renovate[bot]", author_is_bot=True), prompts=NO_PROMPT), LabelCorrection)


def test_label_change_is_ignored_if_no_event_of_its_kind_is_enabled() -> None:
    assert ignored(changed(), settings({"name": "octo/hello", "events": ["pull_request"]}))[0] == "event not enabled"
    assert ignored(changed(), settings({"name": "octo/hello", "enabled": False}))[0] == "repository disabled"


def test_other_actions_with_a_label_are_no_corrections() -> None:
    assert ignored(changed(key="issues.pinned"))[0] == "no prompt"


def test_label_change_with_a_prompt_of_its_own_is_processed_and_also_a_correction() -> None:
    by = settings()
    rule = decide(changed(), by, bot=WE)
    assert isinstance(rule, Rule)
    assert rule.prompt == "issues/triage"
    effective = RepositoryTable(by).find("octo/hello")
    assert effective is not None
    assert isinstance(
        find_label_correction(changed(), effective, FakeCatalogue(), settings=by, bot=WE), LabelCorrection
    )
