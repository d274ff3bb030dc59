"""Reviews the last merged pull requests at the head that people reviewed, and only records what is
found: what HLS would have posted, and for how much.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import get_args

from hls_handler.analysis import RenderedPrompt, Severity
from hls_handler.batches.first_text import FirstIssue, find_first_issue, make_delivery
from hls_handler.batches.preview import CannotPlan, Preview, Target, list_reasons, make_preview
from hls_handler.batches.prompts import render_question
from hls_handler.batches.recorded import (
    FINDINGS,
    PROMPTS,
    BatchPrompt,
    ChangeState,
    LineChange,
    RecordedFinding,
    dump_prompts,
    load_prompts,
)
from hls_handler.deliveries import NewDelivery
from hls_handler.store.batches import NewBatch, Progress, SummedCalls
from hls_handler.store.storage import Storage
from hls_handler.untrusted.markdown import format_code_span, sanitize_inline
from hls_handler.wording import count, format_usd

BY_BOT = "opened by a bot"
ADDRESS = "address"
DAYS = "days"
"""Keys of a batch's plan: of the repository, and since the oldest merge, at least 1."""
CALLS = 2
"""Calls about a pull request: the review, and the second look, which costs about as much."""


def plan(target: Target, prompt: BatchPrompt, limit: int, max_usd: float, now: datetime) -> Preview:
    """Read the newest `limit` merged pull requests, and return the preview of a batch about them.

    Raises `CannotPlan`, or a `StepFailed` of GitHub.
    """
    left_out: Counter[str] = Counter()
    subjects: list[NewDelivery] = []
    oldest = now
    for history in target.reader.merged_pull_requests(limit):
        oldest = min(oldest, history.closed_at)
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
        {
            PROMPTS: dump_prompts([prompt]),
            ADDRESS: str(target.document["html_url"]),
            DAYS: max((now - oldest) / DAY, 1.0),
        },
    )

    def render(subject: NewDelivery) -> Sequence[RenderedPrompt]:
        question = render_question(target, subject, [prompt])
        return [question] * CALLS

    return make_preview(target.settings, new, subjects, left_out, render)


DAY = timedelta(days=1)
MONTH = 30  # days


@dataclass(frozen=True, slots=True)
class RepeatedReview:
    number: int
    title: str
    url: str  # of the pull request
    findings: Sequence[RecordedFinding]
    calls: SummedCalls

    def describe(self) -> Iterator[str]:
        findings = count(len(self.findings), "finding")
        calls = f"{format_usd(self.calls.cost_usd)}, {self.calls.duration_s:.0f} s"
        yield f"#{self.number} {self.title}: {findings}, {calls}, {self.url}"
        for finding in self.findings:
            yield f"  {finding.severity:<8} {finding.title}: {finding.failure}"
            yield f"           {finding.url or finding.path}"
            change = finding.change
            yield f"           {describe_change(change, change.commit[:10])}"

    def to_markdown(self) -> Iterator[str]:
        title = sanitize_inline(self.title)
        findings = count(len(self.findings), "finding") if self.findings else "nothing found"
        cost = format_usd(self.calls.cost_usd)
        yield f"### [#{self.number}]({self.url}) {title}: {findings}, {cost}"
        yield ""
        for finding in self.findings:
            place = format_code_span(name_place(finding))
            if finding.url:
                place = f"[{place}]({finding.url})"
            title = sanitize_inline(finding.title)
            failure = sanitize_inline(finding.failure)
            yield f"- **{title}** ({finding.severity}), {place}: {failure}"
            change = replace(finding.change, why=sanitize_inline(finding.change.why))
            home = self.url.removesuffix(f"/pull/{self.number}")
            commit = f"[{change.commit[:10]}]({home}/commit/{change.commit})"
            yield f"  *{describe_change(change, commit)}*"
        if self.findings:
            yield ""


def name_place(finding: RecordedFinding) -> str:
    if finding.line is None:
        return finding.path
    return f"{finding.path}:{finding.line}"


def describe_change(change: LineChange, commit: str) -> str:
    """Return what became of the line of a finding, such as "changed later, by 3f2a91c". `commit` is
    how the commit of the change is shown.
    """
    if change.state == "no":
        return "not changed since"
    if change.state == "not known":
        return f"not known whether it was changed: {change.why}"
    if not change.commit:
        why = change.why or "was not found"
        return f"changed {change.state}, by a commit that {why}"
    return f"changed {change.state}, by {commit}"


@dataclass(frozen=True, slots=True)
class ReviewsResult:
    title: str  # of the prompt
    findings: int
    by_severity: Mapping[str, int]
    changes: Mapping[str, int]  # findings, by what became of their lines
    without_findings: int  # reviews
    reviews: Sequence[RepeatedReview]
    failed: Mapping[str, int]  # pull requests without a usable reply, by reason
    calls: int
    cost_usd: float
    mean_s: float
    longest_s: float
    mean_usd: float  # of a pull request, also of one without a usable reply
    planned: int  # pull requests of the batch
    days: float  # since the oldest was merged

    def describe(self) -> Iterator[str]:
        yield f"prompt      {self.title}"
        for name, text in self._list_sums().items():
            yield f"{name:<11} {text}"
        for reason, number in self.failed.items():
            yield f"failed      {number}: {reason}"
        for review in self.reviews:
            yield from review.describe()

    def to_markdown(self) -> Iterator[str]:
        yield "# What reviews of merged pull requests would have found"
        yield ""
        yield f"HLS reviewed them at their last commit, with {self.title}. Nothing was posted."
        yield ""
        yield "| | |"
        yield "|---|---|"
        for name, text in self._list_sums().items():
            yield f"| {name} | {text} |"
        for reason, number in self.failed.items():
            yield f"| failed | {number}: {sanitize_inline(reason)} |"
        yield ""
        for review in self.reviews:
            yield from review.to_markdown()

    def _list_sums(self) -> Mapping[str, str]:
        number = len(self.reviews)
        if not number:
            return {"reviews": "none has ended"}
        severities = [f"{amount} {severity}" for severity, amount in self.by_severity.items()]
        findings = count(self.findings, "finding")
        if severities:
            findings = f"{findings} ({', '.join(severities)})"
        month = format_usd(self.mean_usd * self.planned * MONTH / self.days)
        basis = f"{count(self.planned, 'such pull request')} in {count(round(self.days), 'day')}"
        changes = [f"{amount} {name}" for name, amount in self.changes.items()]
        return {
            "reviews": f"{number}, {self.without_findings / number:.0%} without a finding",
            "findings": f"{findings}, {self.findings / number:.1f} a pull request",
            "lines": ", ".join(changes) or "none",
            "cost": f"{format_usd(self.cost_usd)}, {format_usd(self.mean_usd)} a pull request",
            "time": f"{self.mean_s:.0f} s a pull request, at most {self.longest_s:.0f} s",
            "calls": str(self.calls),
            "a month": f"about {month}, if there are as many as now: {basis}",
        }


STATES: Mapping[ChangeState, str] = {
    "before the merge": "changed again before the merge",
    "later": "changed later",
    "no": "not changed since",
    "not known": "not known",
}


def load_result(store: Storage, progress: Progress) -> ReviewsResult:
    """Return the reviews that have ended."""
    batch = progress.batch
    (prompt,) = load_prompts(batch.plan)
    steps = store.batches.load_steps(batch.id, FINDINGS.name)
    sums = store.batches.sum_calls(batch.id)
    reviews: list[RepeatedReview] = []
    failed: Counter[str] = Counter()
    failed_usd: list[float] = []
    for delivery in progress.deliveries:
        if delivery.guid in steps:
            findings = FINDINGS.decode(steps[delivery.guid]) or ()
            calls = sums.get(delivery.guid, SummedCalls())
            url = f"{batch.plan[ADDRESS]}/pull/{delivery.number}"
            title = delivery.title or ""
            reviews.append(RepeatedReview(delivery.number, title, url, findings, calls))
        elif delivery.has_result:
            failed[delivery.reason or ""] += 1
            failed_usd.append(sums.get(delivery.guid, SummedCalls()).cost_usd)
    all_findings = [finding for review in reviews for finding in review.findings]
    severities = Counter(finding.severity for finding in all_findings)
    states = Counter(finding.change.state for finding in all_findings)
    ended = [*(review.calls.cost_usd for review in reviews), *failed_usd]
    seconds = [review.calls.duration_s for review in reviews]
    return ReviewsResult(
        title=prompt.title,
        findings=len(all_findings),
        by_severity={name: severities[name] for name in get_args(Severity) if severities[name]},
        changes={text: states[state] for state, text in STATES.items() if states[state]},
        without_findings=sum(not review.findings for review in reviews),
        reviews=reviews,
        failed=dict(failed),
        calls=sum(calls.calls for calls in sums.values()),
        cost_usd=progress.cost_usd,
        mean_s=sum(seconds) / max(len(seconds), 1),
        longest_s=max(seconds, default=0.0),
        mean_usd=sum(ended) / max(len(ended), 1),
        planned=len(progress.deliveries),
        days=batch.plan[DAYS],
    )
