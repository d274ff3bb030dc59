"""A store that remembers in dictionaries what the pipeline of an issue needs, and forgets all at its end.

It takes the place of the product's own store in `bench.steps`, to tell what keeping things costs. The methods are those
that an issue's delivery calls when nothing fails; whatever else is asked of it is an error.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hls_handler.deliveries import Lease, NewDelivery, Remembered
from hls_handler.handlers.labelling import NO_ORIGINS, LabelState, Origin
from hls_handler.handlers.record import Blank, Happened
from hls_handler.history.corrections import Noted
from hls_handler.queue.delivery_queue import Newer


@dataclass
class InMemory:
    """Its methods are named as the store's, and take what those take."""

    queued: deque[NewDelivery] = field(default_factory=deque)
    remembered: dict[str, dict[tuple[str, int], Remembered]] = field(default_factory=dict)
    calls: dict[int, Any] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, dict[str, Any]] = field(default_factory=dict)
    threads: dict[int | None, InMemoryThread] = field(default_factory=dict)
    locks: dict[str, threading.Lock] = field(default_factory=dict)
    locked: dict[str, list[str]] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def accept(self, batch: Sequence[NewDelivery], **_window: object) -> None:
        self.queued.extend(batch)

    def claim(self, *, lease_s: float, **_who: object) -> Lease | None:
        try:
            new = self.queued.popleft()
        except IndexError:
            return None
        self.states[new.guid] = "running"
        now = self.now()
        return Lease(
            guid=new.guid,
            attempt=1,
            lease_until=now + timedelta(seconds=lease_s),
            event=new.event,
            action=new.action,
            request_id=new.request_id,
            repository_id=new.repository_id,
            repository=new.repository,
            number=new.number,
            head_sha=new.head_sha,
            received_at=now,
            attempts=0,
            failures=0,
            crashes=0,
            first_failure_at=None,
            body=new.body,
        )

    def now(self) -> datetime:
        return datetime.now(UTC)

    def secret(self, _name: str) -> bytes:
        return b"k" * 32

    def steps(self, guid: str) -> dict[tuple[str, int], Remembered]:
        return dict(self.remembered.get(guid, {}))

    def remember(self, lease: Lease, *kept: Remembered | None) -> None:
        for step in filter(None, kept):
            self.remembered.setdefault(lease.guid, {})[step.name, step.index] = step

    def thread_runs_last_hour(self, _lease: Lease) -> int:
        return 0

    def held_until(self, _pace: str) -> datetime | None:
        return None

    def record(self, _lease: Lease, identity: str) -> Blank:
        return Blank(identity)

    def note(self, _lease: Lease, _happened: Happened) -> None:
        pass

    def later(self, _lease: Lease, _prompt: str) -> Newer:
        return Newer(head_sha=None, is_closed=False, is_answered=False)

    def begin_call(self, lease: Lease, *, kept: Sequence[Remembered], **call: object) -> int:
        self.remember(lease, *kept)
        number = next(self._numbers)
        self.calls[number] = (lease.guid, call)
        return number

    def end_call(self, lease: Lease, call_id: int, *, kept: Sequence[Remembered] = (), **end: object) -> None:
        self.calls[call_id] = (*self.calls[call_id], end)
        self.remember(lease, *kept)

    def set_status(self, lease: Lease, **status: object) -> None:
        self.statuses.setdefault(lease.guid, {}).update(status)

    def memory(self, lease: Lease, identity: str, *, pending: object = None) -> InMemoryThread:  # noqa: ARG002 (nothing is lost)
        assert identity, "somebody's"
        return self.threads.setdefault(lease.number, InMemoryThread())

    feedback = memory

    def take_turn(self, lease: Lease, _pace: str, *, kept: Sequence[Remembered], **_why: object) -> None:
        self.remember(lease, *kept)

    def lock(self, lease: Lease, name: str, *, ttl_s: float, kept: Sequence[Remembered]) -> None:
        self.remember(lease, *kept)
        self.locks.setdefault(name, threading.Lock()).acquire(timeout=ttl_s)
        self.locked.setdefault(lease.guid, []).append(name)

    def answered(self, _lease: Lease, _write: str) -> None:
        return None

    def finish(self, lease: Lease, state: str, *, kept: Sequence[Remembered], **_why: object) -> None:
        self.remember(lease, *kept)
        self.states[lease.guid] = state
        for name in self.locked.pop(lease.guid, ()):
            self.locks[name].release()


@dataclass
class InMemoryThread:
    """What is remembered of one thread."""

    states: dict[str, LabelState] = field(default_factory=dict)

    def labels(self) -> dict[str, LabelState]:
        return dict(self.states)

    def intend_labels(self, names: Iterable[str], origins: Mapping[str, Origin] = NO_ORIGINS) -> None:  # noqa: ARG002 (as the store has it)
        self.states.update(dict.fromkeys(names, "intended"))

    def confirm_labels(self, names: Iterable[str]) -> None:
        self.states.update(dict.fromkeys(names, "ours"))

    def comment(self, _family: str) -> None:
        return None

    def seen(self, _shown: Iterable[str], **_thread: object) -> Noted:
        return Noted(0, ())
