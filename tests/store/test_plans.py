"""How SQLite finds its way: with a long queue, a claim that reads every row would hold all writers up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event

from hls_handler.store import Store
from tests.store.builders import accept, claim, push, queued


@contextmanager
def statements() -> Iterator[list[tuple[str, Any]]]:
    """What is executed on any engine meanwhile."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        seen.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


@pytest.mark.parametrize(
    ("ask", "indexes"),
    [
        (claim, {"ix_deliveries_lease", "ix_deliveries_queued", "ix_deliveries_thread"}),
        (Store.seconds_until_due, {"ix_deliveries_lease", "ix_deliveries_queued", "ix_deliveries_thread"}),
        (lambda store: accept(store, push("g3", "bbb")), {"ix_deliveries_commit", "ix_deliveries_body_of"}),
        (lambda store: accept(store, queued("g3", number=7, supersedes="thread")), {"ix_deliveries_thread"}),
        (lambda store: store.deliveries(state="dead"), {"ix_deliveries_dead"}),
        (lambda store: store.thread("octo/widgets", 7), {"ix_deliveries_body_of", "ix_deliveries_said_on"}),
        (Store.calls_last_hour, {"ix_calls_started"}),
        (Store.prompt_figures, {"ix_calls_prompt"}),
        (Store.queue_figures, {"ix_deliveries_lease", "ix_deliveries_queued", "ix_deliveries_dead"}),
    ],
    ids=[
        "claim",
        "seconds_until_due",
        "push",
        "closed thread",
        "dead",
        "thread",
        "calls_last_hour",
        "prompt_figures",
        "queue_figures",
    ],
)
def test_questions_that_are_asked_often_go_by_an_index(
    tmp_path: Path, ask: Callable[[Store], object], indexes: set[str]
) -> None:
    url = f"sqlite:///{tmp_path}/hls.db"
    store = Store.open(url)
    accept(store, push("g1", "aaa"), queued("g2"))
    with statements() as seen:
        ask(store)
    engine = create_engine(url)
    with engine.connect() as connection:
        plans = [
            str(row[3])
            for statement, parameters in seen
            if statement.startswith(("SELECT", "UPDATE"))
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]
    engine.dispose()
    store.close()
    # A condition on the state that is a parameter hides the partial indexes, if not from SQLite, then from PostgreSQL.
    assert [statement for statement, _ in seen if "state = ?" in statement] == []
    # A walk through all that was ever done, though by an index.
    assert [plan for plan in plans if plan.startswith("SCAN") and "ix_deliveries_thread" in plan] == []
    assert indexes <= {word for plan in plans for word in plan.split()}
    scans = [plan for plan in plans if plan.startswith("SCAN") and "INDEX" not in plan and "CONSTANT" not in plan]
    assert scans in ([], ["SCAN forgotten_calls"])  # which has a row for each prompt
