"""The books: what the rows and the counters of a database must come to, whatever happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, func, select

from hls_handler.db import tables

_FINISHED = ("done", "ignored", "superseded")


@dataclass(frozen=True, slots=True)
class Told:
    """What the test knows of its tellings."""

    guids: Sequence[str]  # in the order of each thread; all were answered as accepted
    redelivered: frozenset[str]  # of these, those that were dead and were told again
    answers: Mapping[str, int]  # by what they said: "queued", "duplicate", "ignored"
    unanswered: int  # the service died, or could not, before it answered
    most_replies: int  # of Claude, for the same events without any trouble
    most_open_calls: int  # that may have been under way when a process was struck down


def counters(engine: Engine) -> Counter[tuple[str, str]]:
    with engine.connect() as connection:
        return Counter({(row.name, row.label): row.value for row in connection.execute(select(tables.counters))})


def flaws(engine: Engine, told: Told, grown: Counter[tuple[str, str]]) -> Iterator[str]:
    """`grown` is by how much the counters grew."""
    d, c = tables.deliveries.c, tables.calls.c
    with engine.connect() as connection:
        of_told = select(tables.deliveries).where(d.guid.in_(told.guids)).order_by(d.id)
        rows = [dict(row) for row in connection.execute(of_told).mappings()]
        ids = [row["id"] for row in rows]
        of_rows = select(tables.calls).where(c.delivery_id.in_(ids))
        calls = [dict(call) for call in connection.execute(of_rows).mappings()]
        replies = connection.execute(
            select(tables.checkpoints.c.delivery_id, tables.checkpoints.c.step_index).where(
                tables.checkpoints.c.delivery_id.in_(ids), tables.checkpoints.c.name == "ask"
            )
        ).all()
        held = {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (tables.locks, tables.slots)
        }
    yield from _rows(rows, told)
    yield from (f"{count} rows are left in {name}" for name, count in held.items() if count)
    yield from _calls(calls, {(row.delivery_id, row.step_index) for row in replies}, told)
    yield from _counters(rows, calls, told, grown)


def _rows(rows: Sequence[Mapping[str, Any]], told: Told) -> Iterator[str]:
    missing = set(told.guids) - {row["guid"] for row in rows}
    yield from (f"delivery {guid} was answered, and is not there" for guid in sorted(missing))
    yield from (
        f"delivery {row['guid']} ended {row['state']}: {row['reason']}" for row in rows if row["state"] not in _FINISHED
    )
    last: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        key = row["conversation_key"]
        if key is None or row["state"] != "done" or row["guid"] in told.redelivered:
            continue
        if key in last and last[key]["finished_at"] > row["finished_at"]:
            yield f"delivery {row['guid']} of {key} was done before {last[key]['guid']}, which came earlier"
        last[key] = row


def _calls(calls: Sequence[Mapping[str, Any]], replies: set[tuple[int, int]], told: Told) -> Iterator[str]:
    good = Counter((call["delivery_id"], call["step_index"]) for call in calls if call["outcome"] == "ok")
    yield from (f"Claude replied {times} times to call {key}" for key, times in good.items() if times > 1)
    if set(good) != replies:
        yield f"replies that are remembered and calls that went well differ: {sorted(replies ^ set(good))}"
    if len(good) > told.most_replies:
        yield f"{len(good)} replies by Claude, and {told.most_replies} without any trouble"
    still_open = sum(call["finished_at"] is None for call in calls)
    if still_open > told.most_open_calls:
        yield f"{still_open} calls without an end, and {told.most_open_calls} can have been cut off"


def _counters(
    rows: Sequence[Mapping[str, Any]], calls: Sequence[Mapping[str, Any]], told: Told, grown: Counter[tuple[str, str]]
) -> Iterator[str]:
    states = Counter(row["state"] for row in rows)
    expected = {("outcome", state): states[state] for state in _FINISHED}
    expected["outcome", "dead"] = len(told.redelivered)
    expected["claude_calls", "ok"] = sum(call["outcome"] == "ok" for call in calls)
    for kind in ("input", "output", "cache_write", "cache_read"):
        expected["tokens", kind] = sum(call[f"{kind}_tokens"] or 0 for call in calls)
    expected["cost_micro_usd", ""] = sum(call["cost_micro_usd"] or 0 for call in calls)
    expected["processing_count", ""] = states["done"]
    for key, value in expected.items():
        if grown[key] != value:
            yield f"the counter {' '.join(key).strip()} grew by {grown[key]}, and the rows say {value}"
    answered = sum(told.answers.values())
    if not answered <= grown["webhooks", ""] <= answered + told.unanswered:
        yield f"{grown['webhooks', '']} webhooks counted, {answered} answered and {told.unanswered} without an answer"
