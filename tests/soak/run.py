"""One schedule, carried out on a fleet, and everything that is wrong afterwards."""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from hls_handler.db.tables import deliveries
from tests.crash.stories import Stage
from tests.soak.books import Told, counters, flaws
from tests.soak.fleet import CONCURRENCY, Fleet
from tests.soak.schedule import Part, Schedule, Telling
from tests.soak.sight import Sight, sights, unlike

Script = tuple[Part, ...]
MOST_ROUNDS = 6
"""How often what is dead is told again: each round meets no fault any more."""


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """What a script comes to when each event is worked on before the next one happens, and nothing fails."""

    sights: Mapping[int, Sight]
    replies: int


@dataclass
class Soak:
    fleet: Fleet
    undisturbed: dict[Script, Undisturbed] = field(default_factory=dict)

    def run(self, schedule: Schedule) -> dict[str, Any]:
        """The line for the file of results; `wrong` is empty where all is as it has to be."""
        for script in schedule.scripts:
            if script not in self.undisturbed:
                self.undisturbed[script] = self._undisturbed(script)
        begun = time.monotonic()
        told = _Tellings(self.fleet, schedule)
        before = counters(self.fleet.engine)
        told.all()
        took_s = time.monotonic() - begun
        grown = counters(self.fleet.engine)
        grown.subtract(before)
        books = Told(
            guids=[guid for guids in told.guids for guid, _, _ in guids],
            redelivered=frozenset(told.redelivered),
            answers=told.answers,
            unanswered=told.unanswered,
            most_replies=sum(self.undisturbed[script].replies for script in schedule.scripts),
            most_open_calls=len(schedule.blows) * CONCURRENCY,
        )
        wrong = [*flaws(self.fleet.engine, books, grown)]
        for stage, script in zip(told.stages, schedule.scripts, strict=True):
            wrong += self._unlike(stage, script)
        return {
            "seed": schedule.seed,
            "wrong": wrong,
            "took_s": round(took_s, 2),
            "deliveries": len(books.guids),
            "faults": len(schedule.faults),
            "faults_met": told.faults_met,
            "blows": len(schedule.blows),
            "unanswered": told.unanswered,
            "dead_and_told_again": len(told.redelivered),
            "states": told.states(books.guids),
            "rows": told.rows(books.guids) if wrong else [],
        }

    def _unlike(self, stage: Stage, script: Script) -> list[str]:
        expected = self.undisturbed[script].sights
        found = sights(self.fleet.sandbox.state, stage)
        closed = _closed(script)
        return [
            f"{stage.repository}#{number}: {flaw}"
            for number in sorted({*expected, *found})
            for flaw in unlike(expected[number], found[number], closed=number in closed)
        ]

    def _undisturbed(self, script: Script) -> Undisturbed:
        fleet, stage, dice = self.fleet, self.fleet.next_stage(), random.Random(0)
        before = counters(fleet.engine)["claude_calls", "ok"]
        for part in script:
            for telling in part:
                fleet.happen(stage, telling)
                fleet.tell(stage, telling, str(uuid.uuid4()), dice)
                fleet.until_idle()
        replies = counters(fleet.engine)["claude_calls", "ok"] - before
        return Undisturbed(sights(fleet.sandbox.state, stage), replies)


def _closed(script: Script) -> set[int]:
    """Numbers of the threads that are closed in the end."""
    payloads: list[Any] = [json.loads(t.body(Stage(0))) for part in script for t in part if t.closes]
    return {(payload.get("issue") or payload.get("pull_request"))["number"] for payload in payloads}


class _Tellings:
    """Everything that a schedule does."""

    def __init__(self, fleet: Fleet, schedule: Schedule) -> None:
        self._fleet, self._schedule = fleet, schedule
        self.stages = [fleet.next_stage() for _ in schedule.scripts]
        self.guids: list[list[tuple[str, Stage, Telling]]] = []
        self.redelivered: set[str] = set()
        self.faults_met = 0
        self._answers, self._unanswered = Counter(fleet.answers), fleet.unanswered

    @property
    def answers(self) -> Counter[str]:
        return self._fleet.answers - self._answers

    @property
    def unanswered(self) -> int:
        return self._fleet.unanswered - self._unanswered

    def all(self) -> None:
        fleet = self._fleet
        for fault in self._schedule.faults:
            fleet.sandbox.faults.add(fault)
        parts = [
            (stage, part) for stage, script in zip(self.stages, self._schedule.scripts, strict=True) for part in script
        ]
        with ThreadPoolExecutor(len(parts) + 1) as pool:
            striking = pool.submit(self._strike)
            telling = [pool.submit(self._tell, number, *part) for number, part in enumerate(parts)]
            self.guids = [told.result() for told in telling]
            striking.result()
        fleet.until_idle()
        self.faults_met = sum(met for _, met in fleet.sandbox.faults.rules)
        fleet.sandbox.faults.clear()
        for _ in range(MOST_ROUNDS):
            if not self._tell_dead_ones_again():
                break
        fleet.sandbox.requests.clear()

    def _tell(self, number: int, stage: Stage, part: Part) -> list[tuple[str, Stage, Telling]]:
        dice, pause = random.Random(f"{self._schedule.seed} {number}"), threading.Event()
        told = []
        for place, telling in enumerate(part):
            pause.wait(self._schedule.pauses_s[(number + place) % len(self._schedule.pauses_s)])
            guid = str(uuid.UUID(int=dice.getrandbits(128)))
            self._fleet.happen(stage, telling)
            self._fleet.tell(stage, telling, guid, dice)
            told.append((guid, stage, telling))
        return told

    def _strike(self) -> None:
        begun, pause = time.monotonic(), threading.Event()
        for blow in self._schedule.blows:
            pause.wait(max(0.0, begun + blow.at_s - time.monotonic()))
            self._fleet.strike(blow.process, blow.how)

    def _tell_dead_ones_again(self) -> bool:
        """As a person does who looks at what failed."""
        every = {guid: (stage, telling) for told in self.guids for guid, stage, telling in told}
        dead = self._in_state(tuple(every), "dead")
        for guid in dead:
            stage, telling = every[guid]
            assert guid not in self.redelivered, f"delivery {guid} is dead again, though nothing fails any more"
            self.redelivered.add(guid)
            self._fleet.tell(stage, telling, guid, random.Random(guid))
        self._fleet.until_idle()
        return bool(dead)

    def _in_state(self, guids: tuple[str, ...], state: str) -> list[str]:
        c = deliveries.c
        with self._fleet.engine.connect() as connection:
            rows = connection.execute(select(c.guid).where(c.guid.in_(guids), c.state == state).order_by(c.id))
            return list(rows.scalars())

    def rows(self, guids: Sequence[str]) -> list[str]:
        """For whoever finds out what went wrong."""
        c = deliveries.c
        shown = (c.id, c.repository, c.number, c.event, c.action, c.state, c.attempt, c.failures, c.crashes)
        times = (c.queued_at - c.received_at, c.finished_at - c.received_at, c.received_at, c.reason)
        with self._fleet.engine.connect() as connection:
            rows = connection.execute(select(*shown, *times).where(c.guid.in_(guids)).order_by(c.id))
            return [" ".join(str(cell) for cell in row) for row in rows]

    def states(self, guids: Sequence[str]) -> dict[str, int]:
        c = deliveries.c
        with self._fleet.engine.connect() as connection:
            rows = connection.execute(select(c.state).where(c.guid.in_(guids))).scalars()
            return dict(Counter(rows))
