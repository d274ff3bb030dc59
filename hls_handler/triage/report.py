"""A planned run, and a run with its undo, as sentences and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from hls_handler.store.triage import Progress, TriagedIssue
from hls_handler.triage.plan import PULL_REQUEST, Forecast, Plan
from hls_handler.wording import count, format_usd

NOTHING_WRITTEN = "Claude is asked and paid, and nothing is written"
DRY_RUN = f"dry run: {NOTHING_WRITTEN} (features.dry_run)"
NOUNS = (PULL_REQUEST, "other bot")
"""Reasons to skip that have a plural."""


def describe_skipped(skipped: Mapping[str, int]) -> str:
    """Return "skipped: 1 locked, 3 pull requests"."""
    parts = [
        count(number, reason) if reason in NOUNS else f"{number} {reason}"
        for reason, number in sorted(skipped.items())
        if number
    ]
    return f"skipped: {', '.join(parts) or 'none'}"


def describe_plan(plan: Plan) -> Sequence[str]:
    """Return the limits of a run that goes on, the forecast, and what is not written."""
    lines = list[str]()
    terms = plan.terms
    if plan.continued is not None:
        comments = "with" if terms.comments else "without"
        most = format_usd(terms.max_usd)
        lines.append(f"run {plan.continued.id} goes on with at most {most}, {comments} comments")
    if plan.chosen:
        lines += _describe_forecast(plan.forecast)
        lines += plan.switched_off
        if plan.writes_nothing:
            lines.append(NOTHING_WRITTEN)
    if plan.is_dry_run:
        lines.append(DRY_RUN)
    return lines


def _describe_forecast(forecast: Forecast) -> Sequence[str]:
    calls = count(round(forecast.calls), "call")
    tokens = f"{forecast.input_tokens:,} tokens in, {forecast.output_tokens:,} out"
    minutes = max(round(forecast.minutes), 1)
    typical = format_usd(forecast.typical_usd)
    most = format_usd(forecast.max_usd)
    return (
        f"forecast: {calls} to Claude, {tokens}, about {minutes} min",
        f"cost: about {typical}, at most {most}; a question needs a second call",
    )


def describe_run(progress: Progress) -> str:
    run = progress.run
    return (
        f"run {run.id} of {run.repository}: {progress.state}, {progress.ended} of"
        f" {count(len(progress.issues), 'issue')} ended, {format_usd(progress.cost_usd)} of"
        f" {format_usd(run.max_usd)}"
    )


def count_ends(issues: Sequence[TriagedIssue]) -> Mapping[str, int]:
    """Return the number of issues by state, and by the reason of ignored ones."""
    return Counter(one.reason_kind or one.state for one in issues)


def to_document(shown: Plan | Progress) -> dict[str, object]:
    """Return the document of --json."""
    if isinstance(shown, Plan):
        issues = [
            {"number": one.number, "title": one.title, "skipped": one.skipped, "why": one.why}
            for one in shown.issues
        ]
        continued = shown.continued.id if shown.continued is not None else None
        return {
            "repository": shown.terms.repository,
            "run": continued,
            "issues": issues,
            "skipped": dict(shown.skipped),
            "forecast": asdict(shown.forecast),
        }
    run = shown.run
    return {
        "run": run.id,
        "repository": run.repository,
        "state": shown.state,
        "max_usd": run.max_usd,
        "cost_usd": shown.cost_usd,
        "skipped": dict(run.skipped),
        "issues": [_to_row(one) for one in shown.issues],
        "undo": [_to_row(one) for one in shown.undo],
    }


def _to_row(issue: TriagedIssue) -> dict[str, object]:
    return {
        "number": issue.number,
        "title": issue.title,
        "delivery": issue.guid,
        "state": issue.state,
        "reason": issue.reason,
    }
