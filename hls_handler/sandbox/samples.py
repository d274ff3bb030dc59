"""Facts about recorded events, gathered from the sandbox's state.

`python -m hls_handler.sandbox.samples` stores them for the check of prompts at every start (`work/library.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from hls_handler.errors import HlsError
from hls_handler.events import Event, parse_event
from hls_handler.handlers import handler_for
from hls_handler.handlers.handler import Handler, PromptLimits
from hls_handler.handlers.reader import Correction, EmptyHistory
from hls_handler.prompting import recorded
from hls_handler.prompting.recorded import Recorded
from hls_handler.sandbox.facts import SandboxReader
from hls_handler.sandbox.state import State
from hls_handler.sandbox.world import World
from hls_handler.settings.github_events import ACTIONS
from hls_handler.settings.model import Claude
from hls_handler.work.job import facts_codec
from hls_handler.work.library import FACTS, GUID

RECORD = EmptyHistory(corrected=(Correction("priority", "priority-high", "priority-low", "Typo in the README"),))
"""Stored history before each event: a value for everything that templates may show."""


def facts_of(sample: Recorded, handler: Handler[Any], budget: PromptLimits) -> tuple[Event, Any]:
    """Return the event and what its handler gathers from the sandbox's state. Raises the errors of `gather`.

    Before an event of the demo's story, the earlier events have happened.
    """
    state = State(begin=_before(sample.name))
    state.plant(sample.event, sample.payload)
    event = parse_event(sample.event, GUID, sample.body)
    return event, handler.gather(event, SandboxReader(state, event.repository.full_name), RECORD, budget)


@cache
def _before(name: str) -> World:
    """Return the sandbox's world before an event of the story; an empty one before any other event."""
    earlier = recorded.before(name)
    if not earlier:
        return World()
    state = State(begin=_before(earlier[-1].name))
    state.plant(earlier[-1].event, earlier[-1].payload)
    return state.world


def recorded_facts(event_name: str) -> Mapping[str, object]:
    """Return the facts about the recorded events of this name as JSON values, by sample name.

    There are none about closed, locked and deleted conversations, which no handler processes.
    """
    handler, budget = handler_for(event_name), PromptLimits(Claude.model_fields["input_tokens"].default)
    found: dict[str, object] = {}
    for sample in recorded.for_event(event_name):
        try:
            _, facts = facts_of(sample, handler, budget)
        except HlsError:
            continue
        found[sample.name] = json.loads(facts_codec(handler).encode(facts, index=0, took_s=0.0).value)
    return found


def write_facts(folder: Path = FACTS) -> None:
    folder.mkdir(exist_ok=True)
    for event_name in ACTIONS:
        found = recorded_facts(event_name)
        if found:
            (folder / f"{event_name}.json").write_text(f"{json.dumps(found, indent=1)}\n", encoding="utf-8")


if __name__ == "__main__":
    write_facts()
