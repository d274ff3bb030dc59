"""The documents that `--json` prints for deliveries. docs/cli.md describes their keys."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from typing_extensions import TypedDict

from hls_handler.actions import Outcome
from hls_handler.events import event_key
from hls_handler.history.calls import CallRow
from hls_handler.history.statistics import DeliveryRow
from hls_handler.queue.pauses import Pause, describe_pause, find_pause
from hls_handler.reports.delivery_report import DeliveryReport, describe_shadow
from hls_handler.reports.reply_text import describe_reply

Document = dict[str, object]
DeliveryDocument = Document


class DeliveriesDocument(TypedDict):
    deliveries: list[Document]


def deliveries_to_dict(rows: Iterable[DeliveryRow], pauses: Iterable[Pause]) -> DeliveriesDocument:
    """Return the document of `hls deliveries list`."""
    active = tuple(pauses)
    return {
        "deliveries": [
            _delivery_to_dict(row, find_pause(row.repository, active) if row.state == "queued" else None)
            for row in rows
        ]
    }


def report_to_dict(report: DeliveryReport) -> Document:
    """Return the document of `hls deliveries show`, and of each delivery of `hls why`."""
    row = report.delivery
    return {
        **_delivery_to_dict(row, report.pause),
        "finished_at": _to_text(row.finished_at),
        "took_s": row.took_s,
        "failed_attempts": row.attempts,
        "rule": report.rule,
        "repository_settings": report.repository_settings,
        "omitted": list(report.omitted),
        "context": report.context,
        "unverified": report.unverified or None,
        "check_ended_by_service": list(report.service_results),
        "replies": [
            {
                "prompt_id": answered.prompt_id,
                "type": answered.reply_type,
                "cached_at": _to_text(answered.cached_at),
                "sentence": describe_reply(answered),
                "reply": answered.reply.model_dump(mode="json"),
            }
            for answered in report.answers
        ],
        "analysis_error": row.analysis_error,
        "outcomes": [_outcome_to_dict(outcome) for outcome in report.outcomes],
        "posting_error": row.posting_error,
        "shadow": describe_shadow(report.shadow) if report.shadow else None,
        "calls": [_call_to_dict(call) for call in report.calls],
        "steps": [{"name": name, "took_s": took_s} for name, took_s in report.times],
        "comment": report.comment,
    }


def _delivery_to_dict(row: DeliveryRow, pause: Pause | None) -> Document:
    return {
        "delivery": row.guid,
        "request_id": row.request_id,
        "received_at": _to_text(row.received_at),
        "event": event_key(row.event, row.action),
        "repository": row.repository,
        "number": row.number,
        "state": row.state,
        "reason": row.reason,
        "pause": describe_pause(pause) if pause else None,
    }


def _outcome_to_dict(outcome: Outcome) -> Document:
    return {
        "action": outcome.action,
        "kind": outcome.kind,
        "detail": outcome.detail,
        "added": list(outcome.added),
        "removed": list(outcome.removed),
        "url": outcome.url,
        "rejected": list(outcome.rejected),
    }


def _call_to_dict(call: CallRow) -> Document:
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
        "took_s": call.took_s,
        "request_id": call.request_id,
    }


def _to_text(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat()
