"""A use: what `prompts.use` says of one event, for all repositories or for one entry of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from hls_handler.settings.model import PromptUse, Settings, ShadowKeys


@dataclass(frozen=True, slots=True)
class Use:
    key: str  # its key path: "repositories[0].prompts.use.issues.opened"
    event: str  # "issues.opened", or "issues" for all its actions
    prompt: str | Literal[False]  # False: none goes to work
    shadow: bool  # whether the prompt runs beside the event's own, and posts nothing


def uses_in(said: Mapping[str, PromptUse], path: str) -> Iterator[Use]:
    """What one `use` says; `path` is its key path: "prompts.use"."""
    for event, value in said.items():
        shadow = isinstance(value, ShadowKeys)
        yield Use(f"{path}.{event}", event, value.prompt if isinstance(value, ShadowKeys) else value, shadow)


def all_uses(settings: Settings) -> tuple[Use, ...]:
    """What the whole file says."""
    own = (
        use
        for index, entry in enumerate(settings.repositories)
        for use in uses_in(entry.prompts.use, f"repositories[{index}].prompts.use")
    )
    return (*uses_in(settings.prompts.use, "prompts.use"), *own)


def chosen_events(settings: Settings) -> frozenset[str]:
    """The events of which settings say which prompt goes to work on them, if any."""
    return frozenset(use.event for use in all_uses(settings) if not use.shadow)


def mere_shadows(settings: Settings) -> frozenset[str]:
    """The prompts that settings name as shadows only: their `on:` does not make them go to work."""
    uses = all_uses(settings)
    return frozenset(str(use.prompt) for use in uses if use.shadow) - {use.prompt for use in uses if not use.shadow}
