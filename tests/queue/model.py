"""A simple model in memory of the queue: deliveries, leases and counters as the design defines them, without SQL.

Time is seconds since the model began, and passes only when `now` is changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hls_handler.deliveries import PRIORITY_BOT_REQUEST, Checkpoint, Lease, NewDelivery, State
from hls_handler.events import event_key
from hls_handler.store.calls import StartedCall

TRANSITIONS: Mapping[State, frozenset[State]] = {
    "queued": frozenset({"running", "superseded"}),
    "running": frozenset({"queued", "done", "ignored", "superseded", "dead"}),
    "ignored": frozenset({"queued", "ignored"}),
    "dead": frozenset({"queued", "ignored"}),
    "done": frozenset(),
    "superseded": frozenset(),
}
"""Allowed state transitions of a delivery."""

HOUR_S, PRIORITY_STEP_S = 3600, 600


@dataclass(slots=True)
class Entry:
    """One delivery."""

    order: int  # of the first acceptance
    new: NewDelivery  # the delivery stored last
    state: State
    queued_at: float
    due_at: float
    priority_time: float = 0.0  # queued_at, moved back by the priority
    attempt: int = 0
    attempts: int = 0
    failures: int = 0
    crashes: int = 0
    progressed: bool = False
    lease_until: float = 0.0
    first_failure_at: float | None = None
    digest: bytes | None = None
    checkpoints: dict[str, str] = field(default_factory=dict)

    def transition_to(self, state: State) -> None:
        assert state in TRANSITIONS[self.state], f"{self.new.guid}: {self.state} to {state}"
        self.state = state


@dataclass(slots=True)
class Call:
    """One call to Claude."""

    lease: Lease
    began_at: float
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class AcceptResult:
    """Expected result of accepting a delivery; a replay may repeat any of several deliveries."""

    outcome: str
    duplicates_of: frozenset[tuple[str, State]]  # GUID and state


def choose_next(ready: Iterable[Entry]) -> Entry | None:
    """The entry to run next: by time of acceptance, moved back by ten minutes for each step of priority."""
    return min(ready, key=lambda entry: (entry.priority_time, entry.order), default=None)


class Model:
    """Expected state of the storage after each operation."""

    def __init__(self, *, replay_window_s: float, lease_s: float, max_crashes: int) -> None:
        self._replay_window_s, self._lease_s, self._max_crashes = replay_window_s, lease_s, max_crashes
        self.now = 0.0
        self.entries: dict[str, Entry] = {}
        self.counters: Counter[tuple[str, str]] = Counter()
        self.locks: dict[str, tuple[str, float]] = {}  # name to the holder's GUID and the end
        self.calls: dict[StartedCall, Call] = {}
        self.held_until: dict[str, float] = {}  # by the rate limit's name
        self.paused: set[str] = set()  # repositories, and "" for everything

    def accept(self, batch: Sequence[NewDelivery]) -> list[AcceptResult]:
        """Accept a batch in one transaction: it supersedes other deliveries after all of its own are stored."""
        results = []
        stored = {}
        earlier = {guid: entry.state for guid, entry in self.entries.items()}
        for new in batch:
            self.counters.update([("webhooks", ""), ("event", event_key(new.event, new.action))])
            if new.repository is not None:
                self.counters["repository", new.repository] += 1
            result = self._decide(new)
            results.append(result)
            if result.outcome in ("queued", "ignored"):
                self._store(new)
                stored[new.guid] = new
            else:
                self.counters["outcome", result.outcome] += 1
        for guid, new in stored.items():
            if guid in earlier:
                self.counters["run_again", earlier[guid]] += 1
            self._supersede_by(new)
        return results

    def claim(self, *, concurrency: int) -> Entry | None:
        """Claim the next delivery, after ending the leases that have expired."""
        for entry in self.entries.values():
            if entry.state == "running" and entry.lease_until <= self.now:
                self._expire_lease(entry)
        chosen = choose_next(entry for entry in self.claimable(concurrency) if entry.due_at <= self.now)
        if chosen is not None:
            chosen.transition_to("running")
            chosen.attempt += 1
            chosen.progressed = False
            chosen.lease_until = self.now + self._lease_s
        return chosen

    def claimable(self, concurrency: int) -> list[Entry]:
        """Queued deliveries that may run once they are due.

        A pause, the concurrency limit and another delivery of the conversation, which runs or is older and queued,
        block the others.
        """
        if "" in self.paused or sum(entry.state == "running" for entry in self.entries.values()) >= concurrency:
            return []
        return [
            entry
            for entry in self.entries.values()
            if entry.state == "queued" and entry.new.repository not in self.paused and not self._blocking(entry)
        ]

    def seconds_until_due(self, *, concurrency: int) -> float | None:
        moments = [entry.due_at for entry in self.claimable(concurrency)]
        moments += [entry.lease_until for entry in self.entries.values() if entry.state == "running"]
        return max(0.0, min(moments) - self.now) if moments else None

    def is_held(self, lease: Lease) -> bool:
        """Return whether the lease is the delivery's current one."""
        entry = self.entries[lease.guid]
        return entry.state == "running" and entry.attempt == lease.attempt and entry.lease_until > self.now

    def renew(self, guid: str) -> None:
        self.entries[guid].lease_until = self.now + self._lease_s

    def save_checkpoints(self, guid: str, checkpoints: Sequence[Checkpoint]) -> None:
        """Save checkpoints, which count as progress."""
        entry = self.entries[guid]
        entry.checkpoints |= {checkpoint.name: checkpoint.value for checkpoint in checkpoints}
        entry.progressed, entry.crashes, entry.first_failure_at = True, 0, None

    def finish(self, guid: str, state: State, *, kind: str | None, handler: str | None) -> None:
        entry = self.entries[guid]
        self._stop_running(entry, state)
        self._count_end(entry, kind=kind, handler=handler)
        if state == "ignored":
            entry.digest = None
        if state == "dead":
            entry.failures += 1
        if state == "done":
            self.counters["processing_count", ""] += 1
            self.counters["recovered_by_retry", ""] += entry.failures > 0
            self.counters["errors_recovered", ""] += entry.failures

    def reschedule(self, guid: str, *, by_s: float, failed: bool, counts: bool) -> None:
        entry = self.entries[guid]
        self._stop_running(entry, "queued")
        entry.due_at = self.now + by_s
        entry.attempts += counts
        entry.failures += failed
        if failed and entry.first_failure_at is None:
            entry.first_failure_at = self.now

    def retry(self, guid: str) -> State:
        """Reset a dead or ignored delivery that has a body, make a queued one due, and leave others unchanged.

        It gets the priority of a person's request, and is never delayed by it.
        """
        entry = self.entries[guid]
        if entry.state == "dead" or (entry.state == "ignored" and entry.new.state == "queued"):
            self.counters["run_again", entry.state] += 1
            self._reset(entry, PRIORITY_BOT_REQUEST)
            entry.transition_to("queued")
        if entry.state == "queued":
            entry.due_at = self.now
            entry.priority_time = min(entry.priority_time, self.now - PRIORITY_BOT_REQUEST * PRIORITY_STEP_S)
        return entry.state

    def release_all_leases(self) -> int:
        leases = [entry for entry in self.entries.values() if entry.state == "running" and entry.lease_until > self.now]
        for entry in leases:
            entry.lease_until = self.now
        return len(leases)

    def reschedule_waiting(self) -> int:
        self.held_until.clear()
        waiting = [entry for entry in self.entries.values() if entry.state == "queued" and entry.due_at > self.now]
        for entry in waiting:
            entry.due_at = self.now
        return len(waiting)

    def hold(self, name: str, *, for_s: float) -> None:
        self.held_until[name] = max(self.held_until.get(name, 0.0), self.now + for_s)

    def acquire_lock(self, guid: str, name: str, *, ttl_s: float) -> bool:
        """Try to acquire a lock; returns whether the delivery holds it now."""
        holder, until = self.locks.get(name, (guid, 0.0))
        is_free = holder == guid or until <= self.now
        if is_free:
            self.locks[name] = (guid, self.now + ttl_s)
        return is_free

    def release_locks(self, guid: str) -> None:
        self.locks = {name: (holder, until) for name, (holder, until) in self.locks.items() if holder != guid}

    def calls_last_hour(self) -> int:
        """Calls that Claude did not process are not counted."""
        return sum(call.began_at > self.now - HOUR_S and call.outcome != "unavailable" for call in self.calls.values())

    def newer_head(self, lease: Lease) -> str | None:
        heads = [
            entry.new.head_sha
            for entry in self._newer_deliveries(lease)
            if entry.new.event == "pull_request" and entry.new.head_sha and entry.state in ("queued", "running", "done")
        ]
        return heads[-1] if heads and heads[-1] != lease.head_sha else None

    def closed_since(self, lease: Lease) -> bool:
        actions = [
            entry.new.action for entry in self._newer_deliveries(lease) if entry.new.event in ("issues", "pull_request")
        ]
        changes = [action for action in actions if action in ("closed", "deleted", "transferred", "reopened")]
        return bool(changes) and changes[-1] != "reopened"

    def _newer_deliveries(self, lease: Lease) -> list[Entry]:
        current = self.entries[lease.guid]
        newer = [entry for entry in self.entries.values() if entry.order > current.order]
        return [entry for entry in newer if entry.new.conversation_key == current.new.conversation_key is not None]

    def _blocking(self, entry: Entry) -> list[Entry]:
        others = [
            other
            for other in self.entries.values()
            if other.new.conversation_key == entry.new.conversation_key is not None
        ]
        return [
            other
            for other in others
            if other.state == "running" or (other.state == "queued" and other.order < entry.order)
        ]

    def _decide(self, new: NewDelivery) -> AcceptResult:
        """A GUID is processed once, unless the same delivery is sent again after it was ignored or dead-lettered.

        A body is processed once, whatever its GUID.
        """
        stored = self.entries.get(new.guid)
        if stored is not None and not (stored.state in ("dead", "ignored") and _is_redelivery(stored, new)):
            return AcceptResult("duplicate", frozenset({(new.guid, stored.state)}))
        if new.state == "queued":
            since = self.now - self._replay_window_s
            same_body = [
                (guid, entry.state)
                for guid, entry in self.entries.items()
                if guid != new.guid
                and entry.digest == new.digest
                and entry.queued_at >= since
                # The body contains both, so another repository or number means another body.
                and (entry.new.repository, entry.new.number) == (new.repository, new.number)
            ]
            if same_body:
                return AcceptResult("replay", frozenset(same_body))
        return AcceptResult(new.state, frozenset({(new.guid, new.state)}))

    def _store(self, new: NewDelivery) -> None:
        entry = self.entries.get(new.guid)
        if entry is None:
            entry = Entry(len(self.entries), new, new.state, self.now, self.now)
            self.entries[new.guid] = entry
        else:
            entry.transition_to(new.state)
            entry.new = new
        self._reset(entry, new.priority)
        entry.due_at += new.settle_s
        entry.digest = new.digest if new.state == "queued" else None
        if new.state == "ignored":
            self._count_end(entry, kind=new.reason_kind)

    def _reset(self, entry: Entry, priority: int) -> None:
        """Reset everything but the checkpoints."""
        entry.queued_at = entry.due_at = self.now
        entry.priority_time = self.now - priority * PRIORITY_STEP_S
        entry.attempts = entry.failures = entry.crashes = 0
        entry.first_failure_at = None

    def _supersede_by(self, new: NewDelivery) -> None:
        entry = self.entries[new.guid]
        for older in self.entries.values():
            is_older = older.new.conversation_key == new.conversation_key is not None and older.order < entry.order
            if older.state != "queued" or not is_older:
                continue
            older_commit = older.new.event == "pull_request" and older.new.head_sha not in (None, new.head_sha)
            if new.supersedes == "all" or (new.supersedes == "older_commits" and older_commit):
                older.transition_to("superseded")
                self._count_end(older)

    def _expire_lease(self, entry: Entry) -> None:
        """End an expired lease; it counts as a crash unless a checkpoint was saved."""
        entry.crashes += not entry.progressed
        if entry.crashes < self._max_crashes:
            self._stop_running(entry, "queued")
            entry.due_at = self.now
        else:
            self._stop_running(entry, "dead")
            self._count_end(entry)

    def _stop_running(self, entry: Entry, state: State) -> None:
        """Change the state and release the locks: only running deliveries hold locks."""
        entry.transition_to(state)
        self.locks = {name: (holder, until) for name, (holder, until) in self.locks.items() if holder != entry.new.guid}

    def _count_end(self, entry: Entry, *, kind: str | None = None, handler: str | None = None) -> None:
        self.counters["outcome", entry.state] += 1
        if entry.new.repository is not None:
            self.counters["repository_outcome", f"{entry.new.repository}:{entry.state}"] += 1
        if handler is not None:
            self.counters["handler", f"{handler}:{entry.state}"] += 1
        if entry.state == "ignored":
            self.counters["ignored", kind or "other"] += 1


def _is_redelivery(stored: Entry, new: NewDelivery) -> bool:
    """Return whether a delivery with a known GUID has the same subject and the same body as before."""
    digests = {stored.digest, new.digest} - {None}
    subjects = [(one.event, one.repository_id, one.number) for one in (stored.new, new)]
    return len(digests) <= 1 and subjects[0] == subjects[1]
