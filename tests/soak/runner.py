"""The run of one schedule on a fleet, and the violations afterwards."""

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
from tests.crash.scenarios import FreshRepository
from tests.soak.conversations import FinalState, final_states, find_differences
from tests.soak.fleet import CONCURRENCY, Fleet
from tests.soak.rows import Expected, find_violations, read_counters
from tests.soak.schedule import Schedule, Script, Sequential, Webhook

MAX_REDELIVERIES = 6
"""Rounds in which dead letters are redelivered, without faults."""


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """The result of a script without faults, where each event is processed before the next one is sent."""

    states: Mapping[int, FinalState]
    replies: int


@dataclass
class Soak:
    fleet: Fleet
    undisturbed: dict[Script, Undisturbed] = field(default_factory=dict)

    def run(self, schedule: Schedule) -> dict[str, Any]:
        """Return the line for the results file; `wrong` lists the violations."""
        for script in schedule.scripts:
            if script not in self.undisturbed:
                self.undisturbed[script] = self._run_undisturbed(script)
        start = time.monotonic()
        before = read_counters(self.fleet.engine)
        run = _ScheduleRun(self.fleet, schedule)
        run.execute()
        took_s = time.monotonic() - start
        increase = read_counters(self.fleet.engine)
        increase.subtract(before)
        expected = Expected(
            guids=[sent.guid for sent in run.sent],
            redelivered=frozenset(run.redelivered),
            responses=run.responses,
            without_response=run.without_response,
            max_replies=sum(self.undisturbed[script].replies for script in schedule.scripts),
            max_open_calls=len(schedule.signals) * CONCURRENCY,
        )
        wrong = [*find_violations(self.fleet.engine, expected, increase)]
        for repository, script in zip(run.repositories, schedule.scripts, strict=True):
            wrong += self._find_differences(repository, script)
        return {
            "seed": schedule.seed,
            "wrong": wrong,
            "took_s": round(took_s, 2),
            "deliveries": len(run.sent),
            "faults": len(schedule.faults),
            "faults_applied": run.faults_applied,
            "signals": len(schedule.signals),
            "without_response": run.without_response,
            "redelivered": len(run.redelivered),
            "states": run.count_states(),
            "rows": run.rows() if wrong else [],
        }

    def _run_undisturbed(self, script: Script) -> Undisturbed:
        fleet, repository, rng = self.fleet, self.fleet.next_repository(), random.Random(0)
        before = read_counters(fleet.engine)["claude_calls", "ok"]
        for webhook in (webhook for part in script for webhook in part):
            fleet.create_on_github(repository, webhook)
            fleet.send(repository, webhook, str(uuid.uuid4()), rng)
            fleet.until_idle()
        replies = read_counters(fleet.engine)["claude_calls", "ok"] - before
        return Undisturbed(final_states(fleet.sandbox.state, repository), replies)

    def _find_differences(self, repository: FreshRepository, script: Script) -> list[str]:
        expected = self.undisturbed[script].states
        found = final_states(self.fleet.sandbox.state, repository)
        closed = _closed_conversations(script)
        return [
            f"{repository.full_name}#{number}: {difference}"
            for number in sorted({*expected, *found})
            for difference in find_differences(expected[number], found[number], closed=number in closed)
        ]


def _closed_conversations(script: Script) -> set[int]:
    """Return the numbers of the conversations that a script closes."""
    webhooks = [webhook for part in script for webhook in part if webhook.closes]
    payloads: list[Any] = [json.loads(webhook.body(FreshRepository(0))) for webhook in webhooks]
    return {(payload.get("issue") or payload.get("pull_request"))["number"] for payload in payloads}


@dataclass(frozen=True, slots=True)
class _Sent:
    guid: str
    repository: FreshRepository
    webhook: Webhook


class _ScheduleRun:
    """One execution of a schedule on new repositories."""

    def __init__(self, fleet: Fleet, schedule: Schedule) -> None:
        self._fleet, self._schedule = fleet, schedule
        self.repositories = [fleet.next_repository() for _ in schedule.scripts]
        self.sent: list[_Sent] = []
        self.redelivered: set[str] = set()
        self.faults_applied = 0
        self._responses_before, self._without_response_before = Counter(fleet.responses), fleet.without_response

    @property
    def responses(self) -> Counter[str]:
        return self._fleet.responses - self._responses_before

    @property
    def without_response(self) -> int:
        return self._fleet.without_response - self._without_response_before

    def execute(self) -> None:
        faults = self._fleet.sandbox.faults
        for fault in self._schedule.faults:
            faults.add(fault)
        parts = [
            (repository, part)
            for repository, script in zip(self.repositories, self._schedule.scripts, strict=True)
            for part in script
        ]
        with ThreadPoolExecutor(len(parts) + 1) as pool:
            signals = pool.submit(self._send_signals)
            webhooks = [pool.submit(self._send_webhooks, number, *part) for number, part in enumerate(parts)]
            self.sent = [sent for future in webhooks for sent in future.result()]
            signals.result()
        self._fleet.until_idle()
        self.faults_applied = sum(applied for _, applied in faults.rules)
        faults.clear()
        for _ in range(MAX_REDELIVERIES):
            if not self._redeliver_dead_letters():
                break
        self._fleet.sandbox.requests.clear()

    def _send_webhooks(self, number: int, repository: FreshRepository, part: Sequential) -> list[_Sent]:
        rng, pause = random.Random(f"{self._schedule.seed} {number}"), threading.Event()
        sent = []
        for place, webhook in enumerate(part):
            pause.wait(self._schedule.pauses_s[(number + place) % len(self._schedule.pauses_s)])
            guid = str(uuid.UUID(int=rng.getrandbits(128)))
            self._fleet.create_on_github(repository, webhook)
            self._fleet.send(repository, webhook, guid, rng)
            sent.append(_Sent(guid, repository, webhook))
        return sent

    def _send_signals(self) -> None:
        start, pause = time.monotonic(), threading.Event()
        for each in self._schedule.signals:
            pause.wait(max(0.0, start + each.at_s - time.monotonic()))
            self._fleet.restart(each.process, each.signal)

    def _redeliver_dead_letters(self) -> bool:
        """Redeliver all dead letters and wait for the result; return whether there were any."""
        by_guid = {sent.guid: sent for sent in self.sent}
        dead = [row.guid for row in self._select(deliveries.c.guid, deliveries.c.state) if row.state == "dead"]
        for guid in dead:
            sent = by_guid[guid]
            assert guid not in self.redelivered, f"delivery {guid} failed again without faults"
            self.redelivered.add(guid)
            self._fleet.send(sent.repository, sent.webhook, guid, random.Random(guid))
        self._fleet.until_idle()
        return bool(dead)

    def _select(self, *columns: Any) -> Sequence[Any]:
        query = select(*columns).where(deliveries.c.guid.in_([sent.guid for sent in self.sent]))
        with self._fleet.engine.connect() as connection:
            return connection.execute(query.order_by(deliveries.c.id)).all()

    def rows(self) -> list[str]:
        """Return the rows of all deliveries as text, to find the reason of a violation."""
        c = deliveries.c
        state = (c.id, c.repository, c.number, c.event, c.action, c.state, c.attempt, c.failures, c.crashes)
        times = (c.queued_at - c.received_at, c.finished_at - c.received_at, c.received_at, c.reason)
        return [" ".join(str(cell) for cell in row) for row in self._select(*state, *times)]

    def count_states(self) -> dict[str, int]:
        return dict(Counter(row.state for row in self._select(deliveries.c.state)))
