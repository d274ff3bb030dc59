"""Reviews the last merged pull requests at the head that people reviewed, and only records what is
found: what HLS would have posted, and for how much.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hls_handler.batches.first_text import FirstIssue, find_first_issue, make_delivery
from hls_handler.batches.preview import CannotPlan, Preview, Target, list_reasons, make_preview
from hls_handler.batches.prompts import render_question
from hls_handler.deliveries import NewDelivery
from hls_handler.engine.batches import (
    FINDINGS,
    PROMPTS,
    BatchPrompt,
    RecordedFinding,
    dump_prompts,
    load_prompts,
)
from hls_handler.question import RenderedPrompt
from hls_handler.storage import Storage
from hls_handler.store.batches import NewBatch, Progress, SummedCalls
from hls_handler.wording import count, format_usd

BY_BOT = "opened by a bot"
CALLS = 2
"""Calls about a pull request: the review, and the second look, which costs about as much."""


def plan(target: Target, prompt: BatchPrompt, limit: int, max_usd: float) -> Preview:
    """Read the newest `limit` merged pull requests, and return the preview of a batch about them.

    Raises `CannotPlan`, or a `StepFailed` of GitHub.
    """
    left_out: Counter[str] = Counter()
    subjects: list[NewDelivery] = []
    for history in target.reader.merged_pull_requests(limit):
        first = find_first_issue(history)
        if not isinstance(first, FirstIssue):
            left_out[first] += 1
        elif first.author.is_bot:
            left_out[BY_BOT] += 1
        else:
            pull_request = target.reader.pull_request_document(first.number)
            subjects.append(make_delivery(first, target.document, pull_request))
    if not subjects:
        raise CannotPlan(f"no merged pull request can be reviewed: {list_reasons(left_out)}")
    new = NewBatch(
        "reviews",
        target.id,
        target.name,
        max_usd,
        {"limit": limit},
        {PROMPTS: dump_prompts([prompt])},
    )

    def render(subject: NewDelivery) -> Sequence[RenderedPrompt]:
        question = render_question(target, subject, [prompt])
        return [question] * CALLS

    return make_preview(target.settings, new, subjects, left_out, render)


@dataclass(frozen=True, slots=True)
class RepeatedReview:
    number: int
    title: str
    findings: Sequence[RecordedFinding]
    calls: SummedCalls

    def describe(self) -> Iterator[str]:
        findings = count(len(self.findings), "finding")
        calls = f"{format_usd(self.calls.cost_usd)}, {self.calls.duration_s:.0f} s"
        yield f"#{self.number} {self.title}: {findings}, {calls}"
        for finding in self.findings:
            place = finding.path
            if finding.line is not None:
                place = f"{place}:{finding.line}"
            later = ""
            if finding.is_changed:
                later = " (changed later)"
            yield f"  {finding.severity:<8} {place} {finding.title}{later}"


@dataclass(frozen=True, slots=True)
class ReviewsResult:
    title: str  # of the prompt
    findings: int
    changed: int  # findings whose line was changed later
    unknown: int  # findings of which that is not known
    reviews: Sequence[RepeatedReview]
    failed: Mapping[str, int]  # pull requests without a usable reply, by reason
    cost_usd: float

    def describe(self) -> Iterator[str]:
        yield (
            f"prompt      {self.title}: {count(len(self.reviews), 'review')},"
            f" {count(self.findings, 'finding')}, {format_usd(self.cost_usd)}"
        )
        yield f"changed     later: {self.changed}; not known: {self.unknown}"
        for reason, number in self.failed.items():
            yield f"failed      {number}: {reason}"
        for review in self.reviews:
            yield from review.describe()


def load_result(store: Storage, progress: Progress) -> ReviewsResult:
    """Return the reviews that have ended."""
    batch = progress.batch
    (prompt,) = load_prompts(batch.plan)
    steps = store.batches.load_steps(batch.id, FINDINGS.name)
    sums = store.batches.sum_calls(batch.id)
    reviews: list[RepeatedReview] = []
    failed: Counter[str] = Counter()
    for delivery in progress.deliveries:
        if delivery.state == "done":
            findings = FINDINGS.decode(steps.get(delivery.guid)) or ()
            calls = sums.get(delivery.guid, SummedCalls())
            reviews.append(RepeatedReview(delivery.number, delivery.title or "", findings, calls))
        elif delivery.has_result:
            failed[delivery.reason or ""] += 1
    changes = [finding.is_changed for review in reviews for finding in review.findings]
    return ReviewsResult(
        title=prompt.title,
        findings=len(changes),
        changed=changes.count(True),
        unknown=changes.count(None),
        reviews=reviews,
        failed=dict(failed),
        cost_usd=progress.cost_usd,
    )
