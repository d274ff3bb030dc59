"""Recognition of label corrections: accepted and ignored label changes."""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.events import Account
from hls_handler.routing import Ignored, LabelCorrection, Router, RoutingInput, Rule
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
    ("event", "entry", "kind"),
    [
        (changed("help wanted"), {}, "no prompt"),
        (changed("size/small"), {}, "no prompt"),
        (changed(None), {}, "no prompt"),
        (changed(key="issues.pinned"), {}, "no prompt"),
        (changed(sender="HLS-bot"), {}, "own account"),
        (changed(sender="renovate[bot]", sender_is_bot=True), {}, "other bot"),
        (changed(labels=("skip-hls",)), {}, "asked to skip"),
        (changed(title="WIP [skip hls]"), {}, "asked to skip"),
        (changed(repository="octo/other"), {}, "repository not configured"),
        (changed(), {"enabled": False}, "repository disabled"),
        (changed(), {"events": ["pull_request"]}, "event not enabled"),
    ],
)
def test_other_label_changes_are_ignored(event: RoutingInput, entry: dict[str, Any], kind: str) -> None:
    result = decide(event, settings({"name": "octo/hello", **entry}), prompts=NO_PROMPT, bot=WE)
    assert isinstance(result, Ignored)
    assert result.kind == kind


def test_label_change_by_a_bot_is_ignored_even_if_events_of_bots_are_processed() -> None:
    by = settings(features={"bots": True})
    result = decide(changed(sender="labeler[bot]", sender_is_bot=True), by, prompts=NO_PROMPT)
    assert result == Ignored("other bot", "labeler[bot] is a bot; label changes by bots do not count as corrections")


def test_label_change_by_a_person_on_an_issue_of_a_bot_is_a_correction() -> None:
    assert isinstance(decide(changed(author="renovate[bot]", author_is_bot=True), prompts=NO_PROMPT), LabelCorrection)


def test_label_change_with_a_prompt_of_its_own_is_processed_and_also_a_correction() -> None:
    by = settings()
    rule = decide(changed(), by, bot=WE)
    assert isinstance(rule, Rule)
    assert rule.prompt == "issues/triage"
    effective = RepositoryTable(by).find("octo/hello")
    assert effective is not None
    router = Router(by, RepositoryTable(by), FakeCatalogue(), (WE,))
    assert isinstance(router.find_label_correction(changed(), effective), LabelCorrection)
