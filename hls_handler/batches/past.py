"""Tries a prompt on the last deliveries that it was asked about, with the facts that were read for
them, and compares the replies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from difflib import unified_diff

from hls_handler.batches.preview import SAMPLE, CannotPlan, Preview, make_forecast
from hls_handler.deliveries import RECORDED, NewDelivery
from hls_handler.engine.asking import PROMPT_SECRET
from hls_handler.engine.batches import PROMPTS, AskedPrompt, dump_prompts, load_prompts
from hls_handler.engine.codecs import decode_reply_for_display
from hls_handler.handlers.registry import handler_for
from hls_handler.question import RenderedPrompt
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Settings
from hls_handler.settings.yaml_parser import format_yaml
from hls_handler.storage import Storage
from hls_handler.store.batches import BatchDelivery, NewBatch, Progress
from hls_handler.store.deliveries import DeliveryRow
from hls_handler.trials.replay import NotRepeatable, StoredFacts, load_stored_facts
from hls_handler.trials.trial import Trial
from hls_handler.wording import count, format_usd

POSTED = "posted"
"""Key of the plan: the GUIDs of the deliveries whose facts are used, by position."""
MOST_READ = 200  # newest deliveries with a reply that are searched


@dataclass(frozen=True, slots=True)
class Terms:
    last: int  # deliveries
    max_usd: float


@dataclass(frozen=True, slots=True)
class PastDelivery:
    row: DeliveryRow
    source: StoredFacts


class Planner:
    """Plans a batch about stored deliveries."""

    def __init__(self, store: Storage, settings: Settings, asked: AskedPrompt) -> None:
        self._store = store
        self._settings = settings
        self._table = RepositoryTable(settings)
        self._asked = asked

    def plan(self, terms: Terms) -> Preview:
        """Return the preview. Raises `CannotPlan`, `PromptError`, or `StoreUnavailable`."""
        left_out: Counter[str] = Counter()
        chosen = list(self._choose(terms.last, left_out))
        name = self._asked.name
        if not chosen:
            raise CannotPlan(f"no delivery that {name} was asked about is stored; see --closed")
        repositories = {past.row.repository for past in chosen}
        repository = None
        if len(repositories) == 1:
            repository = repositories.pop()
        posted = {str(position): past.row.guid for position, past in enumerate(chosen)}
        new = NewBatch(
            "try",
            None,
            repository or "",
            terms.max_usd,
            {"prompt": name, "closed": False, "last": terms.last},
            {PROMPTS: dump_prompts([self._asked]), POSTED: posted},
        )
        library = self._asked.restore()
        key = self._store.database.secret(PROMPT_SECRET)
        samples: list[RenderedPrompt] = []
        for past in chosen[:SAMPLE]:
            samples += Trial(past.source, library, name, key).render_requests()
        subjects = [self._make_delivery(place, past.row) for place, past in enumerate(chosen)]
        sampled = min(len(chosen), SAMPLE)
        calls = round(len(samples) / sampled * len(chosen))
        forecast = make_forecast(self._settings, samples, calls, terms.max_usd)
        facts = {f"{position}-0": guid for position, guid in posted.items()}
        return Preview(new, subjects, left_out, forecast, facts=facts)

    def _choose(self, last: int, left_out: Counter[str]) -> Iterator[PastDelivery]:
        since = self._store.now() - timedelta(days=self._settings.storage.body_days)
        rows = self._store.deliveries.with_reply(since=since, events=(), most=MOST_READ)
        found = 0
        for row in rows:
            first = self._store.replies.of(row.guid).valid.get(0)
            if row.state != "done" or first is None:
                continue
            if first.prompt_id.partition("@")[0] != self._asked.name:
                continue
            if found == last:
                return
            try:
                source = load_stored_facts(self._store, row, self._table)
            except NotRepeatable as exc:
                left_out[str(exc)] += 1
                continue
            if row.handler != handler_for(row.event).name:
                left_out["another handler processed it"] += 1
                continue
            found += 1
            yield PastDelivery(row, source)

    def _make_delivery(self, position: int, row: DeliveryRow) -> NewDelivery:
        return NewDelivery(
            guid=f"{position}-0",
            event=row.event,
            action=row.action,
            request_id=f"{RECORDED}0",
            state="queued",
            repository_id=None,
            repository=row.repository,
            number=row.number,
            title=row.title,
            body=self._store.deliveries.body(row.guid) or b"",
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
class Result:
    title: str  # of the prompt that was asked
    replies: Sequence[ComparedReply]
    failed: Mapping[str, int]  # deliveries without a usable reply, by reason
    cost_usd: float
    posted_usd: float

    @property
    def different(self) -> int:
        return sum(bool(reply.diff) for reply in self.replies)

    def to_dict(self) -> dict[str, object]:
        replies = [
            {"subject": one.subject, "posted": one.posted, "new": one.new} for one in self.replies
        ]
        return {
            "title": self.title,
            "replies": replies,
            "different": self.different,
            "failed": dict(self.failed),
            "cost_usd": self.cost_usd,
            "posted_usd": self.posted_usd,
        }

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


def load_result(store: Storage, progress: Progress) -> Result:
    """Return the comparison of the deliveries that have ended."""
    (asked,) = load_prompts(progress.batch.plan)
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
        guid = posted[delivery.guid.split("-")[2]]
        posted_usd += sum(call.cost_usd or 0 for call in store.calls.calls_of(guid))
        before = _format_replies(store, guid, asked.name)
        after = _format_replies(store, delivery.guid, asked.name)
        replies.append(ComparedReply(_name_subject(delivery), before, after))
    return Result(asked.title, replies, failed, progress.cost_usd, posted_usd)


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
