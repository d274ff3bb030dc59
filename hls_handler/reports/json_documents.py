"""The documents about deliveries: `--json` of the commands, lines of the export, and responses of the API.

docs/cli.md describes their keys. Times are ISO 8601 in UTC.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict  # pydantic accepts that of `typing` from Python 3.12 on

from hls_handler.actions import Outcome
from hls_handler.analysis import ValidReply
from hls_handler.deliveries import State
from hls_handler.events import event_key
from hls_handler.queue.pauses import Pause, describe_pause, find_pause
from hls_handler.reports.delivery_report import DeliveryReport, describe_shadow
from hls_handler.reports.reply_text import describe_reply
from hls_handler.reports.timeline import ROUTE, Step, StepStatus
from hls_handler.store.calls import CallRow
from hls_handler.store.statistics import DeliveryRow


class ListedDelivery(TypedDict):
    """A delivery in a list."""

    delivery: Annotated[str, Field(description="the GUID")]
    request_id: str
    received_at: str
    event: Annotated[str, Field(description="event and action, such as issues.opened")]
    repository: str | None
    number: int | None
    title: Annotated[
        str | None, Field(description="of the issue or pull request; null also for deliveries of versions before 0.4.0")
    ]
    sender: Annotated[str | None, Field(description="login")]
    state: State
    reason: str | None
    pause: Annotated[str | None, Field(description="a sentence about the pause that blocks it")]


class DeliveriesDocument(TypedDict):
    deliveries: list[ListedDelivery]


class DeliveriesPage(DeliveriesDocument):
    """A page of the list of deliveries."""

    next: Annotated[str | None, Field(description="address of the next page")]
    is_complete: Annotated[
        bool, Field(description="false: the limit of deliveries to read was reached before the page was full")
    ]


class ReplyDocument(TypedDict):
    prompt_id: str
    type: str
    cached_at: str | None
    sentence: str
    reply: Annotated[dict[str, Any], Field(description="Claude's fields")]


class UnusableReplyDocument(TypedDict):
    prompt_id: str
    why: str
    problem: str
    text: str


class OutcomeDocument(TypedDict):
    action: str
    kind: str
    detail: str
    added: list[str]
    removed: list[str]
    url: str | None
    rejected: list[str]
    summary: Annotated[str | None, Field(description="of a check, as Markdown: what was reviewed")]


class CallDocument(TypedDict):
    prompt_id: str
    model: str
    shadow: bool
    started_at: str | None
    outcome: str | None
    error: str | None
    input_tokens: int | None
    output_tokens: int | None
    cache_write_tokens: int | None
    cache_read_tokens: int | None
    cost_usd: float | None
    is_estimate: bool
    took_s: float | None
    request_id: str | None


class StepDocument(TypedDict):
    """A step of the way of a delivery."""

    name: str
    status: StepStatus
    detail: str | None
    url: str | None
    started_at: str | None
    took_s: float | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    is_estimate: bool
    github_requests: int | None


class DeliveryDocument(ListedDelivery):
    """All that is known about a delivery, except the body and what was read from GitHub."""

    started_at: Annotated[str | None, Field(description="when the first measured step after routing began")]
    finished_at: str | None
    took_s: Annotated[float | None, Field(description="from the receipt to the end")]
    success: Annotated[
        bool | None, Field(description="true: done; false: dead; null: not finished, ignored or superseded")
    ]
    input_tokens: Annotated[int, Field(description="of all calls, of all kinds")]
    output_tokens: int
    cost_usd: Annotated[float, Field(description="of the calls whose cost is known")]
    github_requests: Annotated[int | None, Field(description="of all attempts")]
    failed_attempts: Annotated[int, Field(description="failures and deaths of workers since it was last run again")]
    rule: str | None
    repository_settings: str | None
    omitted: list[str]
    context: str | None
    unverified: str | None
    check_ended_by_service: list[str]
    replies: list[ReplyDocument]
    unusable_replies: Annotated[
        list[UnusableReplyDocument], Field(description="the last ones to each prompt, redacted")
    ]
    analysis_error: str | None
    outcomes: list[OutcomeDocument]
    posting_error: str | None
    shadow: str | None
    calls: list[CallDocument]
    steps: list[StepDocument]
    comment: str | None


def deliveries_to_dict(rows: Iterable[DeliveryRow], pauses: Iterable[Pause]) -> DeliveriesDocument:
    """Return the document of `hls deliveries list`."""
    active = tuple(pauses)
    return {
        "deliveries": [
            _delivery_to_dict(row, find_pause(row.repository, active) if row.state == "queued" else None)
            for row in rows
        ]
    }


def report_to_dict(report: DeliveryReport) -> DeliveryDocument:
    """Return the document of `hls deliveries show`, of each delivery of `hls why`, and of the API."""
    row = report.delivery
    starts = [step.started_at for step in report.steps if step.started_at is not None and step.name != ROUTE]
    return {
        **_delivery_to_dict(row, report.pause),
        "started_at": _to_text(min(starts, default=None)),
        "finished_at": _to_text(row.finished_at),
        "took_s": row.took_s,
        "success": {"done": True, "dead": False}.get(row.state),
        "input_tokens": sum(call.all_input_tokens for call in report.calls),
        "output_tokens": sum(call.output_tokens or 0 for call in report.calls),
        "cost_usd": round(sum(call.cost_usd or 0.0 for call in report.calls), 6),
        "github_requests": row.github_requests,
        "failed_attempts": row.failures + row.crashes,
        "rule": report.rule,
        "repository_settings": report.repository_settings,
        "omitted": list(report.omitted),
        "context": report.context,
        "unverified": report.unverified or None,
        "check_ended_by_service": list(report.service_results),
        "replies": [_reply_to_dict(answered) for answered in report.answers],
        "unusable_replies": [
            {"prompt_id": one.prompt_id, "why": one.why, "problem": one.problem, "text": one.text}
            for one in report.unusable
        ],
        "analysis_error": row.analysis_error,
        "outcomes": [_outcome_to_dict(outcome) for outcome in report.outcomes],
        "posting_error": row.posting_error,
        "shadow": describe_shadow(report.shadow) if report.shadow else None,
        "calls": [_call_to_dict(call) for call in report.calls],
        "steps": [_step_to_dict(step) for step in report.steps],
        "comment": report.comment,
    }


def _delivery_to_dict(row: DeliveryRow, pause: Pause | None) -> ListedDelivery:
    return {
        "delivery": row.guid,
        "request_id": row.request_id,
        "received_at": row.received_at.isoformat(),
        "event": event_key(row.event, row.action),
        "repository": row.repository,
        "number": row.number,
        "title": row.title,
        "sender": row.sender,
        "state": row.state,
        "reason": row.reason,
        "pause": describe_pause(pause) if pause else None,
    }


def _reply_to_dict(answered: ValidReply) -> ReplyDocument:
    return {
        "prompt_id": answered.prompt_id,
        "type": answered.reply_type,
        "cached_at": _to_text(answered.cached_at),
        "sentence": describe_reply(answered),
        "reply": answered.reply.model_dump(mode="json"),
    }


def _outcome_to_dict(outcome: Outcome) -> OutcomeDocument:
    return {
        "action": outcome.action,
        "kind": outcome.kind,
        "detail": outcome.detail,
        "added": list(outcome.added),
        "removed": list(outcome.removed),
        "url": outcome.url,
        "rejected": list(outcome.rejected),
        "summary": outcome.body if outcome.action == "check" else None,
    }


def _call_to_dict(call: CallRow) -> CallDocument:
    return {
        "prompt_id": call.prompt_id,
        "model": call.model,
        "shadow": call.of_shadow,
        "started_at": _to_text(call.started_at),
        "outcome": call.outcome,
        "error": call.error,
        "input_tokens": call.input_tokens,
        "output_tokens": call.output_tokens,
        "cache_write_tokens": call.cache_write_tokens,
        "cache_read_tokens": call.cache_read_tokens,
        "cost_usd": call.cost_usd,
        "is_estimate": call.is_estimate,
        "took_s": call.lasted_s,
        "request_id": call.request_id,
    }


def _step_to_dict(step: Step) -> StepDocument:
    return {
        "name": step.name,
        "status": step.status,
        "detail": step.detail,
        "url": step.url,
        "started_at": _to_text(step.started_at),
        "took_s": step.took_s,
        "input_tokens": step.input_tokens,
        "output_tokens": step.output_tokens,
        "cost_usd": step.cost_usd,
        "is_estimate": step.is_estimate,
        "github_requests": step.github_requests,
    }


def _to_text(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat()
