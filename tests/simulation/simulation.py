"""A schedule: webhooks, faults and kills of several machines in virtual time, and what it must end
with.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from hls_handler.analysis import RenderedPrompt, ReplyFields
from hls_handler.background.health_checks import ClockSteps
from hls_handler.background.threads import PROBE_EVERY_S
from hls_handler.batches.recorded import RUNS
from hls_handler.db import tables
from hls_handler.deliveries import NewDelivery
from hls_handler.engine.active_config import ChosenAccount, DeliveryConfig
from hls_handler.engine.health import Health
from hls_handler.engine.job import WorkerContext
from hls_handler.engine.pipeline import run_delivery
from hls_handler.engine.shown_check import END_EVERY_S, CheckEnder
from hls_handler.prompting import recorded
from hls_handler.queue.leases import EXPIRY, HeldLeases
from hls_handler.settings.effective import RepositoryTable
from hls_handler.store.storage import Storage
from tests.engine.world import BUG, library, settings
from tests.handlers.world import HLS, ISSUE, finding, pull_request, pull_request_analysis
from tests.queue.builders import ClockedDatabase, queued
from tests.simulation.github import Faults, SimulatedClaude, SimulatedGithub
from tests.simulation.scheduler import Machine, Scheduler
from tests.sqlite import create_database

FAULTS_END_S = 240.0
LIVENESS_S = 600.0
"""Ten minutes after the last fault, everything is done."""

POLL_S = 20.0
REST_S = 0.05
CONCURRENCY = 2
REPOSITORY = "Codertocat/Hello-World"
FINAL = ("done", "ignored", "superseded")


class SimulatedDatabase(ClockedDatabase):
    """An SQLite database with the scheduler's clock. Other machines may run before and after each
    transaction.

    No commit waits for the disk: machines are killed, but the power does not fail.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(create_database(file), lambda: self.scheduler.now())
        self.scheduler = Scheduler(0)
        # of all schedules and machines: it keeps nothing that a restart would lose
        self.storage = Storage(self)

    def secret(self, name: str) -> bytes:
        return name.encode()

    def begin(self, scheduler: Scheduler) -> None:
        """Delete all rows, and use the clock of this scheduler."""
        self.empty()
        self.scheduler = scheduler

    @contextmanager
    def writing(self, *, durable: bool = True, has_timeout: bool = True) -> Iterator[Connection]:
        self.scheduler.pass_turn()
        with super().writing(durable=False, has_timeout=has_timeout) as connection:
            yield connection
        self.scheduler.pass_turn()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        self.scheduler.pass_turn()
        with super().reading() as connection:
            yield connection


@dataclass
class Conversation:
    """An issue or pull request, and the webhooks that change it."""

    number: int
    is_pull_request: bool
    revision: int = 0

    @property
    def title(self) -> str:
        return f"Title {self.number} revision {self.revision}"

    @property
    def head_sha(self) -> str:
        return f"{self.number:020x}{self.revision:020x}"


class Simulation:
    """One schedule. `log` lists the kills, freezes and steps of the clock."""

    def __init__(self, seed: int, database: SimulatedDatabase) -> None:
        self.database, self.log = database, list[str]()
        self.scheduler = Scheduler(seed)
        self.random = self.scheduler.random
        self.faults = Faults(self.scheduler)
        self.github = SimulatedGithub(self.scheduler, self.faults)
        self.claude = SimulatedClaude(self.scheduler, self.faults, self._answer)
        self.database.begin(self.scheduler)
        self.store = self.database.storage
        self.settings = settings(limits={"concurrency": CONCURRENCY})
        self.machines: list[Machine] = []
        self.accepted: dict[str, tuple[int, int]] = {}  # by GUID: number of the conversation, order
        self.conversations = [
            Conversation(n, is_pull_request=n % 2 == 0) for n in range(1, self.random.randint(3, 5))
        ]
        self.health = Health(self.scheduler.now)
        self.stepped_s = -math.inf
        self.done: list[str] = []  # GUIDs, in the order of their ends

    def run(self) -> list[str]:
        """Run the schedule, and return the promises that it broke."""
        try:
            for number in range(self.random.randint(2, 4)):
                self._start_machine(f"m{number}")
            outside = Machine("outside")
            for conversation in self.conversations:
                self._change(conversation)
                self.scheduler.start(
                    outside, partial(self._send, conversation), after_s=self.random.uniform(0, 60)
                )
            self.scheduler.start(outside, self._disturb)
            self.scheduler.run(FAULTS_END_S)
            until_s = FAULTS_END_S + LIVENESS_S
            while self.scheduler.seconds < until_s and [*self._find_violations()]:
                self.scheduler.run(min(self.scheduler.seconds + 60.0, until_s))
            return [*self._find_violations()]
        finally:
            self.scheduler.end()

    # The machines

    def _start_machine(self, name: str) -> None:
        machine = Machine(name)
        self.machines.append(machine)
        self.scheduler.start(machine, partial(self._serve, machine))

    def _serve(self, machine: Machine) -> None:
        self.store.queue.reschedule_waiting(forget_servers=False)
        leases = HeldLeases(
            lambda lease, lease_s: self.store.queue.renew(lease, lease_s=lease_s),
            clock=self._machine_seconds,
        )
        self.scheduler.start(machine, partial(self._work, leases, machine.name))
        self.scheduler.start(machine, self._end_checks)
        self.scheduler.start(machine, self._probe)
        while True:
            self.scheduler.sleep(EXPIRY.lease_s / 3)
            leases.renew_all()

    def _probe(self) -> None:
        steps = ClockSteps(self.database, self.store.queue, clock=self._machine_seconds)
        while True:
            steps.check()
            self.scheduler.sleep(PROBE_EVERY_S)

    def _work(self, leases: HeldLeases, name: str) -> None:
        limits = self.settings.limits
        while True:
            due_s = self.store.queue.seconds_until_due(concurrency=limits.concurrency)
            if due_s != 0:
                self.scheduler.sleep(POLL_S if due_s is None else min(due_s, POLL_S))
                continue
            asked_at = leases.now()
            lease = self.store.queue.claim(worker=name, concurrency=limits.concurrency)
            if lease is None:
                self.scheduler.sleep(REST_S)
                continue
            leases.add(lease, asked_at=asked_at)
            try:
                if (
                    ended := run_delivery(lease, self._context(leases))
                ) is not None and ended.state == "done":
                    self.done.append(lease.guid)
            finally:
                leases.remove(lease)

    def _machine_seconds(self) -> float:
        return self.scheduler.seconds

    def _end_checks(self) -> None:
        def wait(seconds: float) -> bool:
            self.scheduler.sleep(seconds)
            return False

        ender = CheckEnder(
            self.store,
            lambda: self.github,
            settings=lambda: self.settings,
            wait=wait,
            clock=self._machine_seconds,
        )
        while True:
            self.scheduler.sleep(END_EVERY_S)
            ender.run()

    def _context(self, leases: HeldLeases) -> WorkerContext:
        return WorkerContext(
            store=self.store,
            leases=leases,
            github=self.github,
            claude=self.claude,
            health=self.health,
            runs=RUNS,
            config=DeliveryConfig(self.settings, RepositoryTable(self.settings), library()),
            choose_account=lambda _repository_id, _number: ChosenAccount(self.github, HLS),
            stopping=lambda: False,
            pause=self.scheduler.sleep,
            jitter=self.random.random,
            clock=self._machine_seconds,
        )

    # The world outside

    def _change(self, conversation: Conversation) -> None:
        """Make the present state of a conversation that of its revision."""
        number, title = conversation.number, conversation.title
        if conversation.is_pull_request:
            self.github.pull_requests[number] = pull_request(
                number=number, title=title, head_sha=conversation.head_sha
            )
        else:
            self.github.issues[number] = replace(ISSUE, number=number, title=title)

    def _send(self, conversation: Conversation) -> None:
        for revision in range(self.random.randint(1, 4)):
            conversation.revision = revision
            self._change(conversation)
            guid = f"{conversation.number}-{revision}"
            new = self._delivery(conversation, guid)
            for _ in range(self.random.choice((1, 1, 2))):  # GitHub redelivers
                self.store.queue.accept([new])
            self.accepted[guid] = (conversation.number, revision)
            self.scheduler.sleep(self.random.choice((0.1, 3.0, 20.0, 50.0)))

    def _delivery(self, conversation: Conversation, guid: str) -> NewDelivery:
        kind = "pull_request" if conversation.is_pull_request else "issues"
        payload: Any = json.loads(recorded.load(f"{kind}.opened").body)
        action = (
            "opened"
            if conversation.revision == 0
            else "edited"
            if kind == "issues"
            else "synchronize"
        )
        subject = payload["pull_request" if conversation.is_pull_request else "issue"]
        subject |= {"number": conversation.number, "title": conversation.title}
        payload["action"], sha = action, None
        if conversation.is_pull_request:
            payload["number"] = conversation.number
            sha = payload["pull_request"]["head"]["sha"] = conversation.head_sha
        elif action == "edited":
            payload["changes"] = {"title": {"from": "an earlier title"}}
        return queued(
            guid,
            event=kind,
            action=action,
            repository_id=186853002,
            repository=REPOSITORY,
            number=conversation.number,
            head_sha=sha,
            body=json.dumps(payload).encode(),
            supersedes="older_commits" if sha else "nothing",
        )

    def _answer(self, rendered: RenderedPrompt) -> ReplyFields:
        if rendered.prompt.reply == "pull_request_analysis":
            return pull_request_analysis(findings=[finding()])
        found = re.search(r"Title \d+ revision \d+", rendered.task)
        return BUG.model_copy(
            update={"summary": found[0] if found else "", "missing": ["The version"]}
        )

    def _disturb(self) -> None:
        """Kill and freeze machines, step the clock, and let requests fail, until `FAULTS_END_S`."""
        self.faults.github_percent = self.random.choice((0, 0, 5, 15))
        self.faults.claude_percent = self.random.choice((0, 0, 10, 30))
        while self.scheduler.seconds < FAULTS_END_S:
            self.scheduler.sleep(self.random.uniform(5, 60))
            self._disturb_once()
        self.faults.github_percent = self.faults.claude_percent = 0.0

    def _disturb_once(self) -> None:
        machine = self.random.choice(self.machines)
        kind = self.random.choice(("kill", "freeze", "step", "nothing"))
        # Limits of ADR 7: two steps that undo each other, a step that no process notices, and a
        # step forward while a write has no response.
        since_step_s = self.scheduler.seconds - self.stepped_s
        if since_step_s < (2 * PROBE_EVERY_S if kind == "step" else PROBE_EVERY_S):
            kind = "nothing"
        self.log.append(f"{self.scheduler.seconds:.1f} s: {kind} {machine.name}")
        if kind == "kill":
            machine.is_killed = True
            self.machines.remove(machine)
            self._start_machine(f"{machine.name}'")
        elif kind == "freeze":
            machine.frozen_until_s = self.scheduler.seconds + self.random.choice(
                (1.0, 20.0, 40.0, 100.0)
            )
        elif kind == "step":
            self.stepped_s = self.scheduler.seconds
            with self.database.reading() as connection:
                is_writing = connection.execute(select(tables.locks)).first() is not None
            forward = () if is_writing else (1, 60, 3600)
            step_s = self.random.choice((-3600, -60, -1, *forward))
            self.scheduler.clock_step += timedelta(seconds=step_s)
            self.log.append(f"the clock is set by {step_s} s")
        if kind != "nothing":  # a step of the clock ends the leases of all running deliveries
            self.faults.interruptions += CONCURRENCY if kind == "step" else 1

    # The promises

    def _find_violations(self) -> Iterator[str]:
        yield from self._check_deliveries()
        yield from self._check_github()
        yield from self._check_calls()

    def _check_deliveries(self) -> Iterator[str]:
        with self.database.reading() as connection:
            rows = {row.guid: row for row in connection.execute(select(tables.deliveries))}
        yield from (
            f"{guid} was accepted and is lost" for guid in self.accepted if guid not in rows
        )
        for guid, row in rows.items():
            if row.state not in FINAL:
                yield f"{guid} is {row.state} after {LIVENESS_S:g} s without faults: {row.reason}"
        latest: dict[int, str] = {}
        for guid in self.done:
            number, order = self.accepted[guid]
            other = latest.get(number, guid)
            # a machine can freeze after it stored the end, before the end is noted in `done`
            is_later = rows[guid].finished_at > rows[other].finished_at
            if is_later and self.accepted[other][1] > order:
                yield f"{guid} was done after a later delivery of its conversation"
            latest[number] = guid

    def _check_github(self) -> Iterator[str]:
        written = self.github.written
        of_family = Counter(comment[:2] for comment in written.comments.values())
        yield from (f"{count} comments {key}" for key, count in of_family.items() if count > 1)
        yield from (
            f"{count} comments on the line of {key}"
            for key, count in Counter(written.findings).items()
            if count > 1
        )
        yield from (
            f"the check {key} is in progress"
            for key, state in written.checks.items()
            if state == "in_progress"
        )
        for conversation in self.conversations:
            number = conversation.number
            if not conversation.is_pull_request:
                bodies = [body for of, _, body in written.comments.values() if of == number]
                if not bodies:
                    yield f"issue {number} has no comment"
            elif not any(commit == conversation.head_sha for commit, _ in written.checks):
                yield f"the head {conversation.head_sha} has no check"

    def _check_calls(self) -> Iterator[str]:
        extra = sum(count - 1 for count in self.claude.paid.values())
        if extra > self.faults.interruptions:
            yield (
                f"{extra} calls of Claude were paid twice, and {self.faults.interruptions}"
                " interruptions explain some"
            )
