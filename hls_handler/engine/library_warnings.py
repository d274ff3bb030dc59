"""Warnings about settings and prompts that do not fit together: events, and variables that templates use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from hls_handler.events import event_key
from hls_handler.prompting.prompt import Library, Prompt
from hls_handler.prompting.source_files import SHIPPED_FRONT_MATTER, read_folder
from hls_handler.routing.envelope import LABEL_ACTIONS, REVIEW_REQUESTED
from hls_handler.routing.router import LABEL_CORRECTION_EVENTS
from hls_handler.settings.effective import EffectiveSettings, RepositoryTable, find_chosen_prompts
from hls_handler.settings.model import Repository, Settings

LABEL_CHANGES = frozenset(event_key(event, action) for event in LABEL_CORRECTION_EVENTS for action in LABEL_ACTIONS)
NEED_NO_PROMPT = LABEL_CHANGES | {"merge_group", "merge_group.checks_requested"}
"""Events that can be label corrections, and those that get a check without Claude."""


def find_library_warnings(settings: Settings, library: Library) -> Iterator[str]:
    """Yield a warning for each enabled event without a prompt, and each prompt of which no event is enabled.

    Prompts with shipped front matter are left out of the latter, because the operator did not choose their events.
    Also yield a warning for each repository that lacks a variable of a prompt that can run for it.
    """
    for entry, effective in _enabled_entries(settings):
        for position, event in enumerate(entry.events):
            if event not in NEED_NO_PROMPT and not _has_prompt(event, effective, library):
                where = settings.sources.where(f"{effective.key}.events[{position}]")
                advice = f"add {event} to the `on:` of a prompt, or do not enable it"
                yield f"{where}: {event} is enabled, but no prompt is for it, so it is ignored; {advice}"
    shipped = _shipped_front_matter()
    for prompt in _find_unused(settings, library):
        sources = library.sources[prompt.name]
        if shipped.get(prompt.name) != sources.front:
            line = next((number for number, text in sources.numbered_front if text.startswith("on")), 1)
            advice = f"add one to repositories[].events in {settings.sources.file}, or remove the prompt"
            where = f"{Path(sources.front_file).absolute()}:{line}"
            yield f"{where}: on: no repository enables {' or '.join(prompt.on)}; {advice}"
    for _, effective in _enabled_entries(settings):
        where = settings.sources.where(f"{effective.key}.variables")
        for name, prompt in library.prompts.items():
            if _can_run(name, effective, library):
                for variable in sorted(library.used_variables(name) - effective.variables.keys()):
                    advice = f"add {variable} there or to prompts.variables"
                    uses = f"{prompt.absolute_path} uses config.{variable}"
                    yield f"{where}: {uses}, which {effective.pattern} lacks; {advice}"


def find_own_prompts(library: Library) -> tuple[Prompt, ...]:
    """Return the prompts whose front matter is not the shipped one."""
    shipped = _shipped_front_matter()
    return tuple(p for p in library.prompts.values() if shipped.get(p.name) != library.sources[p.name].front)


def find_unused_shipped_prompts(settings: Settings, library: Library) -> tuple[Prompt, ...]:
    """Return the prompts with shipped front matter of which no repository enables an event."""
    shipped = _shipped_front_matter()
    return tuple(p for p in _find_unused(settings, library) if shipped.get(p.name) == library.sources[p.name].front)


def _shipped_front_matter() -> dict[str, str | None]:
    return {source.prompt: source.front for source in read_folder(SHIPPED_FRONT_MATTER)[0].values()}


def _enabled_entries(settings: Settings) -> list[tuple[Repository, EffectiveSettings]]:
    effective = {one.pattern: one for one in RepositoryTable(settings).all()}
    return [(entry, effective[entry.name]) for entry in settings.repositories if entry.enabled]


def _has_prompt(event: str, effective: EffectiveSettings, library: Library) -> bool:
    name, _, action = event.partition(".")
    if effective.find_prompt(event) is not None:  # a prompt, or False: switched off by the operator
        return True
    if action:
        return bool(library.on(event) or library.on(name))
    keys = {key for prompt in library.prompts.values() for key in prompt.on} | effective.use.keys()
    return any(key in effective.use or library.on(key) for key in _of_event(name, keys))


def _of_event(name: str, keys: Iterable[str]) -> Iterator[str]:
    return (key for key in keys if key.partition(".")[0] == name)


def _can_run(name: str, effective: EffectiveSettings, library: Library) -> bool:
    """Return True if an enabled event of the entry can lead to the prompt, also as a follow-up or a shadow prompt."""
    first = {name, *(other for other in library.prompts if name in library.followers(other))}
    named = {prompt for prompt, _ in (*effective.use.values(), *effective.shadows.values())}
    return any(
        one in named
        or any(_enables(effective, key) and effective.find_prompt(key) is None for key in library.prompts[one].on)
        for one in first
    )


def _find_unused(settings: Settings, library: Library) -> Iterator[Prompt]:
    chosen, entries = find_chosen_prompts(settings), _enabled_entries(settings)
    for name, prompt in library.prompts.items():
        runs_otherwise = name in chosen or name in library.shadows or library.predecessors(name)
        if prompt.on and not runs_otherwise and not any(_enables(one, key) for _, one in entries for key in prompt.on):
            yield prompt


def _enables(effective: EffectiveSettings, key: str) -> bool:
    name, _, action = key.partition(".")
    if name in effective.events or key in effective.events:
        return True
    return (not action or key == event_key("pull_request", REVIEW_REQUESTED)) and any(_of_event(name, effective.events))
