"""A storage in dictionaries with the methods that an issue's delivery calls when nothing fails.

`bench.steps` compares it with the real storage. Any other method is an error.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from hls_handler.actions import StoredComment
from hls_handler.deliveries import Checkpoint, Lease, NewDelivery
from hls_handler.github.labels import LabelState
from hls_handler.handlers.reader import EmptyHistory, HistoryUpdate
from hls_handler.queue.checkpoints import Change
from hls_handler.store.calls import NewCall
from hls_handler.store.corrections import CorrectionResult
from hls_handler.store.interruptions import Situation


@dataclass
class InMemory:
    """The storage without `repositories` as one object. The pipeline calls no two methods of the
    same name on it.
    """

    waiting: deque[NewDelivery] = field(default_factory=deque)
    saved: dict[str, dict[tuple[str, int], Checkpoint]] = field(default_factory=dict)
    call_rows: dict[int, Any] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    histories: dict[int | None, InMemoryHistory] = field(default_factory=dict)
    _locks: dict[str, threading.Lock] = field(default_factory=dict)
    _locked: dict[str, list[str]] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def queue(self) -> InMemory:
        return self

    database = checkpoints = locks = rate_limiter = calls = conversations = corrections = (
        interruptions
    ) = texts = queue

    @property
    def repositories(self) -> InMemoryRepositories:
        return InMemoryRepositories()

    def accept(self, batch: Sequence[NewDelivery], **_window: object) -> None:
        self.waiting.extend(batch)

    def claim(self, *, lease_s: float, **_who: object) -> Lease | None:
        try:
            new = self.waiting.popleft()
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

    def load(self, guid: str) -> dict[tuple[str, int], Checkpoint]:
        return dict(self.saved.get(guid, {}))

    def save(self, lease: Lease, *changes: Change) -> None:
        for change in changes:
            if isinstance(change, Checkpoint):
                self.saved.setdefault(lease.guid, {})[change.name, change.index] = change

    def load_situation(self, _lease: Lease, **_rate_limit: str) -> Situation:
        return Situation()

    def check(self, *_check: object, **_what: object) -> None:
        """Return a check that finds nothing."""

    def require(self, _check: None) -> None:
        """Accept what `check` returns."""

    def begin(
        self, lease: Lease, new: NewCall, *_limits: object, changes: Sequence[Change], **_: object
    ) -> int:
        self.save(lease, *changes)
        number = next(self._numbers)
        self.call_rows[number] = (lease.guid, new)
        return number

    def end(
        self, lease: Lease, call_id: int, *, changes: Sequence[Change] = (), **end: object
    ) -> None:
        self.call_rows[call_id] = (*self.call_rows[call_id], end)
        self.save(lease, *changes)

    def history(self, lease: Lease, _bot_login: str, **_pending: object) -> InMemoryHistory:
        return self.histories.setdefault(lease.number, InMemoryHistory())

    def record_current(self, *_labels: object, **_conversation: object) -> CorrectionResult:
        return CorrectionResult(0, ())

    def take_slot(
        self, lease: Lease, _name: str, *, changes: Sequence[Change] = (), **_why: object
    ) -> None:
        self.save(lease, *changes)

    def acquire(
        self,
        lease: Lease,
        name: str,
        *,
        ttl_s: float,
        changes: Sequence[Change] = (),
        **_check: object,
    ) -> bool:
        self.save(lease, *changes)
        self._locks.setdefault(name, threading.Lock()).acquire(timeout=ttl_s)
        self._locked.setdefault(lease.guid, []).append(name)
        return False

    def calls_of(self, _guid: str) -> tuple[()]:
        return ()

    def finish(
        self, lease: Lease, state: str, *, changes: Sequence[Change] = (), **_why: object
    ) -> None:
        self.save(lease, *changes)
        self._release(lease)
        self.states[lease.guid] = state

    def _release(self, lease: Lease) -> None:
        for name in self._locked.pop(lease.guid, ()):
            self._locks[name].release()


class InMemoryRepositories:
    def history(
        self,
        _repository_id: int | None,
        *accounts: str,
        **_documents: object,
    ) -> EmptyHistory:
        return EmptyHistory(accounts)

    def save(self, _lease: Lease, _history_update: HistoryUpdate) -> None:
        pass


@dataclass
class InMemoryHistory:
    """The history of one conversation."""

    states: dict[str, LabelState] = field(default_factory=dict)

    def labels(self) -> dict[str, LabelState]:
        return dict(self.states)

    def change_labels(self, names: Iterable[str], state: LabelState, *_origins: object) -> None:
        self.states.update(dict.fromkeys(names, state))

    def comment(self, _family: str) -> None:
        return None

    def count_comments(self) -> int:
        return 0

    def store_comment(self, _family: str, _comment: StoredComment) -> None:
        pass
