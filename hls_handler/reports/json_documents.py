"""The documents about deliveries: `--json` of the commands, and responses of the API.

docs/cli.md describes their keys. Times are ISO 8601 in UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar, cast

from pydantic import Field
from typing_extensions import TypedDict  # pydantic accepts that of `typing` from Python 3.12 on

from hls_handler.actions import Outcome
from hls_handler.deliveries import State
from hls_handler.queue.pauses import Pause, describe_pause, find_pause
from hls_handler.reports.delivery_report import DeliveryReport
from hls_handler.reports.reply_text import describe_reply
from hls_handler.reports.timeline import ROUTE, Step
from hls_handler.storage import Storage
from hls_handler.store.deliveries import DeliveryRow
from hls_handler.store.search import NO_EFFORT

Document = TypeVar("Document")


class ListedDelivery(TypedDict):
    """A delivery in a list."""

    delivery: Annotated[str, Field(description="the GUID")]
    request_id: str
    received_at: str
    finished_at: str | None
    took_s: Annotated[float | None, Field(description="from the receipt to the end")]
    event: Annotated[str, Field(description="event and action, such as issues.opened")]
    repository: str | None
    number: int | None
    title: Annotated[
        str | None,
        Field(description=("of the issue, pull request, run, push or release")),
    ]
    sender: Annotated[str | None, Field(description="login")]
    state: State
    discarded_at: Annotated[
        str | None, Field(description="of a dead delivery: when a person discarded it")
    ]
    success: Annotated[
        bool | None,
        Field(description="true: done; false: dead; null: not finished, ignored or superseded"),
    ]
    reason: str | None
    cost_usd: Annotated[float, Field(description="of the calls whose cost is known")]
    github_requests: Annotated[int | None, Field(description="of all attempts")]
    pause: Annotated[str | None, Field(description="a sentence about the pause that blocks it")]


class DeliveriesDocument(TypedDict):
    deliveries: list[ListedDelivery]


class DeliveriesPage(DeliveriesDocument):
    """A page of the list of deliveries."""

    next: Annotated[str | None, Field(description="address of the next page")]


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


class DeliveryDocument(ListedDelivery):
    """All that is known about a delivery, except the body and what was read from GitHub."""

    started_at: Annotated[
        str | None, Field(description="when the first measured step after routing began")
    ]
    input_tokens: Annotated[int, Field(description="of all calls, of all kinds")]
    output_tokens: int
    failed_attempts: Annotated[
        int, Field(description="failures and deaths of workers since it was last run again")
    ]
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
    calls: list[CallDocument]
    steps: list[Step]
    comment: str | None


def to_document(kind: type[Document], source: object, **others: object) -> Document:
    """Return a document of the type `kind`: its values are `others`, and the attributes of `source`
    for all other keys.

    Times become texts.
    """
    document = dict[str, object]()
    for name in kind.__annotations__:
        value = others[name] if name in others else getattr(source, name)
        if isinstance(value, datetime):
            value = value.isoformat()
        document[name] = value
    return cast(Document, document)


def deliveries_to_dict(store: Storage, rows: Sequence[DeliveryRow]) -> DeliveriesDocument:
    """Return the document of `hls deliveries list`. Blocks."""
    pauses = store.pauses.active()
    efforts = store.searches.efforts(rows)
    documents = list[ListedDelivery]()
    for row in rows:
        pause = None
        if row.state == "queued":
            pause = find_pause(row.repository, pauses)
        cost_usd = efforts.get(row.guid, NO_EFFORT).cost_usd or 0.0
        documents.append(to_document(ListedDelivery, row, **_listed(row, pause, cost_usd)))
    return {"deliveries": documents}


def report_to_dict(report: DeliveryReport) -> DeliveryDocument:
    """Return the document of `hls deliveries show`, of each delivery of `hls why`, and of the
    API.
    """
    row = report.delivery
    starts = [
        step.started_at
        for step in report.steps
        if step.started_at is not None and step.name != ROUTE
    ]
    replies = [
        to_document(
            ReplyDocument,
            answered,
            type=answered.reply_type,
            sentence=describe_reply(answered),
            reply=answered.fields.model_dump(mode="json"),
        )
        for answered in report.replies
    ]
    calls = [to_document(CallDocument, call, took_s=call.lasted_s) for call in report.calls]
    return to_document(
        DeliveryDocument,
        row,
        **_listed(row, report.pause, sum(call.cost_usd or 0.0 for call in report.calls)),
        started_at=min(starts, default=None),
        input_tokens=sum(call.all_input_tokens for call in report.calls),
        output_tokens=sum(call.output_tokens or 0 for call in report.calls),
        failed_attempts=row.failures + row.crashes,
        rule=report.rule,
        repository_settings=report.repository_settings,
        omitted=report.omitted,
        context=report.context,
        unverified=report.unverified or None,
        check_ended_by_service=report.service_results,
        replies=replies,
        unusable_replies=[to_document(UnusableReplyDocument, reply) for reply in report.unusable],
        outcomes=[_outcome_to_dict(outcome) for outcome in report.outcomes],
        calls=calls,
        steps=[to_document(Step, step) for step in report.steps],
        comment=report.comment,
    )


def _outcome_to_dict(outcome: Outcome) -> OutcomeDocument:
    summary = outcome.body if outcome.action == "check" else None
    return to_document(OutcomeDocument, outcome, summary=summary)


def _listed(row: DeliveryRow, pause: Pause | None, cost_usd: float) -> dict[str, object]:
    sentence = describe_pause(pause) if pause else None
    return {
        "delivery": row.guid,
        "event": row.event_key,
        "success": {"done": True, "dead": False}.get(row.state),
        "cost_usd": round(cost_usd, 6),
        "pause": sentence,
    }
