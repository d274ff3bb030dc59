"""SQL statements and transactions of one delivery, from its claim to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Engine, event

from hls_handler.events import Account
from hls_handler.prompting import recorded
from hls_sandbox.objects import Attempt, Run
from tests.engine.world import MakeWorld, World, settings
from tests.handlers.conversation import job
from tests.handlers.events import LOG, workflow_analysis
from tests.handlers.world import file, finding, pull_request, pull_request_analysis


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


def count_second(make_world: MakeWorld, accept: Callable[[World, str, int], None]) -> Counted:
    """Count for the second of two deliveries, which `accept` stores with a GUID and a number.

    The first delivery of a process also reads a secret, and the first of a prompt's version stores
    its files. Both ask another question, so that the cache of replies has no answer.
    """
    watched = {"events": ["issues", "pull_request", "workflow_run"]}
    review = {"verify": False, "max_inline": 0}
    world = make_world(given=settings(repository=watched, review=review))
    accept(world, "first", 1)
    assert world.finish().state == "done"
    accept(world, "second", 2)
    with counting() as counted:
        assert world.finish().state == "done"
    assert len(world.claude.asked) == 2
    return counted


def test_issue_needs_few_statements_and_transactions(make_world: MakeWorld) -> None:
    def accept(world: World, guid: str, number: int) -> None:
        payload = recorded.load("issues.opened").payload
        issue = {**payload["issue"], "number": number, "title": f"Crash {number}", "labels": []}
        world.receive("issues", {**payload, "issue": issue}, guid=guid)

    counted = count_second(make_world, accept)
    assert counted.statements <= 43
    assert counted.transactions <= 12


def test_pull_request_needs_few_statements_and_transactions(make_world: MakeWorld) -> None:
    def accept(world: World, guid: str, number: int) -> None:
        path = f"src/module_{number}.py"
        world.claude.replies = [pull_request_analysis(findings=[finding(path=path)])]
        sha = f"{number}" * 40
        world.open_pull_request(file(path), guid=guid, number=number, head_sha=sha)

    counted = count_second(make_world, accept)
    assert counted.statements <= 73
    assert counted.transactions <= 22


def test_failed_run_needs_few_statements_and_transactions(make_world: MakeWorld) -> None:
    def accept(world: World, guid: str, number: int) -> None:
        """A failed run on a pull request; both runs are of one workflow, with another error."""
        world.claude.replies = [workflow_analysis()]
        payload = recorded.load("demo/tests-failed").payload
        sha = f"{number}" * 40
        shown = {**payload["workflow_run"], "id": number, "run_number": number, "head_sha": sha}
        failed = job(log=LOG.replace("== 4", f"== {number}"))
        failed = replace(failed, document={**failed.document, "id": number})
        run = Run(world.github.repository, number, (Attempt(1, shown, (failed,)),))
        world.github.state.change(lambda state: state.with_run(run))
        octocat = Account("octocat", 1, "User")
        tested = pull_request(number=number, head_sha=sha, head_ref="discount-codes", user=octocat)
        world.github.put_pull_request(tested, file())
        world.receive("workflow_run", {**payload, "workflow_run": shown}, guid=guid)

    counted = count_second(make_world, accept)
    assert counted.statements <= 49
    assert counted.transactions <= 19
