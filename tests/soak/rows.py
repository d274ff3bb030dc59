"""Invariants of the rows and counters of a database after a schedule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Engine, RowMapping, func, select

from hls_handler.db import tables

_FINISHED = ("done", "ignored", "superseded")


@dataclass(frozen=True, slots=True)
class Expected:
    """Facts about the webhooks that were sent."""

    guids: Sequence[str]  # accepted, in the order of each conversation
    redelivered: frozenset[str]  # of these, the dead letters that were redelivered
    responses: Mapping[str, int]  # by status: "queued", "duplicate", "ignored"
    without_response: int  # the service was killed before it responded, or responded with 503
    max_replies: int  # of Claude: their number for the same events without faults
    max_open_calls: int  # that can have been interrupted by a signal


def read_counters(engine: Engine) -> Counter[tuple[str, str]]:
    with engine.connect() as connection:
        return Counter({(row.name, row.label): row.value for row in connection.execute(select(tables.counters))})


def find_violations(engine: Engine, expected: Expected, increase: Counter[tuple[str, str]]) -> Iterator[str]:
    """Yield a line for each violated invariant. `increase` is that of the counters."""
    d, c, checkpoints = tables.deliveries.c, tables.calls.c, tables.checkpoints.c
    with engine.connect() as connection:
        of_guids = select(tables.deliveries).where(d.guid.in_(expected.guids)).order_by(d.id)
        rows = connection.execute(of_guids).mappings().all()
        ids = [row["id"] for row in rows]
        calls = connection.execute(select(tables.calls).where(c.delivery_id.in_(ids))).mappings().all()
        replies = connection.execute(
            select(checkpoints.delivery_id, checkpoints.step_index).where(
                checkpoints.delivery_id.in_(ids), checkpoints.name == "ask"
            )
        ).all()
        held = {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (tables.locks, tables.slots)
        }
    yield from _check_deliveries(rows, expected)
    yield from (f"{count} rows are left in {name}" for name, count in held.items() if count)
    superseded = {row["id"] for row in rows if row["state"] == "superseded"}
    # A review that is superseded after its calls was no round, so the next one is a first review and may be verified.
    verified = len(superseded & {row.delivery_id for row in replies})
    expected = replace(expected, max_replies=expected.max_replies + verified)
    yield from _check_calls(calls, {(row.delivery_id, row.step_index) for row in replies}, expected)
    yield from _check_counters(rows, calls, expected, increase)


def _check_deliveries(rows: Sequence[RowMapping], expected: Expected) -> Iterator[str]:
    missing = set(expected.guids) - {row["guid"] for row in rows}
    yield from (f"delivery {guid} was accepted and has no row" for guid in sorted(missing))
    yield from (
        f"delivery {row['guid']} ended {row['state']}: {row['reason']}" for row in rows if row["state"] not in _FINISHED
    )
    last: dict[str, RowMapping] = {}
    for row in rows:
        key = row["conversation_key"]
        if key is None or row["state"] != "done" or row["guid"] in expected.redelivered:
            continue
        if key in last and last[key]["finished_at"] > row["finished_at"]:
            yield f"delivery {row['guid']} of {key} was done before the earlier {last[key]['guid']}"
        last[key] = row


def _check_calls(calls: Sequence[RowMapping], checkpoints: set[tuple[int, int]], expected: Expected) -> Iterator[str]:
    replies = Counter((call["delivery_id"], call["step_index"]) for call in calls if call["outcome"] == "ok")
    yield from (f"Claude replied {count} times to call {key}" for key, count in replies.items() if count > 1)
    if set(replies) != checkpoints:
        yield f"checkpoints and successful calls differ: {sorted(checkpoints ^ set(replies))}"
    if len(replies) > expected.max_replies:
        yield f"{len(replies)} replies of Claude, expected at most {expected.max_replies}"
    open_calls = sum(call["finished_at"] is None for call in calls)
    if open_calls > expected.max_open_calls:
        yield f"{open_calls} calls without an end, expected at most {expected.max_open_calls}"


def _check_counters(
    rows: Sequence[RowMapping], calls: Sequence[RowMapping], expected: Expected, increase: Counter[tuple[str, str]]
) -> Iterator[str]:
    states = Counter(row["state"] for row in rows)
    sums = {("outcome", state): states[state] for state in _FINISHED}
    sums["outcome", "dead"] = len(expected.redelivered)
    sums["claude_calls", "ok"] = sum(call["outcome"] == "ok" for call in calls)
    for kind in ("input", "output", "cache_write", "cache_read"):
        sums["tokens", kind] = sum(call[f"{kind}_tokens"] or 0 for call in calls)
    sums["cost_micro_usd", ""] = sum(call["cost_micro_usd"] or 0 for call in calls)
    sums["processing_count", ""] = states["done"]
    for key, value in sums.items():
        # An ignored delivery is counted again if it is sent again, because the response to the first one was lost.
        more = expected.without_response if key == ("outcome", "ignored") else 0
        if not value <= increase[key] <= value + more:
            yield f"the counter {' '.join(key).strip()} increased by {increase[key]}, the rows add up to {value}"
    webhooks, responses = increase["webhooks", ""], sum(expected.responses.values())
    if not responses <= webhooks <= responses + expected.without_response:
        yield f"{webhooks} webhooks counted; {responses} had a response, {expected.without_response} had none"
