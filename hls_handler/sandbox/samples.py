"""Recorded payloads as what templates see: every prompt is rendered over them before it may be used."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from hls_handler.errors import HlsError, PromptError
from hls_handler.events import Event, parse_event
from hls_handler.handlers import handler_for
from hls_handler.handlers.handler import Budget, Handler
from hls_handler.handlers.record import Blank, Correction
from hls_handler.prompting.family import Family
from hls_handler.prompting.library import Library, load_library
from hls_handler.sandbox import recorded
from hls_handler.sandbox.facts import SandboxReader
from hls_handler.sandbox.recorded import Recorded
from hls_handler.sandbox.state import State
from hls_handler.sandbox.world import World
from hls_handler.settings.github_events import ACTIONS
from hls_handler.settings.model import Settings
from hls_handler.settings.uses import chosen_events, mere_shadows
from hls_handler.work.variables import template_variables

SHIPPED = Path(__file__).parent.parent.parent / "prompts"
"""The library that comes with HLS, beside the package."""

RECORD = Blank(corrected=(Correction("priority", "priority-high", "priority-low", "Typo in the README"),))
"""What is remembered before each sample: something of everything that templates may show."""

DELIVERY = "72d3162e-cc78-11e3-81ab-4c9367dc0958"


def load_checked(settings: Settings) -> Library:
    """The library that settings name, tried out on every recorded payload. Raises `PromptError` with all problems."""
    budget = Budget(input_tokens=settings.claude.input_tokens)
    folders, where = settings.prompts.folders, settings.sources.where
    missing = [f"{where(key)}: there is no folder {folder}" for key, folder in folders.items() if not folder.is_dir()]
    if missing:
        raise PromptError(missing)
    return load_library(
        *folders.values(),
        families=families(budget),
        shipped=SHIPPED,
        chosen=chosen_events(settings),
        shadows=mere_shadows(settings),
    )


def library_basis(settings: Settings) -> tuple[object, ...]:
    """All that `load_checked` takes from settings: where it is the same, they lead to the same library."""
    where = settings.sources.where("prompts.directory")
    return settings.prompts, settings.claude.input_tokens, chosen_events(settings), mere_shadows(settings), where


def load_shipped(settings: Settings) -> Library:
    """The library that HLS comes with, as these settings would have it. Raises `PromptError` with all problems."""
    budget = Budget(input_tokens=settings.claude.input_tokens)
    return load_library(SHIPPED, families=families(budget), chosen=chosen_events(settings))


def families(budget: Budget) -> Mapping[str, Family]:
    """By event name, one for each event that GitHub sends."""
    return {
        event: Family(
            name=handler.family,
            variables=handler.variable_types,
            comment_variables=handler.comment_variable_types,
            actions=frozenset(ACTIONS[event].split()),
            replies=handler.replies,
            samples=partial(_samples, event, budget),
        )
        for event, handler in ((event, handler_for(event)) for event in ACTIONS)
    }


@cache  # they never change, and a library is loaded anew at each change of a file
def _samples(event_name: str, budget: Budget) -> tuple[tuple[str, Mapping[str, object]], ...]:
    """Closed, locked and deleted threads are left out: no prompt ever sees one."""
    handler = handler_for(event_name)
    samples: list[tuple[str, Mapping[str, object]]] = []
    for sample in recorded.for_event(event_name):
        try:
            event, facts = facts_of(sample, handler, budget)
        except HlsError:
            continue
        prompt = f"{handler.family}/sample"
        variables = template_variables(event, handler, facts, prompt=prompt, dry_run=False)
        samples.append((sample.name, variables))
    return tuple(samples)


@cache
def _before(name: str) -> World:
    """The sandbox's world before an event of the story; an empty one before any other."""
    earlier = recorded.before(name)
    if not earlier:
        return World()
    state = State(begin=_before(earlier[-1].name))
    state.plant(earlier[-1].event, earlier[-1].payload)
    return state.world


def facts_of(sample: Recorded, handler: Handler[Any], budget: Budget) -> tuple[Event, Any]:
    """The event and what its handler gathers over the sandbox's state. Raises what `gather` raises.

    Before an event of the story, the others before it have happened.
    """
    state = State(begin=_before(sample.name))
    state.plant(sample.event, sample.payload)
    event = parse_event(sample.event, DELIVERY, sample.body)
    return event, handler.gather(event, SandboxReader(state, event.repository.full_name), RECORD, budget)
