"""Compare the storage with a simple model in random sequences of operations, on both databases.

CI runs few sequences, always the same. `HLS_MODEL_EXAMPLES=2000 python -m pytest -n0 tests/queue/test_model.py` runs
that many random ones on each database. Hypothesis reports a failure as the shortest sequence that it found.
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
from hls_handler.queue.locks import LocksReleased
from hls_handler.storage import Storage
from hls_handler.store.calls import StartedCall
from hls_handler.store.statistics import DeliveryRow
from tests.queue.builders import Skew, find_newer, ignored, queued
from tests.queue.model import TRANSITIONS, Call, Entry, Model

STEP_S = 70  # between two operations: far longer than an example takes, and no divisor of an hour
SETTLE_S, SLOT_INTERVAL_S, LEASE_S, LOCK_S, HOLD_S = (steps * STEP_S for steps in (0.5, 2.5, 8.5, 10.5, 12.5))
DELAYS_S = (0.0, 3.5 * STEP_S, 40.5 * STEP_S)
REPLAY_WINDOW_S = 500.5 * STEP_S
TOLERANCE_S = 30  # for the real time that passes: less than half a step
MAX_CRASHES, CALLS_PER_HOUR, CONCURRENCY = 2, 1, 2

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "body elsewhere": {},
    "other body": {"digest": b"other", "body": b"other"},
    "other number": {"number": 9},
    "other event": {"event": "release"},
}
OUTCOMES = some.sampled_from(["ok", "unavailable", "refusal"])
RARELY = some.sampled_from([False, False, True])
BODIES = (None, None, None, b"said twice of %s")
NUMBERS = some.sampled_from([1, 2, 3, None])
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
    "close": {"action": "closed", "supersedes": "all"},
    "reopen": {"action": "reopened"},
}


NewFields = tuple[str, int | None, str, bytes | None, bool]  # kind, number, head, body, is_ignored


def delivery(
    guid: str, kind: str, number: int | None, head: str, body: bytes | None, *, is_queued: bool
) -> NewDelivery:
    fields: dict[str, Any] = {"number": number, "repository": "octo/widgets" if number != 3 else "octo/gears"}
    fields |= KINDS[kind]
    if "event" in fields:
        fields["head_sha"] = head
    if body is not None:
        fields["body"] = body % str(number).encode()
    return queued(guid, **fields) if is_queued else ignored(guid, **fields | {"body": b""})


class StoreAgainstModel(RuleBasedStateMachine):
    """Each rule performs one operation on the storage and on the model, and compares the results."""

    guids: Bundle[str] = Bundle("guids")
    lease_choice = some.tuples(some.sampled_from(["held", "held", "held", "over", "ended", "any"]), some.integers(0, 9))

    def __init__(self, url: str, reached: set[State]) -> None:
        super().__init__()
        self.url, self.reached, self.clock = url, reached, Skew()
        self.store = self.open()
        self.model = Model(replay_window_s=REPLAY_WINDOW_S, lease_s=LEASE_S, max_crashes=MAX_CRASHES)
        self.began_at = self.store.now()
        self.sent = 0
        self.leases: list[Lease] = []
        self.accepted: set[str] = set()  # GUIDs of queued deliveries
        self.seen: dict[str, State] = {}
        self.last_granted_at, self.last_slot_at = -1e9, -1e9

    def open(self) -> Storage:
        return Storage.open(self.url, skew=self.clock)

    def teardown(self) -> None:
        for guid, entry in self.model.entries.items():
            checkpoints = {
                name: checkpoint.value for (name, _), checkpoint in self.store.checkpoints.load(guid).items()
            }
            assert checkpoints == entry.checkpoints
            if entry.state == "queued":
                assert self.store.deliveries.body(guid) == entry.new.body
        self.store.close()

    # accepting

    @initialize(target=guids, kinds=some.lists(some.sampled_from(sorted(KINDS)), min_size=3, max_size=6), head=HEADS)
    def deliveries_are_queued(self, kinds: list[str], head: str) -> MultipleResults[str]:
        """Queue some deliveries first; most sequences would otherwise end before a claim."""
        new_fields: list[NewFields] = [(kind, 1 + n % 3, head, None, False) for n, kind in enumerate(kinds)]
        return self.send(new_fields, [])

    @rule(
        target=guids,
        new_fields=some.lists(
            some.tuples(some.sampled_from(sorted(KINDS)), NUMBERS, HEADS, some.sampled_from(BODIES), RARELY),
            min_size=1,
            max_size=3,
        ),
        known=some.lists(some.tuples(guids, some.booleans()), max_size=2),
    )
    def deliveries_are_sent(self, new_fields: list[NewFields], known: list[tuple[str, bool]]) -> MultipleResults[str]:
        return self.send(new_fields, known)

    def send(self, new_fields: list[NewFields], known: list[tuple[str, bool]]) -> MultipleResults[str]:
        batch = []
        for kind, number, head, body, is_ignored in new_fields:
            self.sent += 1
            batch.append(delivery(f"g{self.sent}", kind, number, head, body, is_queued=not is_ignored))
        batch[1:1] = [self.redelivery(guid, is_queued=is_queued) for guid, is_queued in known]
        self.accept(batch)
        return multiple(*(new.guid for new in batch if new.guid in self.model.entries))

    @rule(
        target=guids, guid=guids, is_queued=some.booleans(), operation=some.sampled_from(["again", "twice", *VARIANTS])
    )
    def known_delivery_is_sent(self, guid: str, is_queued: bool, operation: str) -> MultipleResults[str]:
        """Send a delivery again, its body with another GUID, or another delivery with its GUID."""
        redelivery = self.redelivery(self.choose_finished(guid), is_queued=is_queued or operation == "body elsewhere")
        if operation == "body elsewhere":
            self.sent += 1
            redelivery = replace(redelivery, guid=f"g{self.sent}")
        is_known = redelivery.guid in self.model.entries
        self.accept([replace(redelivery, **VARIANTS.get(operation, {}))] * (2 if operation == "twice" else 1))
        return multiple() if is_known or redelivery.guid not in self.model.entries else multiple(redelivery.guid)

    def choose_finished(self, guid: str) -> str:
        """A finished delivery if there is one, because redeliveries of those have more cases; otherwise `guid`."""
        ended = [key for key, entry in self.model.entries.items() if entry.state not in ("queued", "running")]
        return guid if guid in ended or not ended else ended[len(guid) * self.sent % len(ended)]

    def redelivery(self, guid: str, *, is_queued: bool) -> NewDelivery:
        """The same delivery again; it may be routed differently this time."""
        was = self.model.entries[guid].new
        fields: dict[str, Any] = {
            name: getattr(was, name)
            for name in ("event", "action", "number", "repository", "head_sha", "priority", "supersedes", "settle_s")
        }
        return (
            queued(guid, **fields | ({"body": was.body} if was.body else {})) if is_queued else ignored(guid, **fields)
        )

    def accept(self, batch: list[NewDelivery]) -> None:
        results = self.store.queue.accept(batch, replay_window_h=REPLAY_WINDOW_S / 3600)
        for result, expected in zip(results, self.model.accept(batch), strict=True):
            assert result.outcome == expected.outcome
            assert (result.guid, result.state) in expected.duplicates_of
            if result.outcome == "queued":
                self.accepted.add(result.guid)

    # workers

    @rule(workers=some.integers(1, 3))
    def workers_claim_deliveries(self, workers: int) -> None:
        for _ in range(workers):
            self.claim()

    @rule()
    def leases_expire_and_another_worker_claims(self) -> None:
        self.time_passes(9)
        self.claim()

    def claim(self) -> None:
        lease = self.store.queue.claim(worker="w", lease_s=LEASE_S, max_crashes=MAX_CRASHES, concurrency=CONCURRENCY)
        expected = self.model.claim(concurrency=CONCURRENCY)
        until_due_s = self.model.seconds_until_due(concurrency=CONCURRENCY)
        found_s = self.store.queue.seconds_until_due(concurrency=CONCURRENCY)
        assert (found_s is None) == (until_due_s is None)
        assert found_s is None or until_due_s is None or abs(found_s - until_due_s) < TOLERANCE_S
        if lease is None:
            assert expected is None, f"{expected} should have been claimed"
            assert until_due_s is None or until_due_s > 0  # otherwise workers would poll without a pause
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
        earlier = [entry for entry in self.of_conversation(lease) if entry.order < expected.order]
        assert not [entry for entry in earlier if entry.state in ("queued", "running")], "an earlier one is open"
        self.compare_newer(lease)
        self.leases.append(lease)

    def of_conversation(self, lease: Lease) -> list[Entry]:
        entries = self.model.entries.values()
        return [entry for entry in entries if entry.new.conversation_key == lease.conversation_key is not None]

    def choose_lease(self, lease_choice: tuple[str, int]) -> Lease | None:
        """A current lease, one replaced by another worker's, one that has just ended, or any earlier one."""
        kind, index = lease_choice
        if kind == "ended":
            self.time_passes(9)
        if kind == "held" and not any(map(self.model.is_held, self.leases)):
            self.claim()
        held = [lease for lease in self.leases if self.model.is_held(lease)]
        running = {lease.guid for lease in held}
        over = [lease for lease in self.leases if lease.guid in running and lease not in held]
        ended = [lease for lease in self.leases if self.model.entries[lease.guid].attempt == lease.attempt]
        choice = {"held": held, "over": over, "ended": ended, "any": []}[kind] or self.leases
        return choice[index % len(choice)] if choice else None

    def choose_checkpoints(self, lease: Lease, lease_choice: tuple[str, int]) -> tuple[Checkpoint, ...]:
        """None, one or two checkpoints to save with another write."""
        value = f'"under {lease.attempt} at {self.model.now}"'
        return tuple(Checkpoint(name, 0, 1, value) for name in ("gather", "post")[: lease_choice[1] % 3])

    def save_in_model(self, lease: Lease, checkpoints: Sequence[Checkpoint]) -> None:
        if checkpoints:
            self.model.save_checkpoints(lease.guid, checkpoints)

    def is_written(self, lease: Lease, write: Callable[[], object]) -> bool:
        """Perform a write; returns whether the lease is current. Otherwise the write must raise `LeaseLost`."""
        if self.model.is_held(lease):
            write()
            return True
        with pytest.raises(LeaseLost):
            write()
        return False

    @rule(lease_choice=lease_choice, operation=some.sampled_from(["renew", "save", "save", "delete"]))
    def worker_continues(self, lease_choice: tuple[str, int], operation: str) -> None:
        lease = self.choose_lease(lease_choice)
        if lease is None:
            return
        value = f'"under {lease.attempt} at {self.model.now}"'
        if operation == "renew" and self.is_written(lease, lambda: self.store.queue.renew(lease, lease_s=LEASE_S)):
            self.model.renew(lease.guid)
        checkpoint = Checkpoint("ask", 0, 1, value)
        if operation == "save" and self.is_written(lease, lambda: self.store.checkpoints.save(lease, checkpoint)):
            self.model.save_checkpoints(lease.guid, [checkpoint])
        if operation == "delete" and self.is_written(lease, lambda: self.store.checkpoints.delete(lease, "ask")):
            self.model.entries[lease.guid].checkpoints.pop("ask", None)

    @rule(lease_choice=lease_choice, state=some.sampled_from(["done", "done", "ignored", "superseded", "dead", "dead"]))
    def worker_finishes(self, lease_choice: tuple[str, int], state: State) -> None:
        lease = self.choose_lease(lease_choice)
        if lease is None:
            return
        kind = "no permission" if state == "ignored" else None
        handler = "IssueHandler"
        checkpoints: tuple[Checkpoint, ...] = ()
        end = partial(self.store.queue.dead_letter, lease, reason="locked", handler=handler)
        if state in ("done", "ignored", "superseded"):
            checkpoints = self.choose_checkpoints(lease, lease_choice)
            end = partial(
                self.store.queue.finish,
                lease,
                state,
                reason=None,
                kind=kind,
                handler=handler,
                took_s=1.0,
                changes=checkpoints,
            )
        if self.is_written(lease, end):
            self.model.entries[lease.guid].checkpoints |= {
                checkpoint.name: checkpoint.value for checkpoint in checkpoints
            }
            self.model.finish(lease.guid, state, kind=kind, handler=handler)
        self.compare_newer(lease)

    @rule(lease_choice=lease_choice, by_s=some.sampled_from(DELAYS_S), failed=some.booleans(), counts=some.booleans())
    def worker_reschedules(self, lease_choice: tuple[str, int], by_s: float, failed: bool, counts: bool) -> None:
        lease = self.choose_lease(lease_choice)
        if lease is None:
            return
        at = self.store.now() + timedelta(seconds=by_s)
        reschedule = partial(
            self.store.queue.reschedule, lease, at=at, reason="503", failed=failed, counts=failed and counts
        )
        if self.is_written(lease, reschedule):
            self.model.reschedule(lease.guid, by_s=by_s, failed=failed, counts=failed and counts)

    def compare_newer(self, lease: Lease) -> None:
        newer = find_newer(self.store, lease, "issues/analyze")
        assert (newer.head_sha, newer.is_closed) == (self.model.newer_head(lease), self.model.closed_since(lease))

    # rate limits, locks and calls

    @rule(lease_choice=lease_choice)
    def slot_is_requested(self, lease_choice: tuple[str, int]) -> None:
        lease = self.choose_lease(lease_choice)
        if lease is None:
            return
        now, held_until = self.model.now, self.model.held_until.get("github", -1e9)
        checkpoints = self.choose_checkpoints(lease, lease_choice)
        take = partial(
            self.store.rate_limiter.take_slot, lease, "github", interval_s=SLOT_INTERVAL_S, changes=checkpoints
        )
        try:
            is_granted = self.is_written(lease, take)
        except Postponed as postponed:
            self.save_in_model(lease, checkpoints)
            slot_at = self.seconds(postponed.at)
            assert slot_at >= max(now, held_until, self.last_granted_at + SLOT_INTERVAL_S) - TOLERANCE_S
            is_free = now >= max(held_until, self.last_slot_at + SLOT_INTERVAL_S + TOLERANCE_S)
            assert not is_free, "a free slot was not granted"
            self.last_slot_at = max(self.last_slot_at, slot_at)
            return
        if is_granted:
            self.save_in_model(lease, checkpoints)
            assert now >= max(held_until, self.last_granted_at + SLOT_INTERVAL_S - TOLERANCE_S)
            self.last_granted_at = now
            self.last_slot_at = max(self.last_slot_at, now)

    def server_dictates_a_wait(self, name: str) -> None:
        self.store.rate_limiter.hold(name, self.store.now() + timedelta(seconds=HOLD_S))
        self.model.hold(name, for_s=HOLD_S)
        if name == "github":
            self.last_slot_at = max(self.last_slot_at, self.model.now + HOLD_S - SLOT_INTERVAL_S)

    @rule(lease_choice=lease_choice, is_released=RARELY)
    def lock_is_acquired_or_released(self, lease_choice: tuple[str, int], is_released: bool) -> None:
        lease = self.choose_lease(lease_choice)
        if lease is None:
            return
        checkpoints = self.choose_checkpoints(lease, lease_choice)
        if is_released:
            if self.is_written(lease, lambda: self.store.checkpoints.save(lease, *checkpoints, LocksReleased())):
                self.save_in_model(lease, checkpoints)
                self.model.release_locks(lease.guid)
            return
        try:
            is_held = self.is_written(
                lease, lambda: self.store.locks.acquire(lease, "comment", ttl_s=LOCK_S, changes=checkpoints)
            )
        except Postponed:
            assert not self.model.acquire_lock(lease.guid, "comment", ttl_s=LOCK_S)
            self.save_in_model(lease, checkpoints)
            return
        if is_held:
            assert self.model.acquire_lock(lease.guid, "comment", ttl_s=LOCK_S)
            self.save_in_model(lease, checkpoints)

    @rule(
        lease_choice=lease_choice,
        times=some.sampled_from([0, 0, 1, 2]),
        outcome=some.sampled_from(["ok", "unavailable", "refusal"]),
    )
    def call_begins_or_ends(self, lease_choice: tuple[str, int], times: int, outcome: str) -> None:
        if times and self.model.calls:
            call_id = list(self.model.calls)[lease_choice[1] % len(self.model.calls)]
            for _ in range(times):
                self.end_call(call_id, outcome)
            return
        lease = self.choose_lease(lease_choice)
        if lease is None:
            return
        is_within_budget = self.model.calls_last_hour() < CALLS_PER_HOUR
        is_free = is_within_budget and self.model.now >= self.model.held_until.get("claude", -1e9)
        begun: list[StartedCall] = []
        checkpoints = self.choose_checkpoints(lease, lease_choice)
        try:
            is_held = self.is_written(lease, lambda: begun.append(self.begin_call(lease, checkpoints)))
        except Postponed as postponed:
            self.save_in_model(lease, checkpoints)
            self.check_postponed(postponed, is_free=is_free, is_within_budget=is_within_budget)
            return
        if is_held:
            assert is_free
            self.save_in_model(lease, checkpoints)
            self.model.calls[begun[0]] = Call(lease, self.model.now)
            self.model.counters.update([("claude_calls", "unfinished"), ("prompt_calls", "issues/analyze@1")])

    def check_postponed(self, postponed: Postponed, *, is_free: bool, is_within_budget: bool) -> None:
        assert not is_free
        assert (postponed.waiting_for == "claude") == (not is_within_budget)
        assert self.seconds(postponed.at) > self.model.now

    def begin_call(self, lease: Lease, checkpoints: Sequence[Checkpoint]) -> StartedCall:
        return self.store.calls.begin(
            lease,
            index=0,
            prompt_id="issues/analyze@1",
            model="claude-haiku",
            requests_per_second=1e9,
            calls_per_hour=CALLS_PER_HOUR,
            changes=checkpoints,
        )

    def end_call(self, call_id: StartedCall, outcome: str) -> None:
        """End a call, at most once, under any lease, because its cost is incurred."""
        call = self.model.calls[call_id]
        self.store.calls.end(call.lease, call_id, outcome=outcome, usage=None, error=None)
        if call.outcome is None:
            call.outcome = outcome
            self.model.counters["claude_calls", "unfinished"] -= 1
            self.model.counters["claude_calls", outcome] += 1

    # the operator, and time

    @rule(action=some.sampled_from(["pause", "resume", "reopen", "start", "hold", "hold"]), is_first=some.booleans())
    def operator_or_service_acts(self, action: str, is_first: bool) -> None:
        """One rule for rare actions, because Hypothesis chooses every rule equally often."""
        repository = None if is_first else "octo/widgets"
        match action:
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
                self.only_service_starts()
            case "hold":
                self.server_dictates_a_wait("github" if is_first else "claude")

    @rule(guid=guids)
    def operator_retries(self, guid: str) -> None:
        dead = [key for key, entry in self.model.entries.items() if entry.state in ("dead", "ignored")]
        guid = dead[-1] if dead else guid
        assert self.store.queue.retry(guid) == self.model.retry(guid)

    @rule(steps=some.sampled_from([1, 4, 9, 9, 9, 41, 60, 600]))
    def time_passes(self, steps: int) -> None:
        self.clock.advance(seconds=steps * STEP_S)
        self.model.now += steps * STEP_S

    def only_service_starts(self) -> None:
        assert self.store.queue.release_all_leases() == self.model.release_all_leases()
        assert self.store.queue.reschedule_waiting() == self.model.reschedule_waiting()
        assert (self.store.rate_limiter.held_until("github"), self.store.rate_limiter.held_until("claude")) == (
            None,
            None,
        )
        self.last_slot_at = self.last_granted_at

    # invariants

    @invariant()
    def storage_matches_the_model(self) -> None:
        """Compare everything, then let a step of time pass: real time cannot change what is due within a step."""
        self.compare_deliveries()
        self.compare_counters()
        self.time_passes(1)

    def compare_deliveries(self) -> None:
        rows = {row.guid: row for row in self.store.deliveries.newest(limit=1000)}
        assert self.accepted <= rows.keys(), "an accepted delivery is lost"
        assert rows.keys() == self.model.entries.keys()
        for guid, row in rows.items():
            self.compare(row, self.model.entries[guid])
        running = Counter(row.number for row in rows.values() if row.state == "running" and row.number is not None)
        assert set(running.values()) <= {1}, "two deliveries of a conversation run at once"
        assert sum(row.state == "running" for row in rows.values()) <= CONCURRENCY
        for guid, before in self.seen.items():
            now = rows[guid].state
            assert now == before or TRANSITIONS[before], f"{guid} changed from the final state {before} to {now}"
        self.seen = {guid: row.state for guid, row in rows.items()}
        self.reached.update(self.seen.values())

    def compare_counters(self) -> None:
        counters = Counter(self.store.statistics.counters())
        took_ms = counters.pop(("processing_ms", ""), 0)
        for key in [key for key in counters if key[0].startswith("event_github_")]:
            del counters[key]  # requests to GitHub, which the model does not have
        assert took_ms > -1000 * TOLERANCE_S * (1 + counters["processing_count", ""])
        buckets = {key: counters.pop(key) for key in list(counters) if key[0] == "processing_le"}
        assert sum(buckets.values()) == counters["processing_count", ""] == counters["outcome", "done"]
        assert +counters == +self.model.counters
        repeated = counters["outcome", "duplicate"] + counters["outcome", "replay"]
        states = Counter(self.seen.values())
        for state in ("done", "superseded"):  # final states
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
            assert abs(self.seconds(row.due_at) - entry.due_at) < TOLERANCE_S, f"{row.guid} is due at another time"
        if row.lease_until is not None:
            assert abs(self.seconds(row.lease_until) - entry.lease_until) < TOLERANCE_S

    def seconds(self, moment: Any) -> float:
        return float((moment - self.began_at).total_seconds())


def test_storage_matches_the_model_in_random_sequences(url: str) -> None:
    examples = os.environ.get("HLS_MODEL_EXAMPLES")
    few = 4 if url.startswith("postgresql") else 12  # PostgreSQL takes seven times as long
    run_settings = settings(
        max_examples=int(examples or few),
        stateful_step_count=50,
        derandomize=examples is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    engine = create_engine(url)
    reached: set[State] = set()
    make_machine = cast(type[StoreAgainstModel], lambda: StoreAgainstModel(clear_database(url, engine), reached))
    run_state_machine_as_test(make_machine, settings=run_settings)
    engine.dispose()
    assert reached == TRANSITIONS.keys() or (few == 4 and not examples)


def clear_database(url: str, engine: Engine) -> str:
    """Delete all rows: to create a database for each example takes longer than the example. Returns the URL."""
    Storage.open(url).close()
    with engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
    return url
