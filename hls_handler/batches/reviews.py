"""Reviews the last merged pull requests at the head that people reviewed, and only records what is
found: what HLS would have posted, and for how much.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from hls_handler.batches.first_text import FirstIssue, find_first_issue, make_payload
from hls_handler.batches.preview import SAMPLE, CannotPlan, Preview, make_forecast
from hls_handler.batches.prompts import render_question
from hls_handler.deliveries import RECORDED, NewDelivery
from hls_handler.engine.batches import (
    FINDINGS,
    PROMPTS,
    AskedPrompt,
    RecordedFinding,
    dump_prompts,
    load_prompts,
)
from hls_handler.events import parse_event
from hls_handler.github.client import ReadOnlyGithub
from hls_handler.settings.effective import EffectiveSettings
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.store.batches import NewBatch, Progress, SummedCalls
from hls_handler.untrusted.cleaning import clean_title
from hls_handler.wording import count, format_usd

BY_BOT = "opened by a bot"
CALLS = 2  # of a pull request: the review, and the second look


@dataclass(frozen=True, slots=True)
class Terms:
    repository: str
    limit: int  # merged pull requests to read
    max_usd: float


class Planner:
    """Reads the merged pull requests of a repository, and plans a batch about them."""

    def __init__(
        self,
        settings: Settings,
        effective: EffectiveSettings,
        github: ReadOnlyGithub,
        asked: AskedPrompt,
    ) -> None:
        self._settings = settings
        self._effective = effective
        self._github = github
        self._asked = asked

    def plan(self, terms: Terms) -> Preview:
        """Return the preview. Raises `CannotPlan`, or a `StepFailed` of GitHub."""
        document = self._github.repository_document(terms.repository)
        reader = self._github.reader(terms.repository)
        left_out: Counter[str] = Counter()
        subjects: list[NewDelivery] = []
        for history in reader.merged_pull_requests(terms.limit):
            first = find_first_issue(history)
            if not isinstance(first, FirstIssue):
                left_out[first] += 1
            elif first.author.is_bot:
                left_out[BY_BOT] += 1
            else:
                pull_request = reader.pull_request_document(first.number)
                body = make_payload(first, document, pull_request)
                subjects.append(_make_delivery(first, document, body))
        if not subjects:
            raise CannotPlan("no merged pull request of a person can be reviewed")
        new = NewBatch(
            "reviews",
            int(document["id"]),
            str(document["full_name"]),
            terms.max_usd,
            {"limit": terms.limit},
            {PROMPTS: dump_prompts([self._asked])},
        )
        samples = [
            render_question(
                parse_event("pull_request", "batch", subject.body),
                self._asked,
                reader,
                self._settings,
                self._effective,
            )
            for subject in subjects[:SAMPLE]
        ]
        calls = CALLS * len(subjects)
        forecast = make_forecast(self._settings, samples, calls, terms.max_usd)
        return Preview(new, subjects, left_out, forecast)


def _make_delivery(first: FirstIssue, repository: Mapping[str, object], body: bytes) -> NewDelivery:
    return NewDelivery(
        guid=f"{first.number}-0",
        event="pull_request",
        action="opened",
        request_id=f"{RECORDED}0",
        state="queued",
        repository_id=int(str(repository["id"])),
        repository=str(repository["full_name"]),
        number=first.number,
        sender=first.author.login,
        title=clean_title(first.title),
        body=body,
    )


@dataclass(frozen=True, slots=True)
class Review:
    number: int
    title: str
    findings: Sequence[RecordedFinding]
    calls: SummedCalls

    def describe(self) -> Iterator[str]:
        found = count(len(self.findings), "finding")
        calls = f"{format_usd(self.calls.cost_usd)}, {self.calls.duration_s:.0f} s"
        yield f"#{self.number} {self.title}: {found}, {calls}"
        for finding in self.findings:
            place = finding.path
            if finding.line is not None:
                place = f"{place}:{finding.line}"
            later = ""
            if finding.is_changed:
                later = " (changed later)"
            yield f"  {finding.severity:<8} {place} {finding.title}{later}"


@dataclass(frozen=True, slots=True)
class Result:
    title: str  # of the prompt
    reviews: Sequence[Review]
    failed: Mapping[str, int]  # pull requests without a usable reply, by reason
    cost_usd: float

    def count_findings(self) -> Mapping[str, int]:
        """Count the findings, those whose line was changed later, and those of which it is not
        known.
        """
        changes = [finding.is_changed for review in self.reviews for finding in review.findings]
        return {
            "findings": len(changes),
            "changed": changes.count(True),
            "unknown": changes.count(None),
        }

    def to_dict(self) -> dict[str, object]:
        return {
            "title": self.title,
            **self.count_findings(),
            "reviews": [asdict(review) for review in self.reviews],
            "failed": dict(self.failed),
            "cost_usd": self.cost_usd,
        }

    def describe(self) -> Iterator[str]:
        counts = self.count_findings()
        yield (
            f"prompt      {self.title}: {count(len(self.reviews), 'review')},"
            f" {count(counts['findings'], 'finding')}, {format_usd(self.cost_usd)}"
        )
        yield f"changed     later: {counts['changed']}; not known: {counts['unknown']}"
        for reason, number in self.failed.items():
            yield f"failed      {number}: {reason}"
        for review in self.reviews:
            yield from review.describe()


def load_result(store: Storage, progress: Progress) -> Result:
    """Return the reviews that have ended."""
    batch = progress.batch
    (asked,) = load_prompts(batch.plan)
    steps = store.batches.load_steps(batch.id, FINDINGS.name)
    sums = store.batches.sum_calls(batch.id)
    reviews: list[Review] = []
    failed: Counter[str] = Counter()
    for delivery in progress.deliveries:
        if delivery.state == "done":
            findings = FINDINGS.decode(steps.get(delivery.guid)) or ()
            calls = sums.get(delivery.guid, SummedCalls())
            reviews.append(Review(delivery.number, delivery.title or "", findings, calls))
        elif delivery.has_result:
            failed[delivery.reason or ""] += 1
    return Result(asked.title, reviews, failed, progress.cost_usd)
