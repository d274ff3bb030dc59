"""Loads the data for rendering a prompt: a stored delivery with its facts, or a recorded event that HLS ships.

The values are plain, so that a child process can get them as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hls_handler.deliveries import Checkpoint
from hls_handler.engine.job import ASK, GATHER, decode_reply_for_display, facts_codec
from hls_handler.engine.library import FACTS, GUID, families
from hls_handler.events import parse_event
from hls_handler.handlers import handler_for
from hls_handler.handlers.asking import VERIFICATION, VERIFY_PROMPT
from hls_handler.handlers.handler import template_variables, view_rule
from hls_handler.handlers.pull_request_facts import list_parts
from hls_handler.handlers.pull_requests import verification_variables
from hls_handler.prompting import recorded
from hls_handler.prompting.prompt import Library
from hls_handler.prompting.render import RuleView
from hls_handler.prompting.variables import sample_values
from hls_handler.settings.effective import RepositoryTable, without_entry
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.store.search import DeliverySearch
from hls_handler.store.statistics import DeliveryRow
from hls_handler.trials.replay import NotRepeatable, StoredFacts, decode_answer, load_stored_facts

MAX_EVENTS, MAX_OFFERED = 5, 20
"""Most events of a prompt that are searched for deliveries, and most deliveries that are offered."""


@dataclass(frozen=True, slots=True)
class PromptInput:
    guid: str | None  # of the stored delivery; None for a recorded event
    event: str  # "issues"
    body: str  # JSON
    facts: Checkpoint
    reply: Checkpoint | None  # the stored reply that a prompt after another one gets
    rule: RuleView
    config: Mapping[str, Any]  # the values of `variables` in the settings


def list_deliveries(store: Storage, library: Library, name: str) -> list[DeliveryRow]:
    """Return finished deliveries of the prompt's events, the newest first. Reads a limited number of rows."""
    keys, rows = library.events(name, families()), list[DeliveryRow]()
    for event in tuple(dict.fromkeys(key.partition(".")[0] for key in keys))[:MAX_EVENTS]:
        found = store.searches.find(DeliverySearch(event=event, state="done")).rows
        rows += [row for row in found if row.event in keys or row.event_key in keys]
    return sorted(rows, key=lambda row: row.received_at, reverse=True)[:MAX_OFFERED]


def choose_sources(
    store: Storage,
    library: Library,
    name: str,
    table: RepositoryTable,
    settings: Settings,
    rows: Iterable[DeliveryRow],
    *,
    guid: str = "",
    most: int = 1,
) -> tuple[list[StoredFacts], Mapping[str, str]]:
    """Return the delivery `guid`, then the suitable ones of `rows`; without any, the first recorded event.

    Also returns why rows are not suitable, by GUID. Raises `NotRepeatable` if `guid` is not, or if there is none.
    """
    found, unsuitable = dict[str, StoredFacts](), dict[str, str]()
    given = store.deliveries.find(guid) if guid else None
    if guid and given is None:
        raise NotRepeatable(f"there is no delivery {guid}, or it was deleted")
    for row in (*filter(None, [given]), *rows):
        if len(found) == most:
            break
        try:
            found[row.guid] = found.get(row.guid) or load_delivery(store, row, library, name, table)
        except NotRepeatable as exc:
            unsuitable[row.guid] = f"{row.guid}: {exc}"
            if row is given:
                raise NotRepeatable(unsuitable[guid]) from None
    return list(found.values()) or [load_sample(library, name, settings)], unsuitable


def load_delivery(store: Storage, row: DeliveryRow, library: Library, name: str, table: RepositoryTable) -> StoredFacts:
    """Return a delivery that the prompt can be rendered with. Raises `NotRepeatable`."""
    events = {key.partition(".")[0] for key in library.events(name, families())}
    if row.event not in events:
        known = ", ".join(sorted(events)) or "no event"
        raise NotRepeatable(f"it is the event {row.event}, and {name} is for {known}")
    if row.handler not in (None, handler_for(row.event).name):  # a comment can be an answer for another handler
        raise NotRepeatable(f"it was processed by the handler {row.handler}")
    stored = load_stored_facts(store, row, table)
    skipped = stored.handler.skip_reason(stored.facts)
    if skipped is not None:
        raise NotRepeatable(f"it was not a question for Claude: {skipped.reason}")
    needs_reply = name == VERIFY_PROMPT or (library.predecessors(name) and not library.prompts[name].on)
    if needs_reply and make_input(stored, library, name).reply is None:
        raise NotRepeatable(f"it has no reply of the prompt that precedes {name}")
    return stored


def load_sample(library: Library, name: str, settings: Settings) -> StoredFacts:
    """Return the first recorded event of the prompt, with the facts that HLS ships. Raises `NotRepeatable`."""
    others: list[StoredFacts] = []
    for key in library.events(name, families()):
        event, _, action = key.partition(".")
        file, handler = FACTS / f"{event}.json", handler_for(event)
        stored: dict[str, object] = json.loads(file.read_bytes()) if file.exists() else {}
        for sample_name, plain in stored.items():
            sample, step = recorded.load(sample_name), Checkpoint(GATHER, 0, handler.facts_version, json.dumps(plain))
            parsed, facts = parse_event(event, GUID, sample.body), facts_codec(handler).decode(step)
            made = StoredFacts(None, parsed, handler, facts, without_entry(settings), {(GATHER, 0): step})
            if not action or sample.action == action:
                return made
            others.append(made)
    if not others:
        raise NotRepeatable("no delivery of its events is stored, and HLS ships no recorded one")
    return others[0]


def make_input(source: StoredFacts, library: Library, name: str) -> PromptInput:
    event, before = source.event, library.predecessors(name)
    return PromptInput(
        guid=None if source.row is None else source.row.guid,
        event=event.name,
        body=json.dumps(event.payload),
        facts=source.steps[GATHER, 0],
        reply=_find_earlier_reply(source.steps, None if name == VERIFY_PROMPT else before),
        rule=view_rule(event, name, source.effective),
        config=source.effective.variables,
    )


def list_variables(given: PromptInput, library: Library, name: str) -> Iterator[Mapping[str, object]]:
    """Yield the variables of each question: one for each part of the facts, but one for a prompt that follows another.

    A prompt that follows another one gets the stored reply, or an invented one. Raises `NotRepeatable`.
    """
    handler = handler_for(given.event)
    event = parse_event(given.event, given.guid or GUID, given.body.encode())
    facts = facts_codec(handler).decode(given.facts)
    if facts is None:
        raise NotRepeatable("the facts are of another version of HLS")
    answer = decode_answer(given.reply, library)
    reply = answer.reply if answer is not None else None
    before = library.predecessors(name)
    for part in list_parts(facts):
        variables = {
            **template_variables(event, handler, part, prompt=name),
            "rule": given.rule,
            "config": given.config,
        }
        if name == VERIFY_PROMPT:
            asked = None if reply is None else verification_variables(facts, reply)
            if reply is not None and asked is None:
                raise NotRepeatable("the review has no findings to verify")
            yield {**variables, **(asked or {})}
            return
        if before and (reply is not None or not library.prompts[name].on):
            yield {**variables, "analysis": reply or sample_values(library.prompts[before[0]].reply_model)[0]}
            return
        yield variables


def _find_earlier_reply(
    steps: Mapping[tuple[str, int], Checkpoint], prompts: Collection[str] | None
) -> Checkpoint | None:
    """Return the first stored reply to one of the prompts; None: to any."""
    for (name, index), step in sorted(steps.items()):
        stored = decode_reply_for_display(step) if name == ASK and index < VERIFICATION else None
        if stored is not None and (prompts is None or stored.prompt_id.partition("@")[0] in prompts):
            return step
    return None
