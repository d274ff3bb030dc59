"""A picture: all that is to be seen of one repository, on GitHub and in the store, as it is compared between runs.

Left out is what no two runs have in common: times, durations, and the numbers that GitHub or the store count up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Table, select

from hls_handler.db import tables
from hls_handler.db.compression import decompress_text
from hls_handler.sandbox.objects import Thread
from hls_handler.sandbox.state import State
from tests.crash.stories import Stage

Picture = Mapping[str, Any]

_OF_DELIVERIES = (tables.checkpoints, tables.calls, tables.analyses)
_OF_REPOSITORIES = (
    tables.labels,
    tables.comments,
    tables.corrections,
    tables.step_failures,
    tables.run_results,
    tables.repository_files,
    tables.repository_file_reports,
)
_NEVER_ALIKE = frozenset(
    {"id", "guid", "delivery_id", "analysis_id", "repository_id", "request_id", "comment_id", "review_id", "check_id"}
    | {
        "worker",
        "sort_key",
        "lease_until",
        "locked_until",
        "attempt",
        "crashes",
        "has_progress",
        "body_digest",
        "digest",
        "took_s",
        "duration_ms",
    }
)
_TIMES = ("_at", "_ms")
_IDS_IN_TEXT = re.compile(r"(?<=issuecomment-)\d+|(?<=issues/comments/)\d+|(?<= )[0-9a-f]{16}(?= -->)")


def on_github(state: State, stage: Stage) -> Picture:
    """What everybody sees of the repository."""
    repository = state.repository(stage.repository)
    mine = [thread for thread in state.threads() if thread.repository == stage.repository]
    return {
        "labels": sorted(repository.labels) if repository is not None else [],
        "threads": {str(thread.number): _thread(thread, stage) for thread in sorted(mine, key=lambda one: one.number)},
    }


def _thread(thread: Thread, stage: Stage) -> Picture:
    return {
        "labels": list(thread.labels),
        "events": [[event.actor.login, event.happening, event.detail] for event in thread.events],
        "comments": [
            {"by": comment.author.login, "says": alike(comment.body, stage), "edits": len(comment.edits)}
            for comment in thread.comments
        ],
        "reviews": [[review.author.login, review.state, review.commit_id] for review in thread.reviews],
    }


def in_store(engine: Engine, stage: Stage) -> Picture:
    """What is remembered of the repository."""
    deliveries = tables.deliveries
    mine = deliveries.c.repository_id == stage.repository_id
    with engine.connect() as connection:
        ids = connection.execute(select(deliveries.c.id).where(mine)).scalars().all()
        found = {"deliveries": _rows(connection, deliveries, mine, stage)}
        found |= {t.name: _rows(connection, t, t.c.delivery_id.in_(ids), stage) for t in _OF_DELIVERIES}
        found |= {
            t.name: _rows(connection, t, t.c.repository_id == stage.repository_id, stage) for t in _OF_REPOSITORIES
        }
        found |= {t.name: _rows(connection, t, t.c.delivery_id.in_(ids), stage) for t in (tables.locks, tables.slots)}
    return found


def counted(engine: Engine, stage: Stage) -> Mapping[str, int]:
    """All counters, but for those of time, and of requests, which are kept in memory until the next commit."""
    skipped = ("processing_ms", "processing_le", "github_requests", "last_webhook")
    with engine.connect() as connection:
        rows = connection.execute(select(tables.counters)).all()
    return {
        f"{row.name} {stage.as_if_elsewhere(row.label)}".strip(): row.value for row in rows if row.name not in skipped
    }


def _rows(connection: Connection, table: Table, which: ColumnElement[bool], stage: Stage) -> list[Picture]:
    rows = connection.execute(select(table).where(which)).mappings()
    plain = [{name: _cell(name, value, stage) for name, value in row.items() if _is_compared(name)} for row in rows]
    return sorted(plain, key=lambda row: json.dumps(row, sort_keys=True))


def _is_compared(name: str) -> bool:
    return name not in _NEVER_ALIKE and not name.endswith(_TIMES)


def _cell(name: str, value: Any, stage: Stage) -> Any:
    if name == "body":
        return "kept" if value is not None else None
    if name == "value" and isinstance(value, bytes):
        return _tree(json.loads(decompress_text(value)), stage)
    if name == "reply":
        return _tree(json.loads(value), stage)
    return alike(value, stage) if isinstance(value, str) else value


def _tree(value: Any, stage: Stage) -> Any:
    if isinstance(value, dict):
        return {name: _tree(part, stage) for name, part in value.items() if _is_compared(name)}
    if isinstance(value, list):
        return [_tree(part, stage) for part in value]
    return alike(value, stage) if isinstance(value, str) else value


def alike(text: str, stage: Stage) -> str:
    """A text without what no two stages have in common."""
    return _IDS_IN_TEXT.sub("N", stage.as_if_elsewhere(text))


def diff_prompts(expected: Any, found: Any, where: str = "") -> Iterator[str]:
    """Where two pictures differ, one line each."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for name in sorted({*expected, *found}):
            yield from diff_prompts(expected.get(name), found.get(name), f"{where}/{name}")
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for place, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from diff_prompts(one, other, f"{where}/{place}")
    elif expected != found:
        yield f"{where}: expected {expected!r}, found {found!r}"
