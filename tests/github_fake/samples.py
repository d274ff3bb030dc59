"""Facts and template variables of recorded events, made with the stand-in GitHub.

`python -m tests.github_fake.samples` stores the facts, with which `engine/library.py` checks all
prompts at a start. It also stores copies of the shipped front matters
(`prompting/library.py`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from hls_handler.batches.recording_job import read_facts
from hls_handler.engine.codecs import facts_codec
from hls_handler.engine.library import FACTS, GUID
from hls_handler.errors import HlsError
from hls_handler.events import Event, parse_event
from hls_handler.handlers.handler import Handler
from hls_handler.handlers.job import FactSource, PromptLimits
from hls_handler.handlers.reader import CorrectedLabel, EmptyHistory
from hls_handler.handlers.registry import handler_for
from hls_handler.prompting import recorded
from hls_handler.prompting.front_matter import FENCE
from hls_handler.prompting.recorded import Recorded
from hls_handler.prompting.source_files import SHIPPED_FRONT_MATTER, read_folder
from hls_handler.review.record import LedgerEntry, ReviewRecord
from hls_handler.settings import shipped
from hls_handler.settings.github_events import ACTIONS
from hls_handler.settings.providers import ClaudeSettings
from hls_sandbox.state import BOT, State
from hls_sandbox.world import World
from tests.github_fake.files import set_file
from tests.github_fake.reader import SandboxReader

CORRECTED = (CorrectedLabel("priority", "priority-high", "priority-low", "Typo in the README"),)
STATES = {"issues": '[{"text": "Which version do you use?", "answered": false}]'}
"""States of our comments, as sample values for templates. Only a conversation that was changed can
have a comment.
"""

REVIEWED = ReviewRecord(
    rounds=1,
    kind="feature",
    summary="Adds discounts to the cart.",
    ledger=(
        LedgerEntry(
            key="1c8aa5cdf6e21f0b",
            path="shop/discounts.py",
            side="RIGHT",
            quote="from __future__ import annotations",
            severity="low",
            category="style",
            title="Needless import",
            state="open",
            prompt_id="pull_requests/analyze@3f9c2a",
            number=1,
            file="shop/discounts.py",
            raised=1,
        ),
    ),
)
"""The record of an earlier review, for pull requests that were changed."""

ACCOUNTS = (BOT.login,)
NEW = EmptyHistory(ACCOUNTS, corrected=CORRECTED)
CHANGED = EmptyHistory(ACCOUNTS, corrected=CORRECTED, states=STATES, reviewed=REVIEWED)
CHANGES = ("edited", "synchronize")
GONE = ("deleted", "transferred")

NOT_OFFERED = frozenset(
    {"bug", "documentation", "duplicate", "enhancement", "invalid", "question", "wontfix"}
)
"""Labels of the stand-in GitHub that prompts do not list."""
"""Limits on the labels of the repository that are sample values. Events of `CHANGES` have none."""


def facts_of(sample: Recorded, handler: Handler, budget: PromptLimits) -> tuple[Event, Any]:
    """Return the event, and the facts that `handler` reads from the stand-in GitHub.

    The stand-in contains the objects of the event and of the demo's earlier events. Raises the
    errors of `gather`.
    """
    state = State(begin=_world_before(sample.name))
    state.seed(sample.event, sample.payload)
    event = parse_event(sample.event, GUID, sample.body)
    if event.pull_request is not None:
        branch = event.pull_request.base_ref
        set_file(
            state,
            event.repository.full_name,
            ".github/hls.md",
            "Prices are integers, in cents.",
            branch=branch,
        )
    history = CHANGED if event.action in CHANGES else NEW
    reader = SandboxReader(state, event.repository.full_name)
    source = FactSource(event, reader, history, replace(budget, is_review=True))
    return event, read_facts(handler, source)


@cache
def _world_before(name: str) -> World:
    earlier = recorded.before(name)
    if not earlier:
        return World()
    state = State(begin=_world_before(earlier[-1].name))
    state.seed(earlier[-1].event, earlier[-1].payload)
    return state.world


def recorded_facts(event_name: str) -> Mapping[str, object]:
    """Return {payload name: facts as JSON values} for the recorded payloads of the event
    `event_name`.

    Events about closed, locked and deleted conversations are left out, because no handler processes
    them.
    """
    handler = handler_for(event_name)
    codec = facts_codec(handler.facts_type)
    budget = PromptLimits(ClaudeSettings.model_fields["input_tokens"].default)
    found: dict[str, object] = {}
    for sample in recorded.for_event(event_name):
        if sample.payload.get("action") in GONE:
            continue
        try:
            _, facts = facts_of(sample, handler, _with_offer(budget, sample))
        except HlsError:
            continue
        found[sample.name] = json.loads(codec.encode(facts, index=0, took_s=0.0).value)
    return found


def _with_offer(budget: PromptLimits, sample: Recorded) -> PromptLimits:
    return (
        budget
        if sample.payload.get("action") in CHANGES
        else replace(budget, taken_labels=NOT_OFFERED)
    )


def write_facts(folder: Path = FACTS) -> None:
    folder.mkdir(exist_ok=True)
    for event_name in ACTIONS:
        found = recorded_facts(event_name)
        if found:
            (folder / f"{event_name}.json").write_text(
                f"{json.dumps(found, indent=1)}\n", encoding="utf-8"
            )


def write_front_matter(folder: Path = SHIPPED_FRONT_MATTER) -> None:
    """Copy the front matter of each shipped prompt to a file of the same path below `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, source in read_folder(shipped.PROMPTS).sources.items():
        if source.front is not None:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{FENCE}\n{source.front}\n{FENCE}\n", encoding="utf-8")


if __name__ == "__main__":
    write_facts()
    write_front_matter()
