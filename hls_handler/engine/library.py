"""Loads the prompt library that the settings name, and provides the recorded events with which it is checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from hls_handler import shipped
from hls_handler.deliveries import Checkpoint
from hls_handler.engine.job import GATHER, facts_codec
from hls_handler.engine.library_warnings import find_library_warnings
from hls_handler.errors import HlsError, PromptError
from hls_handler.events import parse_event
from hls_handler.handlers import handler_for
from hls_handler.handlers.handler import template_variables
from hls_handler.prompting import recorded
from hls_handler.prompting.library import build_library, load_library
from hls_handler.prompting.prompt import Family, Library
from hls_handler.prompting.source_files import read_source_files
from hls_handler.settings.effective import find_chosen_events, find_shadow_only_prompts, list_prompt_choices
from hls_handler.settings.github_events import ACTIONS, CONVERSATION_EVENTS
from hls_handler.settings.model import DEFAULT_FOLDERS, Settings

FACTS = recorded.PAYLOADS / "facts"
"""Folder with the facts of recorded events. "issues.json" maps names of recorded `issues` events to their facts.

`python -m hls_handler.sandbox.samples` writes the files. A test fails if they are out of date.
"""

GUID = "72d3162e-cc78-11e3-81ab-4c9367dc0958"


def load_checked(settings: Settings) -> Library:
    """Load and check the prompt library that the settings name. Raises `PromptError` with all problems."""
    folders, where = settings.prompts.folders, settings.sources.where
    if settings.prompts.directory == DEFAULT_FOLDERS:
        folders = {key: folder for key, folder in folders.items() if folder.is_dir()}
    missing = [
        f"{where(key)}: there is no folder {folder.absolute()}"
        for key, folder in folders.items()
        if not folder.is_dir()
    ]
    if missing:
        raise PromptError(missing)
    library = load_library(
        *folders.values(),
        families=families(),
        shipped=shipped.PROMPTS,
        chosen=find_chosen_events(settings),
        shadows=find_shadow_only_prompts(settings),
        config=all_variables(settings),
    )
    return replace(library, warnings=(*library.warnings, *find_library_warnings(settings, library)))


def all_variables(settings: Settings) -> dict[str, object]:
    """Return a value for each name in `prompts.variables` and in the `variables` of the entries of `repositories`."""
    maps = [*(entry.variables for entry in reversed(settings.repositories)), settings.prompts.variables]
    return {name: value for variables in maps for name, value in variables.items()}


def library_basis(settings: Settings) -> tuple[object, ...]:
    """Return all values that `load_checked` reads from the settings. If no value changed, no reload is needed."""
    where = settings.sources.where("prompts.directory")
    entries = tuple((e.name, e.enabled, e.events, tuple(e.variables.items())) for e in settings.repositories)
    return settings.prompts, list_prompt_choices(settings), entries, where


def load_shipped(settings: Settings) -> Library:
    """Load and check only the prompts that HLS ships, as they were shipped. Raises `PromptError` with all problems."""
    changed = shipped.find_edited_files().items()
    edited = {name.removeprefix("prompts/"): text for name, text in changed if name.startswith("prompts/")}
    files, problems = read_source_files((shipped.PROMPTS,), shipped.PROMPTS, unsaved=edited, unsaved_in="shipped")
    return build_library(files, problems, families=families(), chosen=find_chosen_events(settings))


def families() -> Mapping[str, Family]:
    """Return the prompt family of each event that GitHub sends, by event name."""
    return {
        event: Family(
            name=handler.family,
            variables=handler.variable_types,
            comment_variables=handler.comment_variable_types,
            carries_labels=event in CONVERSATION_EVENTS or event == "workflow_run",
            replies=handler.replies,
            samples=partial(_samples, event),
        )
        for event, handler in ((event, handler_for(event)) for event in ACTIONS)
    }


def _samples(event_name: str) -> tuple[tuple[str, Mapping[str, object]], ...]:
    handler, file = handler_for(event_name), FACTS / f"{event_name}.json"
    stored: dict[str, object] = json.loads(file.read_bytes()) if file.exists() else {}
    samples: list[tuple[str, Mapping[str, object]]] = []
    for name, plain in stored.items():
        sample = recorded.load(name)
        step = Checkpoint(GATHER, 0, handler.facts_version, json.dumps(plain))
        facts = facts_codec(handler).decode(step)
        if facts is None:
            raise HlsError(
                f"{file}: the facts of {name} are not valid for {handler.name}; "
                "write the file again with python -m hls_handler.sandbox.samples"
            )
        event = parse_event(sample.event, GUID, sample.body)
        prompt = f"{handler.family}/sample"
        samples.append((sample.name, template_variables(event, handler, facts, prompt=prompt)))
    return tuple(samples)
