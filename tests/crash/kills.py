"""Runs of one event through a service that is killed at a selected commit or request."""

from __future__ import annotations

import http.client
import json
import signal
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import select

from hls_handler.db import tables
from hls_handler.prompting import recorded
from tests.crash.commits import Side
from tests.crash.harness import Harness, wait_until
from tests.crash.scenarios import FreshRepository, Scenario
from tests.crash.snapshot import Snapshot, counters, database_snapshot, github_snapshot
from tests.github_fake.faults import Fault

Kind = Literal["commit", "request"]


@dataclass(frozen=True, slots=True)
class Kill:
    """The point at which the service is killed: the n-th commit, or the n-th request to GitHub or
    Claude.
    """

    kind: Kind
    n: int  # from 1
    side: Side

    def __str__(self) -> str:
        return f"{self.side} {self.kind} {self.n}"


@dataclass(frozen=True, slots=True)
class StateAtKill:
    """The state immediately after the kill. It determines the permitted differences from an
    undisturbed run.
    """

    accepted: bool  # the delivery was committed
    answered: bool  # the webhook got its 202
    unrecorded_replies: int  # replies of Claude that are not stored
    open_calls: int  # rows of calls without an end


@dataclass(frozen=True, slots=True)
class Run:
    """The result of one event."""

    kill: Kill | None
    at_kill: StateAtKill | None  # None: the run ended before the selected point
    commits: int  # of an undisturbed run
    requests: int
    claude_calls: int  # that Claude executed
    github: Snapshot
    database: Snapshot
    counters: Mapping[str, int]  # their increase


def run(harness: Harness, scenario: Scenario, kill: Kill | None) -> Run:
    """Deliver the scenario's event for a fresh repository; after a kill, start the service
    again.
    """
    repository = harness.next_repository()
    event, body = recorded.load(scenario.event).event, scenario.body(repository)
    for name in scenario.before:
        harness.sandbox.state.seed(recorded.load(name).event, json.loads(repository.body(name)))
    harness.sandbox.state.seed(event, json.loads(body))
    if scenario.files:
        commit = harness.sandbox.git.commit(repository.full_name, scenario.files)
        harness.sandbox.state.change(
            lambda world: world.with_ref(repository.full_name, "master", commit)
        )
    _wait_between_two_polls(harness)
    harness.sandbox.requests.clear()
    before, commits = counters(harness.engine, repository), harness.commits.started
    _arm(harness, repository, kill)
    guid = str(uuid.uuid4())
    answered = _deliver(harness, event, body, guid) == "queued"
    at_kill = None
    if kill is not None and _is_killed(harness, kill, answered=answered):
        at_kill = _state_at_kill(harness, repository, guid, answered=answered)
    harness.commits.disarm()
    harness.sandbox.faults.clear()
    if at_kill is not None:
        harness.store.queue.release_all_leases()  # on SQLite the service does that itself
        harness.service.start()
        if not answered:
            assert _deliver(harness, event, body, guid) == (
                "duplicate" if at_kill.accepted else "queued"
            )
    harness.until_idle()
    after = counters(harness.engine, repository)
    return Run(
        kill=kill,
        at_kill=at_kill,
        commits=harness.commits.started - commits,
        requests=_count_requests(harness),
        claude_calls=_count_replies(harness),
        github=github_snapshot(harness.sandbox.state, repository),
        database=database_snapshot(harness.engine, repository),
        counters={
            name: n - before.get(name, 0) for name, n in after.items() if n != before.get(name, 0)
        },
    )


def undisturbed_run(harness: Harness, scenario: Scenario) -> Run:
    """Return the second of two runs: in the first one Claude's prompt cache is empty, and the cost
    is higher.
    """
    run(harness, scenario, None)
    return run(harness, scenario, None)


def _wait_between_two_polls(harness: Harness) -> None:
    """An idle worker polls the queue every two seconds; these commits must not be counted for the
    event.
    """
    assert wait_until(lambda: 0.04 < harness.commits.idle_s < 1.2, timeout_s=30), (
        "the service is never idle"
    )


def _arm(harness: Harness, repository: FreshRepository, kill: Kill | None) -> None:
    if kill is None:
        return
    if kill.kind == "commit":
        harness.commits.kill_at(kill.n, kill.side)
    else:
        effect: Literal["hang", "hang_after"] = "hang" if kill.side == "before" else "hang_after"
        path = rf"^/repos/{repository.full_name}(/|$)|^/graphql$|^/v1/messages$"
        harness.sandbox.faults.add(Fault(effect=effect, path=path, skip=kill.n - 1))


def _deliver(harness: Harness, event: str, body: bytes, guid: str) -> str | None:
    """Return the status of the response; None if the service was killed before the response."""
    try:
        return str(harness.service.deliver(event, body, guid=guid).body["status"])
    except (OSError, http.client.HTTPException):
        return None


def _is_killed(harness: Harness, kill: Kill, *, answered: bool) -> bool:
    """Wait for the kill. Return False if the delivery was finished without it."""
    service = harness.service

    def ended() -> bool:
        if kill.kind == "request" and any(
            request.fault for request in harness.sandbox.requests.all()
        ):
            service.stop(signal.SIGKILL)
        return not service.is_running or (answered and harness.open_deliveries() == 0)

    assert wait_until(ended, timeout_s=60), (
        f"neither killed nor finished: {kill}\n{harness.log_tail()}"
    )
    harness.commits.disarm()  # else the next poll of an idle worker kills it during the next run
    # the end of a process takes a moment
    return wait_until(lambda: not service.is_running, timeout_s=1)


def _count_requests(harness: Harness) -> int:
    health_checks = ("/user", "/v1/models", "/rate_limit")
    return sum(
        not request.path.startswith(health_checks) for request in harness.sandbox.requests.all()
    )


def _count_replies(harness: Harness) -> int:
    """Number of replies that Claude created, received or not."""
    return sum(
        request.writes and request.fault != "hang"
        for request in harness.sandbox.requests.all("claude")
    )


def _state_at_kill(
    harness: Harness, repository: FreshRepository, guid: str, *, answered: bool
) -> StateAtKill:
    of_repository = tables.deliveries.c.repository_id == repository.id
    with harness.engine.connect() as connection:
        guids = (
            connection.execute(select(tables.deliveries.c.guid).where(of_repository))
            .scalars()
            .all()
        )
        finished_at: list[Any] = list(
            connection.execute(
                select(tables.calls.c.finished_at)
                .join(tables.deliveries, tables.deliveries.c.id == tables.calls.c.delivery_id)
                .where(of_repository)
            ).scalars()
        )
    stored_replies = sum(len(harness.store.replies.of(one).valid) for one in guids)
    return StateAtKill(
        accepted=guid in guids,
        answered=answered,
        unrecorded_replies=_count_replies(harness) - stored_replies,
        open_calls=finished_at.count(None),
    )


def all_kills(undisturbed: Run) -> list[Kill]:
    """Return every point of a run, before and after."""
    points: tuple[tuple[Kind, int], ...] = (
        ("commit", undisturbed.commits),
        ("request", undisturbed.requests),
    )
    return [
        Kill(kind, n, side)
        for kind, number in points
        for n in range(1, number + 1)
        for side in ("before", "after")
    ]


def some_kills(undisturbed: Run, number: int) -> Iterator[Kill]:
    """Return points at equal distances: the same ones as long as the run has the same length."""
    kills = all_kills(undisturbed)
    for part in range(number):
        yield kills[(2 * part + 1) * len(kills) // (2 * number)]
