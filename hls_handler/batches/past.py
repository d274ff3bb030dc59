"""Tries a prompt on the last deliveries that it was asked about, with the facts that were read for
them, and compares the replies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from difflib import unified_diff

from hls_handler.analysis import RenderedPrompt
from hls_handler.batches.preview import CannotPlan, Preview, list_reasons, make_preview
from hls_handler.batches.recorded import PROMPTS, BatchPrompt, dump_prompts, load_prompts
from hls_handler.batches.trial import NotRepeatable, StoredFacts, Trial, load_stored_facts
from hls_handler.deliveries import RECORDED, NewDelivery
from hls_handler.engine.asking import PROMPT_SECRET
from hls_handler.engine.codecs import decode_reply_for_display
from hls_handler.handlers.registry import handler_for
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Settings
from hls_handler.settings.yaml_parser import format_yaml
from hls_handler.store.batches import BatchDelivery, NewBatch, Progress
from hls_handler.store.deliveries import DeliveryRow
from hls_handler.store.storage import Storage
from hls_handler.wording import count, format_usd

POSTED = "posted"
"""Key of the plan: the GUIDs of the deliveries whose facts are used, by those of the subjects."""
MOST_READ = 200  # newest deliveries with a reply to the prompt


@dataclass(frozen=True, slots=True)
class PastDelivery:
    row: DeliveryRow
    source: StoredFacts


def plan(
    store: Storage, settings: Settings, prompt: BatchPrompt, last: int, max_usd: float
) -> Preview:
    """Return the preview of a batch about the newest `last` deliveries. Raises `CannotPlan`,
    `PromptError`, or `StoreUnavailable`.
    """
    left_out: Counter[str] = Counter()
    chosen = {
        f"{position}-0": past
        for position, past in enumerate(_choose(store, settings, prompt, last, left_out))
    }
    name = prompt.name
    if not chosen:
        raise CannotPlan(
            f"no delivery that {name} was asked about can be tried: {list_reasons(left_out)};"
            " see --closed"
        )
    repositories = {past.row.repository for past in chosen.values()}
    repository = None
    if len(repositories) == 1:
        repository = repositories.pop()
    posted = {guid: past.row.guid for guid, past in chosen.items()}
    new = NewBatch(
        "try",
        None,
        repository or "",
        max_usd,
        {"prompt": name, "closed": False, "last": last},
        {PROMPTS: dump_prompts([prompt]), POSTED: posted},
    )
    library = prompt.restore()
    key = store.database.secret(PROMPT_SECRET)

    def render(subject: NewDelivery) -> Sequence[RenderedPrompt]:
        return Trial(chosen[subject.guid].source, library, name, key).render_requests()

    subjects = [_make_delivery(store, guid, past.row) for guid, past in chosen.items()]
    preview = make_preview(settings, new, subjects, left_out, render)
    return replace(preview, facts=posted)


def _choose(
    store: Storage,
    settings: Settings,
    prompt: BatchPrompt,
    last: int,
    left_out: Counter[str],
) -> Iterator[PastDelivery]:
    since = store.now() - timedelta(days=settings.storage.body_days)
    table = RepositoryTable(settings)
    number = 0
    for row in store.deliveries.with_reply(prompt.name, since=since, limit=MOST_READ):
        if number == last:
            return
        try:
            source = load_stored_facts(store, row, table)
        except NotRepeatable as exc:
            left_out[str(exc)] += 1
            continue
        if row.handler != handler_for(row.event).name:
            left_out["another handler processed it"] += 1
            continue
        number += 1
        yield PastDelivery(row, source)


def _make_delivery(store: Storage, guid: str, row: DeliveryRow) -> NewDelivery:
    return NewDelivery(
        guid=guid,
        event=row.event,
        action=row.action,
        request_id=f"{RECORDED}0",
        state="queued",
        repository_id=None,
        repository=row.repository,
        number=row.number,
        title=row.title,
        body=store.deliveries.body(row.guid) or b"",
    )


@dataclass(frozen=True, slots=True)
class ComparedReply:
    """The posted reply to a delivery and that of the batch, both as YAML."""

    subject: str  # "octo/widgets#7"
    posted: str
    new: str

    @property
    def diff(self) -> Sequence[str]:
        """The changed lines with three lines of context; empty if the replies are equal."""
        lines = unified_diff(self.posted.split("\n"), self.new.split("\n"), lineterm="", n=3)
        return [*lines][2:]


@dataclass(frozen=True, slots=True)
class PastResult:
    title: str  # of the prompt
    replies: Sequence[ComparedReply]
    different: int  # of the replies
    failed: Mapping[str, int]  # deliveries without a usable reply, by reason
    cost_usd: float
    posted_usd: float

    def describe(self) -> Iterator[str]:
        yield (
            f"prompt      {self.title}: {self.different} of {len(self.replies)} replies differ,"
            f" {format_usd(self.cost_usd)} (posted: {format_usd(self.posted_usd)})"
        )
        for reason, number in self.failed.items():
            yield f"failed      {number}: {reason}"
        for reply in self.replies:
            difference = reply.diff
            yield f"{reply.subject}: {count(len(difference), 'line')} of difference"
            yield from difference


def load_result(store: Storage, progress: Progress) -> PastResult:
    """Return the comparison of the deliveries that have ended."""
    (prompt,) = load_prompts(progress.batch.plan)
    posted: Mapping[str, str] = progress.batch.plan[POSTED]
    replies: list[ComparedReply] = []
    failed: Counter[str] = Counter()
    posted_usd = 0.0
    for delivery in progress.deliveries:
        if not delivery.has_result:
            continue
        if delivery.state != "done":
            failed[delivery.reason or ""] += 1
            continue
        _, _, subject = delivery.guid.split("-", 2)
        guid = posted[subject]
        # neither a follow-up prompt nor a second look is asked again
        posted_usd += sum(
            call.cost_usd or 0
            for call in store.calls.calls_of(guid)
            if call.prompt_id.startswith(f"{prompt.name}@")
        )
        before = _format_replies(store, guid, prompt.name)
        after = _format_replies(store, delivery.guid, prompt.name)
        replies.append(ComparedReply(_name_subject(delivery), before, after))
    different = sum(reply.posted != reply.new for reply in replies)
    return PastResult(prompt.title, replies, different, dict(failed), progress.cost_usd, posted_usd)


def _name_subject(delivery: BatchDelivery) -> str:
    return f"#{delivery.number} {delivery.title or ''}".strip()


def _format_replies(store: Storage, guid: str, prompt: str) -> str:
    stored = store.replies.of(guid).valid
    decoded = [decode_reply_for_display(stored[index]) for index in sorted(stored)]
    return "\n".join(
        format_yaml(reply.fields.model_dump(mode="json"))
        for reply in decoded
        if reply is not None and reply.prompt_name == prompt
    )
