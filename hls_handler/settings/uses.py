"""Prompt choices: the entries of `prompts.use`, global and of each repository entry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from hls_handler.settings.model import PromptUse, Settings, ShadowPrompt


@dataclass(frozen=True, slots=True)
class PromptChoice:
    key: str  # key path: "repositories[0].prompts.use.issues.opened"
    event: str  # "issues.opened", or "issues" for all its actions
    prompt: str | Literal[False]  # False: no prompt runs
    shadow: bool  # True: the prompt runs beside the event's own prompt and posts nothing


def iter_prompt_choices(use: Mapping[str, PromptUse], path: str) -> Iterator[PromptChoice]:
    """Yield the choices of one `use` map; `path` is its key path: "prompts.use"."""
    for event, value in use.items():
        shadow = isinstance(value, ShadowPrompt)
        yield PromptChoice(f"{path}.{event}", event, value.prompt if isinstance(value, ShadowPrompt) else value, shadow)


def list_prompt_choices(settings: Settings) -> tuple[PromptChoice, ...]:
    """All choices of the settings file, global ones first."""
    of_entries = (
        choice
        for index, entry in enumerate(settings.repositories)
        for choice in iter_prompt_choices(entry.prompts.use, f"repositories[{index}].prompts.use")
    )
    return (*iter_prompt_choices(settings.prompts.use, "prompts.use"), *of_entries)


def find_chosen_events(settings: Settings) -> frozenset[str]:
    """Events for which settings choose a prompt or none; shadow prompts do not count."""
    return frozenset(choice.event for choice in list_prompt_choices(settings) if not choice.shadow)


def find_shadow_only_prompts(settings: Settings) -> frozenset[str]:
    """Prompts that settings name only as shadows: they do not run for the events of their `on:`."""
    choices = list_prompt_choices(settings)
    chosen = {choice.prompt for choice in choices if not choice.shadow}
    return frozenset(str(choice.prompt) for choice in choices if choice.shadow) - chosen
