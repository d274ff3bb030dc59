"""A sweep: one event, told again and again to a service that is killed each time at another point of its work."""

from __future__ import annotations

import http.client
import json
import os
import signal
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import select

from hls_handler.db import tables
from hls_handler.prompting import recorded
from hls_handler.sandbox.faults import Fault
from tests.crash.lives import Soon
from tests.crash.picture import Picture, counted, in_store, on_github
from tests.crash.rig import Rig
from tests.crash.stories import DeliveryReport, Stage
from tests.crash.tally import Side

Kind = Literal["commit", "request"]


@dataclass(frozen=True, slots=True)
class Kill:
    """Where the service is killed: at its n-th commit, or its n-th request to GitHub or Claude, of one event."""

    kind: Kind
    n: int  # from 1
    side: Side

    def __str__(self) -> str:
        return f"{self.side} {self.kind} {self.n}"


@dataclass(frozen=True, slots=True)
class AtDeath:
    """What was true at the moment of the kill, as it says what may differ from an undisturbed run."""

    accepted: bool  # the delivery was committed
    answered: bool  # 202 was answered
    unrecorded_replies: int  # Claude replied, and that was not remembered
    open_calls: int  # noted as begun and not as ended


@dataclass(frozen=True, slots=True)
class Run:
    """One event's way through a service."""

    kill: Kill | None
    died: AtDeath | None  # None: it came to its end before that point
    commits: int  # of an undisturbed run
    requests: int
    claude_calls: int  # that had an effect
    github: Picture
    store: Picture
    counters: Mapping[str, int]  # by how much they grew


def run(rig: Rig, story: DeliveryReport, kill: Kill | None) -> Run:
    """Tell the story's event on a stage of its own; after a kill the next life goes on, and stays."""
    stage = rig.next_stage()
    for name in (*story.before, story.event):
        payload = recorded.load(name)
        rig.sandbox.state.seed(payload.event, json.loads(stage.body(name)))
    tally = rig.life.tally
    assert tally is not None
    _until_between_two_looks(rig)
    rig.sandbox.requests.clear()
    counters, commits = counted(rig.engine, stage), tally.commits
    _arm(rig, stage, kill)
    event, body, guid = recorded.load(story.event).event, stage.body(story.event), str(uuid.uuid4())
    answered = _deliver(rig, event, body, guid) == "queued"
    died = None
    if kill is not None and _dies(rig, kill, answered=answered):
        died = _at_death(rig, guid, answered=answered)
    tally.disarm()
    rig.sandbox.faults.clear()
    if died is not None:
        rig.store.queue.release_all_leases()  # on SQLite the service does that itself
        rig.life.start()
        if not answered:
            assert _deliver(rig, event, body, guid) == ("duplicate" if died.accepted else "queued")
    rig.until_idle()
    return Run(
        kill=kill,
        died=died,
        commits=tally.commits - commits,
        requests=len(_requests(rig)),
        claude_calls=_replies(rig),
        github=on_github(rig.sandbox.state, stage),
        store=in_store(rig.engine, stage),
        counters=_growth(counters, counted(rig.engine, stage)),
    )


def undisturbed_run(rig: Rig, story: DeliveryReport) -> Run:
    """The second one: at the first, Claude has the prompt's own text in no cache yet, and is paid more for it."""
    run(rig, story, None)
    return run(rig, story, None)


def _until_between_two_looks(rig: Rig) -> None:
    """An idle worker looks for work every other second, and its commits are not the event's."""
    assert rig.life.tally is not None
    waiting = Soon(30)
    while waiting.more():
        if 0.04 < rig.life.tally.quiet_s < 1.2:
            return
    raise AssertionError("the service is never quiet")


def _arm(rig: Rig, stage: Stage, kill: Kill | None) -> None:
    if kill is None:
        return
    if kill.kind == "commit":
        assert rig.life.tally is not None
        rig.life.tally.kill_at(kill.n, kill.side)
    else:
        effect: Literal["hang", "hang_after"] = "hang" if kill.side == "before" else "hang_after"
        path = rf"^/repos/{stage.repository}(/|$)|^/graphql$|^/v1/messages$"
        rig.sandbox.faults.add(Fault(effect=effect, path=path, skip=kill.n - 1))


def _deliver(rig: Rig, event: str, body: bytes, guid: str) -> str | None:
    """What was answered; None where the service died before it could."""
    try:
        return str(rig.life.deliver(event, body, guid=guid).body["status"])
    except (OSError, http.client.HTTPException):
        return None


def _dies(rig: Rig, kill: Kill, *, answered: bool) -> bool:
    """Wait for the kill; False where the work came to its end without it. A process takes a moment to die."""
    waiting = Soon(60)
    while waiting.more():
        if kill.kind == "request" and any(request.fault for request in rig.sandbox.requests.all()):
            assert rig.life.pid is not None
            os.kill(rig.life.pid, signal.SIGKILL)
            rig.life.buried()
            return True
        if rig.life.is_dead():
            return True
        if answered and rig.open_deliveries() == 0:
            dying = Soon(0.3)
            while not rig.life.is_dead() and dying.more():
                pass
            return rig.life.is_dead()
    raise AssertionError(f"neither killed nor done: {kill}\n{rig.life.log.read_text()[-5000:]}")


def _requests(rig: Rig) -> list[Any]:
    return [
        one for one in rig.sandbox.requests.all() if not one.path.startswith(("/user", "/v1/models", "/rate_limit"))
    ]


def _replies(rig: Rig) -> int:
    """How often Claude did what it was asked, whether or not the answer came through."""
    return sum(one.writes and one.fault != "hang" for one in rig.sandbox.requests.all("claude"))


def _at_death(rig: Rig, guid: str, *, answered: bool) -> AtDeath:
    steps = rig.store.checkpoints.load(guid)
    with rig.engine.connect() as connection:
        ended = connection.execute(
            select(tables.calls.c.finished_at)
            .join(tables.deliveries, tables.deliveries.c.id == tables.calls.c.delivery_id)
            .where(tables.deliveries.c.guid == guid)
        ).scalars()
        open_calls = sum(one is None for one in ended)
    return AtDeath(
        accepted=rig.store.deliveries.find(guid) is not None,
        answered=answered,
        unrecorded_replies=_replies(rig) - sum(name == "ask" for name, _ in steps),
        open_calls=open_calls,
    )


def _growth(before: Mapping[str, int], after: Mapping[str, int]) -> Mapping[str, int]:
    return {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}


def kills(kind: Kind, upto: int) -> Iterator[Kill]:
    for n in range(1, upto + 1):
        yield Kill(kind, n, "before")
        yield Kill(kind, n, "after")


def every(undisturbed: Run) -> Iterator[Kill]:
    """All points of an event's way, both sides of each."""
    yield from kills("commit", undisturbed.commits)
    yield from kills("request", undisturbed.requests)


def spread(undisturbed: Run, parts: int) -> Iterator[Kill]:
    """Some of them, evenly over the way: always the same ones, as long as the way is."""
    points = list(every(undisturbed))
    for part in range(parts):
        yield points[(2 * part + 1) * len(points) // (2 * parts)]
