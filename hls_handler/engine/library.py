"""Loads the prompt library that the settings name, checks it with recorded events, and finds what
does not fit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hls_handler.analysis import Prompt
from hls_handler.engine.codecs import facts_adapter
from hls_handler.errors import HlsError
from hls_handler.events import event_key, parse_event
from hls_handler.handlers.handler import common_variables
from hls_handler.handlers.registry import COMMAND_HANDLERS, handler_for
from hls_handler.prompting import recorded
from hls_handler.prompting.library import load_library
from hls_handler.prompting.prompt import Family, Library
from hls_handler.prompting.source_files import (
    NOTHING_UNSAVED,
    SourceFolder,
    find_folders,
    read_folder,
)
from hls_handler.prompting.variables import sample_values
from hls_handler.routing.envelope import LABEL_ACTIONS, REVIEW_REQUESTED
from hls_handler.routing.filters import RUN_EVENTS
from hls_handler.routing.router import LABEL_CORRECTION_EVENTS
from hls_handler.settings import shipped
from hls_handler.settings.effective import (
    EffectiveSettings,
    RepositoryTable,
    find_chosen_events,
    list_prompt_choices,
)
from hls_handler.settings.github_events import ACTIONS, CONVERSATION_EVENTS
from hls_handler.settings.model import Settings
from hls_handler.settings.problems import Kind, Sentence
from hls_handler.settings.sections import RepositoryEntry

FACTS = recorded.PAYLOADS / "facts"
"""Folder with the facts of recorded events. "issues.json" maps names of recorded `issues` events to
their facts.

`python -m tests.github_fake.samples` writes the files. A test fails if they are out of date.
"""

GUID = "72d3162e-cc78-11e3-81ab-4c9367dc0958"


def load_checked(settings: Settings, unsaved: SourceFolder = NOTHING_UNSAVED) -> Library:
    """Load and check the prompt library that the settings name. Raises `PromptError` with all
    problems.

    The files of `unsaved` take precedence.
    """
    library = load_library(
        *find_folders(settings),
        families=families(),
        shipped=shipped.PROMPTS,
        chosen=find_chosen_events(settings),
        config=all_variables(settings),
        unsaved=unsaved,
    )
    return replace(library, warnings=(*library.warnings, *find_library_warnings(settings, library)))


def all_variables(settings: Settings) -> dict[str, object]:
    """Return a value for each name in `prompts.variables` and in the `variables` of the entries of
    `repositories`.
    """
    maps = [
        *(entry.variables for entry in reversed(settings.repositories)),
        settings.prompts.variables,
    ]
    return {name: value for variables in maps for name, value in variables.items()}


@cache
def families() -> Mapping[str, Family]:
    """Return the prompt family of each event that GitHub sends, by event name, and those of
    commands.
    """
    return {
        event: Family(
            name=handler.family,
            variables=handler.variable_types,
            comment_variables=handler.comment_variable_types,
            carries_labels=event in (*CONVERSATION_EVENTS, *RUN_EVENTS),
            replies=handler.replies,
            samples=partial(_samples, event),
        )
        for event, handler in (
            (event, handler_for(event)) for event in (*ACTIONS, *COMMAND_HANDLERS)
        )
    }


def _samples(event_name: str) -> tuple[tuple[str, Mapping[str, object]], ...]:
    handler = handler_for(event_name)
    file = FACTS / f"{event_name}.json"
    if event_name in COMMAND_HANDLERS:
        sample = recorded.load("issue_comment.created")
        prompt = f"{handler.family}/sample"
        event = parse_event(sample.event, GUID, sample.body)
        values = sample_values(handler.facts_type)
        return tuple(
            (sample.name, {**common_variables(event, prompt), **handler.variables(facts)})
            for facts in values
        )
    stored: dict[str, object] = json.loads(file.read_bytes()) if file.exists() else {}
    facts_type: Any = handler.facts_type
    samples: list[tuple[str, Mapping[str, object]]] = []
    for name, plain in stored.items():
        sample = recorded.load(name)
        try:
            facts = facts_adapter(facts_type).validate_json(json.dumps(plain))
        except ValidationError as exc:
            raise HlsError(
                f"{file}: the facts of {name} are not valid for {handler.name}: they are of"
                " another version of HLS; install it again"
            ) from exc
        event = parse_event(sample.event, GUID, sample.body)
        prompt = f"{handler.family}/sample"
        variables = {**common_variables(event, prompt), **handler.variables(facts)}
        samples.append((sample.name, variables))
    return tuple(samples)


LABEL_CHANGES = frozenset(
    event_key(event, action) for event in LABEL_CORRECTION_EVENTS for action in LABEL_ACTIONS
)
NEED_NO_PROMPT = LABEL_CHANGES | {"merge_group", "merge_group.checks_requested"}
"""Events that can be label corrections, and those that get a check without Claude."""


def find_library_warnings(settings: Settings, library: Library) -> Iterator[Sentence]:
    """Yield a warning for each enabled event without a prompt, and each prompt of which no event is
    enabled.

    Prompts as shipped are left out of the latter, because the operator did not choose their events.
    Also yield a warning for each repository that lacks a variable of a prompt that can run for it.
    """
    for entry, effective in _enabled_entries(settings):
        for position, event in enumerate(entry.events):
            if event not in NEED_NO_PROMPT and not _has_prompt(event, effective, library):
                where = settings.sources.where(f"{effective.key}.events[{position}]")
                advice = f"add {event} to the `on:` of a prompt, or do not enable it"
                yield Sentence(
                    f"{where}: {event} is enabled, but no prompt is for it, so it is ignored;"
                    f" {advice}",
                    Kind.NO_PROMPT,
                )
    for prompt in _find_unused(settings, library):
        sources = library.sources[prompt.name]
        line = next((number for number, text in sources.numbered_front if text.startswith("on")), 1)
        advice = (
            f"add one to repositories[].events in {settings.sources.file}, or remove the prompt"
        )
        where = f"{Path(sources.front_file).absolute()}:{line}"
        events = " or ".join(prompt.on)
        yield Sentence(f"{where}: on: no repository enables {events}; {advice}", Kind.UNUSED_PROMPT)
    for _, effective in _enabled_entries(settings):
        where = settings.sources.where(f"{effective.key}.variables")
        for name, prompt in library.prompts.items():
            if _can_run(name, effective, library):
                for variable in sorted(library.used_variables(name) - effective.variables.keys()):
                    advice = f"add {variable} there or to prompts.variables"
                    uses = f"{prompt.absolute_path} uses config.{variable}"
                    yield Sentence(
                        f"{where}: {uses}, which {effective.pattern} lacks; {advice}",
                        Kind.MISSING_VARIABLE,
                    )


def _enabled_entries(settings: Settings) -> list[tuple[RepositoryEntry, EffectiveSettings]]:
    effective = {enabled.pattern: enabled for enabled in RepositoryTable(settings).all()}
    return [(entry, effective[entry.name]) for entry in settings.repositories if entry.enabled]


def _has_prompt(event: str, effective: EffectiveSettings, library: Library) -> bool:
    if effective.find_prompt(event) is not None:  # a prompt, or False: switched off by the operator
        return True
    keys = {key for prompt in library.prompts.values() for key in prompt.on} | effective.use.keys()
    return any(_overlap(event, key) and (key in effective.use or library.on(key)) for key in keys)


def _overlap(pattern: str, other: str) -> bool:
    """Return whether two keys have an event in common: "issues" has one with "issues.opened"."""
    return (
        pattern == other or pattern == other.partition(".")[0] or other == pattern.partition(".")[0]
    )


def _can_run(name: str, effective: EffectiveSettings, library: Library) -> bool:
    """Return True if an enabled event of the entry can lead to the prompt, also as a follow-up."""
    first = {name, *library.leading_to(name)}
    named = {use.prompt for use in effective.use.values()}
    return any(
        use in named
        or any(
            _enables(effective, key) and effective.find_prompt(key) is None
            for key in library.prompts[use].on
        )
        for use in first
    )


def _find_unused(settings: Settings, library: Library) -> Iterator[Prompt]:
    """Yield the prompts that are not as shipped, and of which no repository enables an event."""
    shipped_sources = read_folder(shipped.PROMPTS).sources
    as_shipped = {name: source.text for name, source in shipped_sources.items()}
    chosen = {choice.prompt for choice in list_prompt_choices(settings)}
    entries = _enabled_entries(settings)
    for name, prompt in library.prompts.items():
        template = library.sources[name].template
        is_shipped = as_shipped.get(template.name) == template.text
        runs_otherwise = is_shipped or name in chosen or library.predecessors(name)
        if (
            prompt.on
            and not runs_otherwise
            and not any(_enables(entry, key) for _, entry in entries for key in prompt.on)
        ):
            yield prompt


def _enables(effective: EffectiveSettings, key: str) -> bool:
    # any of its events enables it
    key = "pull_request" if key == event_key("pull_request", REVIEW_REQUESTED) else key
    return any(_overlap(event, key) for event in effective.events)
