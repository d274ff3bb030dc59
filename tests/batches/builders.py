"""Batches about closed issues, without GitHub."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hls_handler.batches.first_text import FirstIssue, make_delivery
from hls_handler.batches.recorded import BatchPrompt, dump_prompts
from hls_handler.deliveries import NewDelivery
from hls_handler.events import Account
from hls_handler.prompting import recorded
from hls_handler.store.batches import NewBatch
from hls_handler.store.storage import Storage
from tests.engine.world import library

PROMPT = "issues/analyze"
DOCUMENT = recorded.load("issues.opened").payload["repository"]


def make_subject(number: int, title: str, *, prompt: int = 0) -> NewDelivery:
    opened = datetime(2026, 11, 2, tzinfo=UTC) + timedelta(minutes=number)
    mona = Account("mona", 11, "User")
    first = FirstIssue(number, mona, opened, title, "It fails.", ())
    return make_delivery(first, DOCUMENT, prompt=prompt)


def begin_batch(
    store: Storage,
    *numbers: int,
    max_usd: float = 1.0,
    title: str = "Thing",
    label: str = "bug",
    draft: str | None = None,
) -> int:
    """Begin a batch about issues on which people left the label, also with a draft of this title."""
    prompt = library().prompts[PROMPT]
    asked = BatchPrompt(PROMPT, prompt.id, library().sources[PROMPT])
    prompts = [asked]
    if draft is not None:
        prompts.append(replace(asked, title=draft))
    truth = {"labels": [label], "rejected": [], "undecided": []}
    plan = {
        "prompts": dump_prompts(prompts),
        "groups": [[{"name": "kind", "labels": {"bug": label}}]] * len(prompts),
        "issues": {number: {"first_labels": [], "truth": truth} for number in numbers},
        "min_confidence": 0.7,
    }
    new = NewBatch("try", DOCUMENT["id"], DOCUMENT["full_name"], max_usd, {"closed": True}, plan)
    subjects = [
        make_subject(number, title, prompt=index)
        for number in numbers
        for index in range(len(prompts))
    ]
    return store.batches.begin(new, subjects, by="mona")
