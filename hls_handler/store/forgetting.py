"""Finds and deletes what is stored about a person, for `hls forget`.

A delivery is about a person who caused it, whose login is a value in its event, its facts or
Claude's replies, whom a text mentions, or who opened its issue or pull request. Rows of deliveries
stay without their content, so that duplicates are still detected and counters stay right.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, case, func, or_, select, tuple_

from hls_handler.db.counters import AUTHOR_OUTCOME
from hls_handler.db.database import Database
from hls_handler.db.tables import (
    batches,
    calls,
    checkpoints,
    comments,
    corrections,
    counters,
    deliveries,
    findings,
    questions,
    stops,
    texts,
)
from hls_handler.db.values import decompress
from hls_handler.deliveries import OPEN_STATES
from hls_handler.store.limits import OUTSIDER_COST
from hls_handler.store.retention import exclusive
from hls_handler.store.texts import issue_scope

GHOST = "ghost"  # as GitHub names deleted accounts
REASON = "`hls forget` deleted what was stored of it"
BATCH = 50  # deliveries or conversations in one transaction
OWNERS = frozenset({"repository", "organization", "owner", "base", "head"})
"""Keys of events whose accounts only own a repository or a branch."""
SUBJECTS = ("issue", "pull_request", "discussion")

ForgottenRows = tuple[Table, ColumnElement[bool], Mapping[str, object] | None]
"""Rows, and the values that replace theirs; None: the rows are deleted."""

_c = deliveries.c
_hit = calls.alias("hit")
_paid = calls.alias("paid")
_PAID_REPLY = select(_paid.c.reply).where(_paid.c.id == calls.c.paid_by).scalar_subquery()
_f = findings.c
_t = texts.c
DOCUMENTS = (
    (_c.id, _c.body),
    (checkpoints.c.delivery_id, checkpoints.c.value),
    (calls.c.delivery_id, func.coalesce(calls.c.reply, _PAID_REPLY)),  # a hit has that of a call
)
"""Columns with JSON or a reply that is none, and those of the delivery that they belong to."""


@dataclass(frozen=True, slots=True)
class Traces:
    login: str  # in lower case
    ids: Sequence[int]  # of deliveries
    opened: Sequence[tuple[int, int]]  # repository id and number of issues and pull requests
    open_guids: Sequence[str]  # of deliveries on the same conversations that wait or run


class Forgetting:
    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, login: str) -> Traces:
        """Read all deliveries. Raises `StoreUnavailable` or `DamagedError`."""
        login = login.lower()
        mention = _mention(login)

        def names(value: object) -> bool:
            if isinstance(value, dict):
                return any(names(part) for key, part in value.items() if key not in OWNERS)
            if isinstance(value, list):
                return any(map(names, value))
            return isinstance(value, str) and (
                value.lower() == login or mention.search(value) is not None
            )

        rows = list[Row[Any]]()
        named = set[int]()
        opened = set[tuple[int, int]]()
        for row, documents in self._read():
            parsed = [
                _parse(document) for document in documents if login.encode() in document.lower()
            ]
            if names([row.sender, row.author, row.title, *parsed]):
                named.add(row.id)
            subjects = [
                document.get(kind)
                for document in parsed
                if isinstance(document, dict)
                for kind in SUBJECTS
            ]
            authors = [subject.get("user") for subject in subjects if isinstance(subject, dict)]
            if row.number is not None and names(
                [*authors, row.author, row.action == "opened" and row.sender]
            ):
                opened.add((row.repository_id, row.number))
            rows.append(row)
        about = [
            row for row in rows if row.id in named or (row.repository_id, row.number) in opened
        ]
        touched = {(row.repository_id, row.number) for row in about if row.number is not None}
        is_touched = (
            row for row in rows if row.id in named or (row.repository_id, row.number) in touched
        )
        open_guids = [row.guid for row in is_touched if row.state in OPEN_STATES]
        return Traces(login, [row.id for row in about], sorted(opened), open_guids)

    def _read(self) -> Iterator[tuple[Row[Any], Sequence[bytes]]]:
        """Yield each delivery with its JSON: the event, checkpoints and replies, as far as they are
        stored.
        """
        columns = [
            _c.id,
            _c.guid,
            _c.state,
            _c.repository_id,
            _c.number,
            _c.action,
            _c.sender,
            _c.author,
            _c.title,
        ]
        page = select(*columns).order_by(_c.id).limit(BATCH)
        last = 0
        while True:
            with self._database.reading() as connection:
                rows = connection.execute(page.where(_c.id > last)).all()
                if not rows:
                    return
                first = rows[0].id
                last = rows[-1].id
                documents: dict[int, list[bytes]] = {row.id: [] for row in rows}
                for of, column in DOCUMENTS:
                    for delivery_id, value in connection.execute(
                        select(of, column).where(of.between(first, last))
                    ):
                        documents[delivery_id].append(
                            value.encode() if isinstance(value, str) else decompress(value)
                        )
            yield from ((row, documents[row.id]) for row in rows)

    def forget(self, traces: Traces, *, dry_run: bool) -> Mapping[str, int]:
        """Delete or change rows in short transactions, or with `dry_run` count them; return the
        numbers by table.
        """
        jobs: list[Callable[[Connection], Iterable[ForgottenRows]]] = [
            partial(_list_login_steps, traces.login),
        ]
        jobs += [partial(_list_delivery_steps, ids, traces.login) for ids in _batches(traces.ids)]
        jobs += [partial(_list_conversation_steps, opened) for opened in _batches(traces.opened)]
        counts = Counter[str]()
        for find_steps in jobs:
            with exclusive(self._database) as connection:
                for table, rows, values in find_steps(connection):
                    change = table.delete() if values is None else table.update().values(values)
                    count = select(func.count()).where(rows)
                    counts[table.name] += (
                        connection.execute(count).scalar_one()
                        if dry_run
                        else connection.execute(change.where(rows)).rowcount
                    )
        return {name: number for name, number in counts.items() if number}


def _list_delivery_steps(ids: Sequence[int], login: str, _: Connection) -> Iterator[ForgottenRows]:
    """Yield the steps for deliveries. One that an operator runs again meanwhile keeps its
    content.
    """
    are_ended = _c.id.in_(ids) & _c.state.not_in(OPEN_STATES)
    ended = select(_c.id).where(are_ended)
    are_calls = calls.c.delivery_id.in_(ended)
    used = select(_hit.c.paid_by).where(_hit.c.delivery_id.in_(ended), _hit.c.paid_by.is_not(None))
    yield calls, calls.c.id.in_(used) & calls.c.cache_key.is_not(None), {"cache_key": None}
    contents = [calls.c[name] for name in ("reply", "reply_type", "lost", "cache_key", "paid_by")]
    may_quote = calls.c.outcome != "ok"
    has_quote = may_quote & calls.c.error.is_not(None)
    have_content = or_(has_quote, *(column.is_not(None) for column in contents))
    no_content: dict[str, object] = {column.name: None for column in contents}
    error = case((may_quote, None), else_=calls.c.error)
    yield calls, are_calls & have_content, {**no_content, "error": error}
    for table in (questions, checkpoints):
        yield table, table.c.delivery_id.in_(ended), None
    people = {
        name: case((func.lower(_c[name]) == login, None), else_=_c[name])
        for name in ("sender", "author")
    }
    nothing = dict.fromkeys(("title", "analysis_error", "posting_error", "body"))
    yield deliveries, are_ended, {**people, **nothing, "reason": REASON, "cause": None}


def _list_conversation_steps(
    opened: Sequence[tuple[int, int]], _: Connection
) -> Iterator[ForgottenRows]:
    are_opened = [
        tuple_(table.c.repository_id, table.c.number).in_(opened)
        for table in (corrections, comments)
    ]
    yield corrections, are_opened[0], None
    yield comments, are_opened[1] & comments.c.state.is_not(None), {"state": None}
    places = [(issue_scope(repository), str(number)) for repository, number in opened]
    yield texts, tuple_(texts.c.scope, texts.c.name).in_(places), None


def _list_login_steps(login: str, connection: Connection) -> Iterator[ForgottenRows]:
    """Yield the steps for the login in other rows. Dismissals that have lost their effect stay, or
    they would count.
    """
    yield stops, func.lower(stops.c.stopped_by) == login, {"stopped_by": GHOST}
    yield batches, func.lower(batches.c.started_by) == login, {"started_by": GHOST}
    n = counters.c
    label = func.lower(n.label)
    is_guest = (n.name == OUTSIDER_COST) & (label == login)
    is_author = (n.name == AUTHOR_OUTCOME) & label.startswith(f"{login}:", autoescape=True)
    yield counters, is_guest | is_author, None
    has_mention = or_(
        *(column.icontains(f"@{login}", autoescape=True) for column in (_t.title, _t.text))
    )
    rows = connection.execute(
        select(_t.id, _t.title, _t.text).where(_t.scope.startswith("issue"), has_mention)
    ).all()
    mention = _mention(login)
    yield (
        texts,
        _t.id.in_([row.id for row in rows if mention.search(f"{row.title}\n{row.text}")]),
        None,
    )
    stopped = re.compile(rf"(?<![\w-]){re.escape(login)}(?= stopped HLS)", re.IGNORECASE)
    is_stopped = _c.reason.icontains(f"{login} stopped HLS", autoescape=True)
    for row in connection.execute(select(_c.id, _c.reason).where(is_stopped)).all():
        if stopped.search(row.reason):
            yield deliveries, _c.id == row.id, {"reason": stopped.sub(GHOST, row.reason)}
    by_login = re.compile(rf"(?:(?<= by )|\A){re.escape(login)}\Z", re.IGNORECASE)
    has_login = or_(
        *(column.icontains(login, autoescape=True) for column in (_f.details, _f.command))
    )
    for row in connection.execute(select(findings).where(has_login)).all():
        entry = json.loads(row.details)
        by = entry.get("dismissed_by") or ""
        keys = entry.get("dismissals", [])
        command = row.command or ""
        new_by, new_command, *new_keys = (
            by_login.sub(GHOST, text) for text in (by, command, *keys)
        )
        if (new_by, new_command, new_keys) != (by, command, keys):
            details = json.dumps({**entry, "dismissed_by": new_by or None, "dismissals": new_keys})
            is_row = tuple_(*findings.primary_key.columns).in_(
                [[row._mapping[c.name] for c in findings.primary_key]]
            )
            yield findings, is_row, {"details": details, "command": new_command or None}


def _mention(login: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-])@{re.escape(login)}(?![\w-])", re.IGNORECASE)


def _parse(document: bytes) -> object:
    try:
        return json.loads(document)
    except ValueError:
        return document.decode()


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))
