"""Prompt choices in `prompts.use`: prompts for events, and shadow prompts."""

from __future__ import annotations

from pathlib import Path

import pytest

from hls_handler.settings.effective import (
    EffectiveSettings,
    PromptChoice,
    RepositoryTable,
    find_chosen_events,
    find_shadow_only_prompts,
    iter_sourced_values,
    list_prompt_choices,
)
from hls_handler.settings.model import Settings
from tests.settings.files import SMALLEST, load

USES = """\
    prompts:
      use:
        issues.opened: {prompt: issues/strict, shadow: true}
        issues.edited: issues/other
prompts:
  use:
    issues: issues/own
    issues.reopened: {prompt: issues/other, shadow: true}
    issues.opened: {prompt: issues/global, shadow: true}
    push: {prompt: push/tell, shadow: true}
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load(tmp_path, SMALLEST + USES)


def effective(settings: Settings) -> EffectiveSettings:
    found = RepositoryTable(settings).find("owner/repo")
    assert found is not None
    return found


def test_every_choice_is_listed_with_its_key(settings: Settings) -> None:
    uses = list_prompt_choices(settings)
    assert len(uses) == 6
    assert uses[0] == PromptChoice("prompts.use.issues", "issues", "issues/own", shadow=False)
    assert uses[4] == PromptChoice(
        "repositories[0].prompts.use.issues.opened", "issues.opened", "issues/strict", shadow=True
    )


def test_a_shadow_prompt_is_not_a_choice_for_its_event(settings: Settings) -> None:
    assert find_chosen_events(settings) == {"issues", "issues.edited"}


def test_a_prompt_that_is_also_chosen_is_not_shadow_only(settings: Settings) -> None:
    assert find_shadow_only_prompts(settings) == {"issues/strict", "issues/global", "push/tell"}


@pytest.mark.parametrize(
    ("event", "chosen", "shadow"),
    [
        (
            "issues.opened",
            ("issues/own", "prompts.use.issues"),
            ("issues/strict", "repositories[0].prompts.use.issues.opened"),
        ),
        ("issues.reopened", ("issues/own", "prompts.use.issues"), ("issues/other", "prompts.use.issues.reopened")),
        ("issues.edited", ("issues/other", "repositories[0].prompts.use.issues.edited"), None),
        ("push", None, ("push/tell", "prompts.use.push")),
        ("release.published", None, None),
    ],
)
def test_a_shadow_prompt_does_not_replace_the_choice(
    settings: Settings, event: str, chosen: tuple[str, str] | None, shadow: tuple[str, str] | None
) -> None:
    found = effective(settings)
    assert (found.find_prompt(event), found.find_shadow_prompt(event)) == (chosen, shadow)


def test_a_shadow_prompt_is_listed_with_its_line(settings: Settings, tmp_path: Path) -> None:
    shown = [str(value).replace(f"{tmp_path}/", "") for value in iter_sourced_values(settings, effective(settings))]
    assert shown[-5:] == [
        "prompts.use.issues = issues/own   settings.yaml:14 (prompts.use.issues)",
        "prompts.use.issues.edited = issues/other   settings.yaml:11 (repositories[0].prompts.use.issues.edited)",
        (
            'prompts.use.issues.reopened = {"prompt": "issues/other", "shadow": true}   '
            "settings.yaml:15 (prompts.use.issues.reopened)"
        ),
        (
            'prompts.use.issues.opened = {"prompt": "issues/strict", "shadow": true}   '
            "settings.yaml:10 (repositories[0].prompts.use.issues.opened)"
        ),
        'prompts.use.push = {"prompt": "push/tell", "shadow": true}   settings.yaml:17 (prompts.use.push)',
    ]
