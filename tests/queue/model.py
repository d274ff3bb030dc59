"""The store as a simple model in memory: what the design says of deliveries, leases and counters, and nothing of SQL.

Time is seconds since the model began, and passes only when `now` is changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hls_handler.deliveries import PRIORITY_BOT_REQUEST, Checkpoint, Lease, NewDelivery, State
from hls_handler.events import event_key

EDGES: Mapping[State, frozenset[State]] = {
    "queued": frozenset({"running", "superseded"}),
    "running": frozenset({"queued", "done", "ignored", "superseded", "dead"}),
    "ignored": frozenset({"queued", "ignored"}),
    "dead": frozenset({"queued", "ignored"}),
    "done": frozenset(),
    "superseded": frozenset(),
}
"""The only ways that a delivery may go."""

HOUR_S, HEAD_START_S = 3600, 600


@dataclass(slots=True)
class Entry:
    """One delivery."""

    order: int  # of acceptance, for the first time
    new: NewDelivery  # as it was stored last
    state: State
    queued_at: float
    due_at: float
    rank: float = 0.0  # the moment that it counts as queued at
    attempt: int = 0
    attempts: int = 0
    failures: int = 0
    crashes: int = 0
    progressed: bool = False
    lease_until: float = 0.0
    first_failure_at: float | None = None
    digest: bytes | None = None
    steps: dict[str, str] = field(default_factory=dict)

    def go(self, state: State) -> None:
        assert state in EDGES[self.state], f"{self.new.guid}: {self.state} to {state}"
        self.state = state


@dataclass(slots=True)
class Call:
    """One call to Claude."""

    lease: Lease
    began_at: float
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sender of a delivery is to be told; a replay may repeat any of several."""

    outcome: str
    repeated: frozenset[tuple[str, State]]  # GUID and state


def next_of(ready: Iterable[Entry]) -> Entry | None:
    """Who goes first of those that may: a wish before a pull request before the rest, each with ten minutes' start."""
    return min(ready, key=lambda entry: (entry.rank, entry.order), default=None)


class Model:
    """What the store should be like after what was done to it."""

    def __init__(self, *, replay_window_s: float, lease_s: float, max_crashes: int) -> None:
        self._replay_window_s, self._lease_s, self._max_crashes = replay_window_s, lease_s, max_crashes
        self.now = 0.0
        self.entries: dict[str, Entry] = {}
        self.counters: Counter[tuple[str, str]] = Counter()
        self.locks: dict[str, tuple[str, float]] = {}  # name to the holder's GUID, and until when
        self.calls: dict[int, Call] = {}
        self.held_until: dict[str, float] = {}  # by the pace's name
        self.paused: set[str] = set()  # repositories, and "" for everything

    def accept(self, batch: Sequence[NewDelivery]) -> list[Answer]:
        """A batch is one transaction: what it supersedes is superseded after all of it was stored."""
        answers = []
        stored = {}
        for new in batch:
            self.counters.update([("webhooks", ""), ("event", event_key(new.event, new.action))])
            if new.repository is not None:
                self.counters["repository", new.repository] += 1
            answer = self._answer(new)
            answers.append(answer)
            if answer.outcome in ("queued", "ignored"):
                self._put(new)
                stored[new.guid] = new
            else:
                self.counters["outcome", answer.outcome] += 1
        for new in stored.values():
            self._supersede_by(new)
        return answers

    def claim(self, *, concurrency: int) -> Entry | None:
        """The delivery to work on next. Leases that ran out are taken back before."""
        for entry in self.entries.values():
            if entry.state == "running" and entry.lease_until <= self.now:
                self._take_back(entry)
        chosen = next_of(entry for entry in self.may_begin(concurrency) if entry.due_at <= self.now)
        if chosen is not None:
            chosen.go("running")
            chosen.attempt += 1
            chosen.progressed = False
            chosen.lease_until = self.now + self._lease_s
        return chosen

    def may_begin(self, concurrency: int) -> list[Entry]:
        """The queued ones that nothing but time keeps waiting: a pause, a place, or another delivery of their thread,
        which runs, or is older and open."""
        if "" in self.paused or sum(entry.state == "running" for entry in self.entries.values()) >= concurrency:
            return []
        return [
            entry
            for entry in self.entries.values()
            if entry.state == "queued" and entry.new.repository not in self.paused and not self._before(entry)
        ]

    def seconds_until_due(self, *, concurrency: int) -> float | None:
        moments = [entry.due_at for entry in self.may_begin(concurrency)]
        moments += [entry.lease_until for entry in self.entries.values() if entry.state == "running"]
        return max(0.0, min(moments) - self.now) if moments else None

    def holds(self, lease: Lease) -> bool:
        """Whether the lease is the delivery's present one."""
        entry = self.entries[lease.guid]
        return entry.state == "running" and entry.attempt == lease.attempt and entry.lease_until > self.now

    def renew(self, guid: str) -> None:
        self.entries[guid].lease_until = self.now + self._lease_s

    def remember(self, guid: str, kept: Sequence[Checkpoint]) -> None:
        """A step is progress."""
        entry = self.entries[guid]
        entry.steps |= {step.name: step.value for step in kept}
        entry.progressed, entry.crashes, entry.first_failure_at = True, 0, None

    def finish(self, guid: str, state: State, *, kind: str | None, handler: str | None) -> None:
        entry = self.entries[guid]
        self._leave(entry, state)
        self._count_end(entry, kind=kind, handler=handler)
        if state == "ignored":
            entry.digest = None
        if state == "done":
            self.counters["processing_count", ""] += 1
            self.counters["recovered_by_retry", ""] += entry.failures > 0

    def postpone(self, guid: str, *, by_s: float, failed: bool, counts: bool) -> None:
        entry = self.entries[guid]
        self._leave(entry, "queued")
        entry.due_at = self.now + by_s
        entry.attempts += counts
        entry.failures += failed
        if failed and entry.first_failure_at is None:
            entry.first_failure_at = self.now

    def requeue(self, guid: str) -> State:
        """A dead one begins anew; one that waits is due now; another is left alone.

        It is a person's wish from now on, and never goes later for that.
        """
        entry = self.entries[guid]
        if entry.state == "dead":
            self._begin_anew(entry, PRIORITY_BOT_REQUEST)
            entry.go("queued")
        if entry.state == "queued":
            entry.due_at = self.now
            entry.rank = min(entry.rank, self.now - PRIORITY_BOT_REQUEST * HEAD_START_S)
        return entry.state

    def release_all_leases(self) -> int:
        held = [entry for entry in self.entries.values() if entry.state == "running" and entry.lease_until > self.now]
        for entry in held:
            entry.lease_until = self.now
        return len(held)

    def wait_no_more(self) -> int:
        self.held_until.clear()
        waiting = [entry for entry in self.entries.values() if entry.state == "queued" and entry.due_at > self.now]
        for entry in waiting:
            entry.due_at = self.now
        return len(waiting)

    def hold_pace(self, pace: str, *, for_s: float) -> None:
        self.held_until[pace] = max(self.held_until.get(pace, 0.0), self.now + for_s)

    def lock(self, guid: str, name: str, *, ttl_s: float) -> bool:
        """Whether the delivery has the lock now."""
        holder, until = self.locks.get(name, (guid, 0.0))
        free = holder == guid or until <= self.now
        if free:
            self.locks[name] = (guid, self.now + ttl_s)
        return free

    def unlock(self, guid: str) -> None:
        self.locks = {name: held for name, held in self.locks.items() if held[0] != guid}

    def calls_last_hour(self) -> int:
        """What Claude did not take up costs nothing."""
        return sum(call.began_at > self.now - HOUR_S and call.outcome != "unavailable" for call in self.calls.values())

    def newer_head(self, lease: Lease) -> str | None:
        heads = [
            entry.new.head_sha
            for entry in self._newer(lease)
            if entry.new.event == "pull_request" and entry.new.head_sha and entry.state in ("queued", "running", "done")
        ]
        return heads[-1] if heads and heads[-1] != lease.head_sha else None

    def closed_since(self, lease: Lease) -> bool:
        actions = [entry.new.action for entry in self._newer(lease) if entry.new.event in ("issues", "pull_request")]
        turns = [action for action in actions if action in ("closed", "deleted", "transferred", "reopened")]
        return bool(turns) and turns[-1] != "reopened"

    def _newer(self, lease: Lease) -> list[Entry]:
        own = self.entries[lease.guid]
        newer = [entry for entry in self.entries.values() if entry.order > own.order]
        return [entry for entry in newer if entry.new.conversation_key == own.new.conversation_key is not None]

    def _before(self, entry: Entry) -> list[Entry]:
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

    def _answer(self, new: NewDelivery) -> Answer:
        """A GUID is worked on once, unless the same delivery comes again after it was ignored or has failed for good.

        A body is worked on once, whatever its GUID.
        """
        known = self.entries.get(new.guid)
        if known is not None and not (known.state in ("dead", "ignored") and _is_same(known, new)):
            return Answer("duplicate", frozenset({(new.guid, known.state)}))
        if new.state == "queued":
            since = self.now - self._replay_window_s
            same_body = [
                (guid, entry.state)
                for guid, entry in self.entries.items()
                if guid != new.guid
                and entry.digest == new.digest
                and entry.queued_at >= since
                # A body names both: with others, it would be another one.
                and (entry.new.repository, entry.new.number) == (new.repository, new.number)
            ]
            if same_body:
                return Answer("replay", frozenset(same_body))
        return Answer(new.state, frozenset({(new.guid, new.state)}))

    def _put(self, new: NewDelivery) -> None:
        entry = self.entries.get(new.guid)
        if entry is None:
            entry = Entry(len(self.entries), new, new.state, self.now, self.now)
            self.entries[new.guid] = entry
        else:
            entry.go(new.state)
            entry.new = new
        self._begin_anew(entry, new.priority)
        entry.due_at += new.settle_s
        entry.digest = new.digest if new.state == "queued" else None
        if new.state == "ignored":
            self._count_end(entry, kind=new.reason_kind)

    def _begin_anew(self, entry: Entry, priority: int) -> None:
        """Its steps are kept."""
        entry.queued_at = entry.due_at = self.now
        entry.rank = self.now - priority * HEAD_START_S
        entry.attempts = entry.failures = entry.crashes = 0
        entry.first_failure_at = None

    def _supersede_by(self, new: NewDelivery) -> None:
        own = self.entries[new.guid]
        for older in self.entries.values():
            of_thread = older.new.conversation_key == new.conversation_key is not None and older.order < own.order
            if older.state != "queued" or not of_thread:
                continue
            older_commit = older.new.event == "pull_request" and older.new.head_sha not in (None, new.head_sha)
            if new.supersedes == "thread" or (new.supersedes == "older_commits" and older_commit):
                older.go("superseded")
                self._count_end(older)

    def _take_back(self, entry: Entry) -> None:
        """Its worker died: that counts, unless it had got a step further."""
        entry.crashes += not entry.progressed
        if entry.crashes < self._max_crashes:
            self._leave(entry, "queued")
            entry.due_at = self.now
        else:
            self._leave(entry, "dead")
            self._count_end(entry)

    def _leave(self, entry: Entry, state: State) -> None:
        """What does not run holds no lock."""
        entry.go(state)
        self.locks = {name: held for name, held in self.locks.items() if held[0] != entry.new.guid}

    def _count_end(self, entry: Entry, *, kind: str | None = None, handler: str | None = None) -> None:
        self.counters["outcome", entry.state] += 1
        if entry.new.repository is not None:
            self.counters["repository_outcome", f"{entry.new.repository}:{entry.state}"] += 1
        if handler is not None:
            self.counters["handler", f"{handler}:{entry.state}"] += 1
        if entry.state == "ignored":
            self.counters["ignored", kind or "other"] += 1


def _is_same(known: Entry, new: NewDelivery) -> bool:
    """Whether a GUID comes with the delivery that it came with before: about the same, and saying the same."""
    said = {known.digest, new.digest} - {None}
    about = [(one.event, one.repository_id, one.number) for one in (known.new, new)]
    return len(said) <= 1 and about[0] == about[1]
