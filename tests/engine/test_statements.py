"""SQL statements and transactions of one delivery, from its claim to its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from sqlalchemy import Engine, event

from tests.engine.fakes import ISSUE
from tests.engine.world import MakeWorld, World
from tests.handlers.world import file, pull_request_analysis


@dataclass
class Counted:
    statements: int = 0
    transactions: int = 0


@contextmanager
def counting() -> Iterator[Counted]:
    counted = Counted()

    def count_statement(*arguments: Any) -> None:
        counted.statements += not arguments[2].startswith(("BEGIN", "PRAGMA"))

    def count_transaction(_connection: object) -> None:
        counted.transactions += 1

    event.listen(Engine, "before_cursor_execute", count_statement)
    event.listen(Engine, "begin", count_transaction)
    try:
        yield counted
    finally:
        event.remove(Engine, "before_cursor_execute", count_statement)
        event.remove(Engine, "begin", count_transaction)


def accept_issue(world: World, guid: str, number: int) -> None:
    world.github.issues[1] = replace(ISSUE, title=f"Crash {number}")  # the payload is about issue 1
    world.accept("issues.opened", guid=guid, number=number)


def accept_pull_request(world: World, guid: str, number: int) -> None:
    world.claude.replies = [pull_request_analysis()]
    sha = f"{number}" * 40
    world.open_pull_request(file(f"src/module_{number}.py"), guid=guid, number=number, head_sha=sha)


@pytest.mark.parametrize(
    ("accept", "statements", "transactions"),
    [(accept_issue, 50, 14), (accept_pull_request, 75, 20)],
    ids=["issue", "pull request"],
)
def test_delivery_needs_few_statements_and_transactions(
    make_world: MakeWorld, accept: Any, statements: int, transactions: int
) -> None:
    """The first delivery of a process also reads a secret, and the first of a prompt's version stores its files.

    Both ask another question, so that the cache of replies has no answer.
    """
    world = make_world()
    accept(world, "first", 1)
    assert world.finish().state == "done"
    world.github.comments.clear()  # so that the second writes one, too
    accept(world, "second", 2)
    with counting() as counted:
        assert world.finish().state == "done"
    assert len(world.claude.asked) == 2
    assert (counted.statements <= statements, counted.transactions <= transactions) == (True, True), counted
