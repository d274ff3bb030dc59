"""A snapshot of one repository on GitHub and in the database, for comparison between runs.

It leaves out values that differ between any two runs: times, durations and generated ids.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import groupby
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Table,
    case,
    func,
    select,
    true,
)

from hls_handler.db import tables
from hls_handler.db.counters import HOURLY, TOTAL
from hls_handler.db.values import decompress_text
from hls_handler.store.texts import document_scope, issue_scope
from hls_sandbox.objects import Conversation
from hls_sandbox.state import State
from tests.crash.scenarios import FreshRepository

Snapshot = Mapping[str, Any]

_OF_DELIVERIES = (
    tables.checks,
    tables.checkpoints,
    tables.calls,
    tables.questions,
    tables.locks,
    tables.slots,
)
_OF_REPOSITORIES = (
    tables.labels,
    tables.comments,
    tables.corrections,
    tables.step_failures,
    tables.run_results,
    tables.repository_files,
    tables.repository_file_reports,
    tables.findings,
    tables.reviews,
    tables.stops,
    tables.document_indexes,
)
_OF_PEOPLE = (tables.pauses, tables.batches)  # empty: no event changes them
_IGNORED_COLUMNS = frozenset(
    {
        "id",
        "guid",
        "delivery_id",
        "analysis_id",
        "repository_id",
        "request_id",
        "comment_id",
        "review_id",
        "check_id",
    }
    | {
        "worker",
        "sort_key",
        "lease_until",
        "locked_until",
        "attempt",
        "crashes",
        "has_progress",
        "ending_until",
    }
    | {
        "body_digest",
        "digest",
        "request_digest",
        "system_digest",
        "cache_key",
        "took_s",
        "duration_ms",
        "github_requests",
        "external_id",
    }
    | {"check_run_id", "comment_ids"}
)
_IGNORED_ENDINGS = ("_at", "_ms")
_IGNORED_IN_RECEIPTS = frozenset(
    {"calls", "input_tokens", "output_tokens", "cost_usd", "is_estimate"}
)
"""A killed process may have paid for a reply that it did not store."""
_IGNORED_COUNTERS = (
    "claude_ms",
    "processing_ms",
    "processing_le",
    "first_reply_ms",
    "first_reply_le",
    "github_requests",
    "last_webhook",
)
"""Durations, and requests, of which a killed process counts some not at all and others again."""

_RECEIPT = re.compile(
    r"(?<=\| calls to Claude \| )\d+|(?<=\| tokens \| )[^|]+|(?<=\| cost \| )[^|]+"
)
"""The same figures in a text."""

_NONCE = re.compile(r"(?<=<untrusted )\w+|(?<=</untrusted )\w+")

_IDS_IN_TEXT = re.compile(
    r"(?<=issuecomment-)\d+|(?<=issues/comments/)\d+|(?<=pullrequestreview-)\d+|(?<="
    r" )[0-9a-f]{16}(?= -->)"
    r"|(?<=delivery )[-0-9a-f]{36}"
)


def github_snapshot(state: State, repository: FreshRepository) -> Snapshot:
    found = state.repository(repository.full_name)
    conversations = [
        conversation
        for conversation in state.conversations()
        if conversation.repository == repository.full_name
    ]
    return {
        "labels": sorted(found.labels) if found is not None else [],
        "threads": {
            str(conversation.number): _conversation(conversation, repository)
            for conversation in conversations
        },
        "statuses": {
            conversation.head_sha: _statuses(state, conversation) for conversation in conversations
        },
    }


def _statuses(state: State, conversation: Conversation) -> list[str]:
    """Return the states of the check on the head commit. A repeated `pending` is harmless, so it is
    left out.
    """
    states = [
        one["state"]
        for one in state.world.statuses_on(conversation.repository, conversation.head_sha)
    ]
    return [name for name, _ in groupby(states)]


def _conversation(conversation: Conversation, repository: FreshRepository) -> Snapshot:
    return {
        "labels": list(conversation.labels),
        "events": [
            [
                event.actor.login,
                event.kind,
                "" if event.kind == "reviewed" else event.detail,
            ]  # else the id of the review
            for event in conversation.events
        ],
        "comments": [
            {
                "author": comment.author.login,
                "body": normalize(comment.body, repository),
                "edits": len(comment.edits),
                "reactions": [
                    [made.login, made.content]
                    for made in conversation.reactions
                    if made.comment == comment.id
                ],
            }
            for comment in conversation.comments
        ],
        "reviews": [
            [review.author.login, review.state, review.commit_id] for review in conversation.reviews
        ],
    }


def database_snapshot(engine: Engine, repository: FreshRepository) -> Snapshot:
    """Return the rows of the repository by table."""
    deliveries = tables.deliveries
    of_repository = deliveries.c.repository_id == repository.id
    with engine.connect() as connection:
        ids = connection.execute(select(deliveries.c.id).where(of_repository)).scalars().all()
        where = {deliveries: of_repository}
        where |= {table: table.c.delivery_id.in_(ids) for table in _OF_DELIVERIES}
        where |= {table: table.c.repository_id == repository.id for table in _OF_REPOSITORIES}
        where |= dict.fromkeys(_OF_PEOPLE, true())
        where |= {
            tables.texts: tables.texts.c.scope.in_(
                (document_scope(repository.id), issue_scope(repository.id))
            )
        }
        return {
            table.name: _rows(connection, table, rows, repository) for table, rows in where.items()
        }


def counters(engine: Engine, repository: FreshRepository) -> Mapping[str, int]:
    """Return the totals. Those of `HOURLY` must be the sums of their hours."""
    counter = tables.counters.c
    keys = (counter.name, counter.label, counter.repository)
    is_total = counter.hour == TOTAL
    query = select(
        *keys,
        func.sum(case((is_total, counter.value), else_=0)).label("total"),
        func.sum(case((is_total, 0), else_=counter.value)).label("of_hours"),
    )
    with engine.connect() as connection:
        # One statement, because the service may write between two of them.
        rows = connection.execute(query.group_by(*keys)).all()
    for row in rows:
        assert row.of_hours == (row.total if row.name in HOURLY else 0), row
    return {
        " ".join(repository.normalize(part) for part in row[:3] if part): int(row.total)
        for row in rows
        if row.name not in _IGNORED_COUNTERS
    }


def _rows(
    connection: Connection, table: Table, where: ColumnElement[bool], repository: FreshRepository
) -> list[Snapshot]:
    rows = connection.execute(select(table).where(where)).mappings()
    compared = [
        {name: _cell(name, cell, repository) for name, cell in row.items() if _is_compared(name)}
        for row in rows
    ]
    return sorted(compared, key=lambda row: json.dumps(row, sort_keys=True))


def _is_compared(name: str) -> bool:
    return name not in _IGNORED_COLUMNS and not name.endswith(_IGNORED_ENDINGS)


def _cell(name: str, value: Any, repository: FreshRepository) -> Any:
    if name == "body":
        return "stored" if value is not None else None
    if name == "message":
        return _NONCE.sub("N", normalize(decompress_text(value), repository))
    if isinstance(value, bytes):
        return _normalize_json(json.loads(decompress_text(value)), repository)
    is_json = name in ("reply", "details") and value is not None
    return _normalize_json(json.loads(value) if is_json else value, repository)


def _normalize_json(value: Any, repository: FreshRepository) -> Any:
    if isinstance(value, dict):
        if "receipt" in value:
            receipt = {
                name: part
                for name, part in value["receipt"].items()
                if name not in _IGNORED_IN_RECEIPTS
            }
            value = {**value, "receipt": receipt}
        return {
            name: _normalize_json(part, repository)
            for name, part in value.items()
            if _is_compared(name)
        }
    if isinstance(value, list):
        return [_normalize_json(part, repository) for part in value]
    return normalize(value, repository) if isinstance(value, str) else value


def normalize(text: str, repository: FreshRepository) -> str:
    """Replace what differs between two repositories: their names and generated ids."""
    return _RECEIPT.sub("N ", _IDS_IN_TEXT.sub("N", repository.normalize(text)))
