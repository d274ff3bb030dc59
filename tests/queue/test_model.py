"""The store against a simple model of it, in whatever order things happen, on both databases.

CI tries few and always the same sequences. `HLS_MODEL_EXAMPLES=2000 python -m pytest -n0 tests/queue/test_model.py`
tries that many on each database, others every time; a failure is shown as the shortest sequence that was found for it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as some
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace
from sqlalchemy import Engine, create_engine

from hls_handler.db.tables import metadata
from hls_handler.deliveries import PRIORITY_BOT_REQUEST, PRIORITY_PULL_REQUEST, Checkpoint, Lease, NewDelivery, State
from hls_handler.errors import LeaseLost, Postponed
from hls_handler.history.statistics import DeliveryRow
from hls_handler.storage import Storage
from tests.queue.builders import Skew, ignored, queued
from tests.queue.model import EDGES, Call, Entry, Model

TICK_S = 70  # between any two things that happen, far more than an example takes; it is no part of an hour
SETTLE_S, TURNS_APART_S, LEASE_S, LOCK_S, HOLD_S = (ticks * TICK_S for ticks in (0.5, 2.5, 8.5, 10.5, 12.5))
PAUSES_S = (0.0, 3.5 * TICK_S, 40.5 * TICK_S)
REPLAY_WINDOW_S = 500.5 * TICK_S
NEAR_S = 30  # less than half a tick: what the real time adds to ours
MAX_CRASHES, CALLS_PER_HOUR, CONCURRENCY = 2, 1, 2

OTHERS: Mapping[str, Mapping[str, Any]] = {
    "body elsewhere": {},
    "other body": {"digest": b"other", "body": b"other"},
    "other number": {"number": 9},
    "other event": {"event": "release"},
}
OUTCOMES = some.sampled_from(["ok", "unavailable", "refusal"])
SELDOM = some.sampled_from([False, False, True])
BODIES = (None, None, None, b"said twice of %s")
THREADS = some.sampled_from([1, 2, 3, None])
HEADS = some.sampled_from(["aaa", "bbb"])
KINDS: Mapping[str, Mapping[str, Any]] = {
    "issue": {},
    "comment": {"event": "issue_comment", "action": "created", "priority": PRIORITY_BOT_REQUEST},
    "push": {
        "event": "pull_request",
        "action": "synchronize",
        "priority": PRIORITY_PULL_REQUEST,
        "supersedes": "older_commits",
        "settle_s": SETTLE_S,
    },
    "edit": {"event": "pull_request", "action": "edited", "priority": PRIORITY_PULL_REQUEST},
    "close": {"action": "closed", "supersedes": "thread"},
    "reopen": {"action": "reopened"},
}


Fresh = tuple[str, int | None, str, bytes | None, bool]  # kind, number, head, body, whether it is ignored


def delivery(guid: str, kind: str, number: int | None, head: str, body: bytes | None, *, wanted: bool) -> NewDelivery:
    fields: dict[str, Any] = {"number": number, "repository": "octo/widgets" if number != 3 else "octo/gears"}
    fields |= KINDS[kind]
    if "event" in fields:
        fields["head_sha"] = head
    if body is not None:
        fields["body"] = body % str(number).encode()
    return queued(guid, **fields) if wanted else ignored(guid, **fields | {"body": b""})


class StoreAgainstModel(RuleBasedStateMachine):
    """Each rule does one thing to both, and holds what the store says against what the model says."""

    guids: Bundle[str] = Bundle("guids")
    drawn = some.tuples(some.sampled_from(["held", "held", "held", "over", "ended", "any"]), some.integers(0, 9))

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url, self.clock = url, Skew()
        self.store = self.open()
        self.model = Model(replay_window_s=REPLAY_WINDOW_S, lease_s=LEASE_S, max_crashes=MAX_CRASHES)
        self.began_at = self.store.now()
        self.sent = 0
        self.given: list[Lease] = []
        self.answered: set[str] = set()  # with 202
        self.seen: dict[str, State] = {}
        self.turn_taken_at, self.last_turn_at = -1e9, -1e9

    def open(self) -> Storage:
        return Storage.open(self.url, skew=self.clock)

    def teardown(self) -> None:
        for guid, entry in self.model.entries.items():
            steps = {name: step.value for (name, _), step in self.store.checkpoints.load(guid).items()}
            assert steps == entry.steps
            if entry.state == "queued":
                assert self.store.deliveries.body(guid) == entry.new.body
        self.store.close()

    # the door

    @initialize(target=guids, kinds=some.lists(some.sampled_from(sorted(KINDS)), min_size=3, max_size=6), head=HEADS)
    def work_waits(self, kinds: list[str], head: str) -> MultipleResults[str]:
        """Or most sequences would end before much has happened."""
        fresh: list[Fresh] = [(kind, 1 + n % 3, head, None, False) for n, kind in enumerate(kinds)]
        return self.come(fresh, [])

    @rule(
        target=guids,
        fresh=some.lists(
            some.tuples(some.sampled_from(sorted(KINDS)), THREADS, HEADS, some.sampled_from(BODIES), SELDOM),
            min_size=1,
            max_size=3,
        ),
        known=some.lists(some.tuples(guids, some.booleans()), max_size=2),
    )
    def deliveries_come(self, fresh: list[Fresh], known: list[tuple[str, bool]]) -> MultipleResults[str]:
        return self.come(fresh, known)

    def come(self, fresh: list[Fresh], known: list[tuple[str, bool]]) -> MultipleResults[str]:
        batch = []
        for kind, number, head, body, unwanted in fresh:
            self.sent += 1
            batch.append(delivery(f"g{self.sent}", kind, number, head, body, wanted=not unwanted))
        batch[1:1] = [self.again(guid, wanted=wanted) for guid, wanted in known]
        self.accept(batch)
        return multiple(*(new.guid for new in batch if new.guid in self.model.entries))

    @rule(target=guids, guid=guids, wanted=some.booleans(), how=some.sampled_from(["again", "twice", *OTHERS]))
    def a_known_one_comes(self, guid: str, wanted: bool, how: str) -> MultipleResults[str]:
        """Again, or its body under another GUID, or another delivery under its GUID."""
        again = self.again(self.settled(guid), wanted=wanted or how == "body elsewhere")
        if how == "body elsewhere":
            self.sent += 1
            again = replace(again, guid=f"g{self.sent}")
        known = again.guid in self.model.entries
        self.accept([replace(again, **OTHERS.get(how, {}))] * (2 if how == "twice" else 1))
        return multiple() if known or again.guid not in self.model.entries else multiple(again.guid)

    def settled(self, guid: str) -> str:
        """One that has ended, if there is any: what comes again after that is more of a question."""
        ended = [key for key, entry in self.model.entries.items() if entry.state not in ("queued", "running")]
        return guid if guid in ended or not ended else ended[len(guid) * self.sent % len(ended)]

    def again(self, guid: str, *, wanted: bool) -> NewDelivery:
        """What GitHub sends at a redelivery: the same, which the door may route otherwise by now."""
        was = self.model.entries[guid].new
        fields: dict[str, Any] = {
            name: getattr(was, name)
            for name in ("event", "action", "number", "repository", "head_sha", "priority", "supersedes", "settle_s")
        }
        return queued(guid, **fields | ({"body": was.body} if was.body else {})) if wanted else ignored(guid, **fields)

    def accept(self, batch: list[NewDelivery]) -> None:
        answers = self.store.queue.accept(batch, replay_window_h=REPLAY_WINDOW_S / 3600)
        for answer, expected in zip(answers, self.model.accept(batch), strict=True):
            assert answer.outcome == expected.outcome
            assert (answer.guid, answer.state) in expected.repeated
            if answer.outcome == "queued":
                self.answered.add(answer.guid)

    # workers

    @rule(workers=some.integers(1, 3))
    def workers_claim(self, workers: int) -> None:
        for _ in range(workers):
            self.claim()

    @rule()
    def workers_die_and_another_claims(self) -> None:
        self.time_passes(9)
        self.claim()

    def claim(self) -> None:
        lease = self.store.queue.claim(worker="w", lease_s=LEASE_S, max_crashes=MAX_CRASHES, concurrency=CONCURRENCY)
        expected = self.model.claim(concurrency=CONCURRENCY)
        until_due_s = self.model.seconds_until_due(concurrency=CONCURRENCY)
        found_s = self.store.queue.seconds_until_due(concurrency=CONCURRENCY)
        assert (found_s is None) == (until_due_s is None)
        assert found_s is None or until_due_s is None or abs(found_s - until_due_s) < NEAR_S
        if lease is None:
            assert expected is None, f"{expected} should have been claimed"
            assert until_due_s is None or until_due_s > 0  # or workers would spin
            return
        assert expected is not None, f"{lease} should not have been claimed"
        found = (lease.guid, lease.attempt)
        assert found == (expected.new.guid, expected.attempt), f"{found} was claimed and not {expected}"
        assert (lease.attempts, lease.failures, lease.crashes) == (
            expected.attempts,
            expected.failures,
            expected.crashes,
        )
        assert lease.body == expected.new.body
        earlier = [entry for entry in self.of_thread(lease) if entry.order < expected.order]
        assert not [entry for entry in earlier if entry.state in ("queued", "running")], "an earlier one is open"
        self.ask_what_is_newer(lease)
        self.given.append(lease)

    def of_thread(self, lease: Lease) -> list[Entry]:
        entries = self.model.entries.values()
        return [entry for entry in entries if entry.new.conversation_key == lease.conversation_key is not None]

    def one_of(self, drawn: tuple[str, int]) -> Lease | None:
        """A lease that is held, one whose delivery runs under another, one that has just ended, or any that was."""
        wanted, which = drawn
        if wanted == "ended":
            self.time_passes(9)
        if wanted == "held" and not any(map(self.model.holds, self.given)):
            self.claim()
        held = [lease for lease in self.given if self.model.holds(lease)]
        running = {lease.guid for lease in held}
        over = [lease for lease in self.given if lease.guid in running and lease not in held]
        ended = [lease for lease in self.given if self.model.entries[lease.guid].attempt == lease.attempt]
        choice = {"held": held, "over": over, "ended": ended, "any": []}[wanted] or self.given
        return choice[which % len(choice)] if choice else None

    def some_steps(self, lease: Lease, drawn: tuple[str, int]) -> tuple[Checkpoint, ...]:
        """None, one or two, which are to be kept with something else."""
        value = f'"under {lease.attempt} at {self.model.now}"'
        return tuple(Checkpoint(name, 0, 1, value) for name in ("gather", "apply")[: drawn[1] % 3])

    def keeps(self, lease: Lease, kept: Sequence[Checkpoint]) -> None:
        if kept:
            self.model.remember(lease.guid, kept)

    def lands(self, lease: Lease, write: Callable[[], object]) -> bool:
        """Whether a write under a lease is to be done; under one that is over it is refused."""
        if self.model.holds(lease):
            write()
            return True
        with pytest.raises(LeaseLost):
            write()
        return False

    @rule(drawn=drawn, how=some.sampled_from(["renew", "remember", "remember", "forget"]))
    def work_goes_on(self, drawn: tuple[str, int], how: str) -> None:
        lease = self.one_of(drawn)
        if lease is None:
            return
        value = f'"under {lease.attempt} at {self.model.now}"'
        if how == "renew" and self.lands(lease, lambda: self.store.queue.renew(lease, lease_s=LEASE_S)):
            self.model.renew(lease.guid)
        step = Checkpoint("ask", 0, 1, value)
        if how == "remember" and self.lands(lease, lambda: self.store.checkpoints.save(lease, step)):
            self.model.remember(lease.guid, [step])
        if how == "forget" and self.lands(lease, lambda: self.store.checkpoints.delete(lease, "ask")):
            self.model.entries[lease.guid].steps.pop("ask", None)

    @rule(drawn=drawn, state=some.sampled_from(["done", "done", "ignored", "superseded", "dead", "dead"]))
    def work_ends(self, drawn: tuple[str, int], state: State) -> None:
        lease = self.one_of(drawn)
        if lease is None:
            return
        kind = "no permission" if state == "ignored" else None
        handler = "IssueHandler"
        kept: tuple[Checkpoint, ...] = ()
        end = partial(self.store.queue.dead_letter, lease, reason="locked", handler=handler)
        if state in ("done", "ignored", "superseded"):
            kept = self.some_steps(lease, drawn)
            end = partial(
                self.store.queue.finish, lease, state, reason=None, kind=kind, handler=handler, took_s=1.0, changes=kept
            )
        if self.lands(lease, end):
            self.model.entries[lease.guid].steps |= {step.name: step.value for step in kept}
            self.model.finish(lease.guid, state, kind=kind, handler=handler)
        self.ask_what_is_newer(lease)

    @rule(drawn=drawn, by_s=some.sampled_from(PAUSES_S), failed=some.booleans(), counts=some.booleans())
    def work_is_postponed(self, drawn: tuple[str, int], by_s: float, failed: bool, counts: bool) -> None:
        lease = self.one_of(drawn)
        if lease is None:
            return
        at = self.store.now() + timedelta(seconds=by_s)
        postpone = partial(
            self.store.queue.reschedule, lease, at=at, reason="503", failed=failed, counts=failed and counts
        )
        if self.lands(lease, postpone):
            self.model.postpone(lease.guid, by_s=by_s, failed=failed, counts=failed and counts)

    def ask_what_is_newer(self, lease: Lease) -> None:
        later = self.store.queue.find_newer(lease, "issues/analyze")
        assert (later.head_sha, later.is_closed) == (self.model.newer_head(lease), self.model.closed_since(lease))

    # turns, locks and calls

    @rule(drawn=drawn)
    def a_turn_is_asked_for(self, drawn: tuple[str, int]) -> None:
        lease = self.one_of(drawn)
        if lease is None:
            return
        now, held_until, kept = self.model.now, self.model.held_until.get("github", -1e9), self.some_steps(lease, drawn)
        take = partial(self.store.rate_limiter.take_slot, lease, "github", interval_s=TURNS_APART_S, changes=kept)
        try:
            took = self.lands(lease, take)
        except Postponed as wait:
            self.keeps(lease, kept)
            at = self.seconds(wait.at)
            assert at >= max(now, held_until, self.turn_taken_at + TURNS_APART_S) - NEAR_S
            free = now >= max(held_until, self.last_turn_at + TURNS_APART_S + NEAR_S)
            assert not free, "nobody else is waiting: it should be this one's turn"
            self.last_turn_at = max(self.last_turn_at, at)
            return
        if took:
            self.keeps(lease, kept)
            assert now >= max(held_until, self.turn_taken_at + TURNS_APART_S - NEAR_S)
            self.turn_taken_at = now
            self.last_turn_at = max(self.last_turn_at, now)

    def a_server_says_to_wait(self, pace: str) -> None:
        self.store.rate_limiter.hold(pace, self.store.now() + timedelta(seconds=HOLD_S))
        self.model.hold_pace(pace, for_s=HOLD_S)
        if pace == "github":
            self.last_turn_at = max(self.last_turn_at, self.model.now + HOLD_S - TURNS_APART_S)

    @rule(drawn=drawn, give_back=SELDOM)
    def a_lock_is_asked_for_or_given_back(self, drawn: tuple[str, int], give_back: bool) -> None:
        lease = self.one_of(drawn)
        if lease is None:
            return
        kept = self.some_steps(lease, drawn)
        if give_back:
            if self.lands(lease, lambda: self.store.checkpoints.save(lease, *kept, unlock=True)):
                self.keeps(lease, kept)
                self.model.unlock(lease.guid)
            return
        try:
            landed = self.lands(lease, lambda: self.store.locks.acquire(lease, "comment", ttl_s=LOCK_S, changes=kept))
        except Postponed:
            assert not self.model.lock(lease.guid, "comment", ttl_s=LOCK_S)
            self.keeps(lease, kept)
            return
        if landed:
            assert self.model.lock(lease.guid, "comment", ttl_s=LOCK_S)
            self.keeps(lease, kept)

    @rule(
        drawn=drawn, times=some.sampled_from([0, 0, 1, 2]), outcome=some.sampled_from(["ok", "unavailable", "refusal"])
    )
    def a_call_begins_or_ends(self, drawn: tuple[str, int], times: int, outcome: str) -> None:
        if times and self.model.calls:
            call_id = list(self.model.calls)[drawn[1] % len(self.model.calls)]
            for _ in range(times):
                self.end_call(call_id, outcome)
            return
        lease = self.one_of(drawn)
        if lease is None:
            return
        within = self.model.calls_last_hour() < CALLS_PER_HOUR
        free = within and self.model.now >= self.model.held_until.get("claude", -1e9)
        begun: list[int] = []
        kept = self.some_steps(lease, drawn)
        try:
            landed = self.lands(lease, lambda: begun.append(self.begin_call(lease, kept)))
        except Postponed as wait:
            self.keeps(lease, kept)
            self.must_wait(wait, free=free, within=within)
            return
        if landed:
            assert free
            self.keeps(lease, kept)
            self.model.calls[begun[0]] = Call(lease, self.model.now)

    def must_wait(self, wait: Postponed, *, free: bool, within: bool) -> None:
        assert not free
        assert (wait.waiting_for == "claude") == (not within)
        assert self.seconds(wait.at) > self.model.now

    def begin_call(self, lease: Lease, kept: Sequence[Checkpoint]) -> int:
        return self.store.calls.begin(
            lease,
            index=0,
            prompt_id="issues/analyze@1",
            model="claude-haiku",
            sender=None,
            requests_per_second=1e9,
            calls_per_hour=CALLS_PER_HOUR,
            changes=kept,
        )

    def end_call(self, call_id: int, outcome: str) -> None:
        """Once, whoever holds the lease by now: the money is spent."""
        known = self.model.calls[call_id]
        self.store.calls.end(known.lease, call_id, outcome=outcome, usage=None, error=None)
        if known.outcome is None:
            known.outcome = outcome
            self.model.counters.update([("claude_calls", outcome), ("prompt_calls", "issues/analyze@1")])

    # the operator, and time

    @rule(what=some.sampled_from(["pause", "resume", "reopen", "start", "hold", "hold"]), first=some.booleans())
    def something_else_happens(self, what: str, first: bool) -> None:
        """Rules are tried equally often; of these, one in eleven is enough."""
        repository = None if first else "octo/widgets"
        match what:
            case "pause":
                assert self.store.pauses.pause(repository, reason=None) == ((repository or "") not in self.model.paused)
                self.model.paused.add(repository or "")
            case "resume":
                for name in [repository, *(paused or None for paused in sorted(self.model.paused))]:
                    assert self.store.pauses.resume(name) == ((name or "") in self.model.paused)
                    self.model.paused.discard(name or "")
            case "reopen":
                self.store.close()
                self.store = self.open()
            case "start":
                self.the_only_service_starts()
            case "hold":
                self.a_server_says_to_wait("github" if first else "claude")

    @rule(guid=guids)
    def an_operator_runs_it_again(self, guid: str) -> None:
        dead = [key for key, entry in self.model.entries.items() if entry.state == "dead"]
        guid = dead[-1] if dead else guid
        assert self.store.queue.retry(guid) == self.model.requeue(guid)

    @rule(ticks=some.sampled_from([1, 4, 9, 9, 9, 41, 60, 600]))
    def time_passes(self, ticks: int) -> None:
        self.clock.pass_by(seconds=ticks * TICK_S)
        self.model.now += ticks * TICK_S

    def the_only_service_starts(self) -> None:
        assert self.store.queue.release_all_leases() == self.model.release_all_leases()
        assert self.store.queue.reschedule_waiting() == self.model.wait_no_more()
        assert (self.store.rate_limiter.held_until("github"), self.store.rate_limiter.held_until("claude")) == (
            None,
            None,
        )
        self.last_turn_at = self.turn_taken_at

    # what holds after each

    @invariant()
    def the_store_is_as_the_model_says(self) -> None:
        """A tick passes after each rule, so that the model knows what is due without knowing the time to the second."""
        self.compare_deliveries()
        self.compare_counters()
        self.time_passes(1)

    def compare_deliveries(self) -> None:
        rows = {row.guid: row for row in self.store.deliveries.newest(limit=1000)}
        assert self.answered <= rows.keys(), "a delivery that was answered 202 is lost"
        assert rows.keys() == self.model.entries.keys()
        for guid, row in rows.items():
            self.compare(row, self.model.entries[guid])
        running = Counter(row.number for row in rows.values() if row.state == "running" and row.number is not None)
        assert set(running.values()) <= {1}, "two of a thread run at once"
        assert sum(row.state == "running" for row in rows.values()) <= CONCURRENCY
        for guid, before in self.seen.items():
            now = rows[guid].state
            assert now == before or EDGES[before], f"{guid} was {before} for good and is {now}"
        self.seen = {guid: row.state for guid, row in rows.items()}

    def compare_counters(self) -> None:
        counters = Counter(self.store.statistics.counters())
        took_ms = counters.pop(("processing_ms", ""), 0)
        assert took_ms > -1000 * NEAR_S * (1 + counters["processing_count", ""])
        buckets = {key: counters.pop(key) for key in list(counters) if key[0] == "processing_le"}
        assert sum(buckets.values()) == counters["processing_count", ""] == counters["outcome", "done"]
        assert +counters == +self.model.counters
        repeated = counters["outcome", "duplicate"] + counters["outcome", "replay"]
        states = Counter(self.seen.values())
        for state in ("done", "superseded"):  # for good
            assert counters["outcome", state] == states[state]
        assert counters["webhooks", ""] >= len(self.seen) + repeated
        ignored_by_reason = sum(value for (name, _), value in counters.items() if name == "ignored")
        assert ignored_by_reason == counters["outcome", "ignored"]
        assert self.store.calls.count_last_hour() == self.model.calls_last_hour()

    def compare(self, row: DeliveryRow, entry: Entry) -> None:
        found = (row.state, row.attempt, row.attempts, row.failures, row.crashes, row.number, row.head_sha)
        expected = (entry.state, entry.attempt, entry.attempts, entry.failures, entry.crashes)
        assert found == (*expected, entry.new.number, entry.new.head_sha), row.guid
        assert (row.lease_until is None) == (row.worker is None) == (entry.state != "running")
        assert (row.finished_at is None) == (entry.state in ("queued", "running"))
        assert (row.first_failure_at is None) == (entry.first_failure_at is None)
        if entry.state == "queued":
            assert abs(self.seconds(row.due_at) - entry.due_at) < NEAR_S, f"{row.guid} is due at another time"
        if row.lease_until is not None:
            assert abs(self.seconds(row.lease_until) - entry.lease_until) < NEAR_S

    def seconds(self, moment: Any) -> float:
        return float((moment - self.began_at).total_seconds())


def test_the_store_does_what_a_simple_model_of_it_does(url: str) -> None:
    asked_for = os.environ.get("HLS_MODEL_EXAMPLES")
    effort = settings(
        max_examples=int(asked_for or 25),
        stateful_step_count=50,
        derandomize=asked_for is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    engine = create_engine(url)
    make_one = cast(type[StoreAgainstModel], lambda: StoreAgainstModel(emptied(url, engine)))
    run_state_machine_as_test(make_one, settings=effort)
    engine.dispose()


def emptied(url: str, engine: Engine) -> str:
    """Making a database for each example takes longer than the example."""
    Storage.open(url).close()
    with engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
    return url
