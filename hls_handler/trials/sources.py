"""Finds what a prompt can be tried with: stored deliveries, or a recorded event that HLS ships with its facts."""

from __future__ import annotations

import json

from hls_handler.analysis import Usage, ValidReply
from hls_handler.deliveries import Checkpoint
from hls_handler.engine.job import ASK, GATHER, encode_reply, facts_codec
from hls_handler.engine.library import FACTS, GUID, families
from hls_handler.events import parse_event
from hls_handler.handlers import handler_for
from hls_handler.prompting import recorded
from hls_handler.prompting.prompt import Library
from hls_handler.prompting.variables import sample_values
from hls_handler.settings.effective import without_entry
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.store.search import DeliverySearch
from hls_handler.store.statistics import DeliveryRow
from hls_handler.trials.replay import NotRepeatable, StoredFacts

MAX_EVENTS, MAX_OFFERED = 5, 20
"""Most events of a prompt that are searched for deliveries, and most deliveries that are offered."""


def list_deliveries(store: Storage, library: Library, name: str) -> list[DeliveryRow]:
    """Return finished deliveries of the prompt's events, the newest first. Reads a limited number of rows."""
    keys, rows = library.events(name, families()), list[DeliveryRow]()
    for event in tuple(dict.fromkeys(key.partition(".")[0] for key in keys))[:MAX_EVENTS]:
        found = store.searches.find(DeliverySearch(event=event, state="done")).rows
        rows += [row for row in found if row.event in keys or row.event_key in keys]
    return sorted(rows, key=lambda row: row.received_at, reverse=True)[:MAX_OFFERED]


def find_events(library: Library, name: str) -> set[str]:
    """Return the names of the events that a prompt of the library can be tried with."""
    return {key.partition(".")[0] for key in library.events(name, families())}


def load_sample(library: Library, name: str, settings: Settings) -> StoredFacts:
    """Return the first recorded event of the prompt, with the facts that HLS ships. Raises `NotRepeatable`.

    For a prompt that follows another one, it has an invented reply to that prompt.
    """
    others: list[StoredFacts] = []
    for key in library.events(name, families()):
        event, _, action = key.partition(".")
        file, handler = FACTS / f"{event}.json", handler_for(event)
        stored: dict[str, object] = json.loads(file.read_bytes()) if file.exists() else {}
        for sample_name, plain in stored.items():
            sample, step = recorded.load(sample_name), Checkpoint(GATHER, 0, handler.facts_version, json.dumps(plain))
            parsed, facts = parse_event(event, GUID, sample.body), facts_codec(handler).decode(step)
            steps = {(GATHER, 0): step, **_invent_reply(library, name)}
            made = StoredFacts(None, parsed, handler, facts, without_entry(settings), steps)
            if not action or sample.action == action:
                return made
            others.append(made)
    if not others:
        raise NotRepeatable("no delivery of its events is stored, and HLS ships no recorded one")
    return others[0]


def _invent_reply(library: Library, name: str) -> dict[tuple[str, int], Checkpoint]:
    """Return the checkpoint of a reply that leads to the prompt `name`; {} if none does."""
    for before in library.predecessors(name):
        prompt = library.prompts[before]
        for reply in sample_values(prompt.reply_model):
            if library.find_next_prompt(before, reply) == name:
                answer = ValidReply(prompt.id, prompt.reply, reply, Usage(""))
                return {(ASK, 0): encode_reply(answer, index=0)}
    return {}
