"""Deliveries, leases and a clock for the tests of the queue, the database and the history."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Connection, bindparam

from hls_handler.analysis import IssueResponse, Reply, Usage
from hls_handler.db.database import Database, parse_url
from hls_handler.db.tables import metadata
from hls_handler.db.values import no_skew, to_ms
from hls_handler.deliveries import Accepted, End, FinalState, Lease, NewDelivery
from hls_handler.engine.codecs import encode_reply
from hls_handler.queue.checkpoints import Change, PendingChanges, StatusChange
from hls_handler.queue.rate_limiter import PendingWrite, SlotRequest
from hls_handler.store.call_rows import StoredReply
from hls_handler.store.calls import NewCall, StartedCall
from hls_handler.store.conversations import ConversationHistory
from hls_handler.store.deliveries import DeliveryRow
from hls_handler.store.interruptions import NewerEvents, Situation
from hls_handler.store.limits import Limit
from hls_handler.store.search import DeliverySearch
from hls_handler.store.storage import Storage


class Skew:
    """Clock skew of the database, so that a test can let time pass without sleeping."""

    def __init__(self) -> None:
        self._ahead = timedelta()
        self.step = timedelta()  # time that passes after each statement that reads the clock

    def __call__(self) -> timedelta:
        ahead = self._ahead
        self._ahead += self.step
        return ahead

    def advance(self, **span: float) -> None:
        """Let time pass: `advance(minutes=5)`."""
        self._ahead += timedelta(**span)


class ClockedDatabase(Database):
    """A database whose only clock is `clock`: between two changes of its time, no time passes."""

    def __init__(self, url: str, clock: Callable[[], datetime]) -> None:
        super().__init__(parse_url(url), skew=no_skew, busy_timeout_s=5.0)
        self.current_time = clock  # type: ignore[method-assign]
        clock_ms = bindparam("clock_ms", callable_=lambda: to_ms(clock()), type_=BigInteger())
        self.now = clock_ms  # type: ignore[misc]

    def empty(self) -> None:
        """Delete all rows."""
        with self.writing(durable=False) as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())

    def now_in(self, connection: Connection) -> int:
        return to_ms(self.current_time())

    def lock_accepts(self, connection: Connection) -> int:
        super().lock_accepts(connection)
        return self.now_in(connection)


SAME_BODY: Mapping[str, Any] = {"number": 7, "body": b"{}"}
"""Fields of deliveries with the same body: a body belongs to one number."""


def queued(guid: str, **other: Any) -> NewDelivery:
    """An issue opened in octo/widgets, with a unique number and a unique body unless `other` has
    them.
    """
    body = other.pop("body", b'{"delivery": "%s"}' % guid.encode())
    number = int(hashlib.sha256(guid.encode()).hexdigest()[:8], 16)
    fields: dict[str, Any] = {
        "event": "issues",
        "action": "opened",
        "request_id": f"request-{guid}",
        "state": "queued",
        "repository_id": 1,
        "repository": "octo/widgets",
        "number": number,
        "digest": hashlib.sha256(body).digest(),
        "body": body,
    }
    return NewDelivery(guid=guid, **(fields | other))


def ignored(guid: str, **other: Any) -> NewDelivery:
    fields = {
        "state": "ignored",
        "reason": "not enabled in settings.yaml:3",
        "reason_kind": "event not enabled",
    }
    return queued(guid, **(fields | {"digest": None, "body": b""} | other))


def push(guid: str, sha: str, **other: Any) -> NewDelivery:
    """A push to pull request 7."""
    fields = {"event": "pull_request", "action": "synchronize", "number": 7, "head_sha": sha}
    return queued(guid, **(fields | {"supersedes": "older_commits"} | other))


def accept(store: Storage, *batch: NewDelivery) -> list[Accepted]:
    return store.queue.accept(batch)


def claim(
    store: Storage, *, worker: str = "worker", max_crashes: int = 10, lease_s: float = 30
) -> Lease:
    lease = store.queue.claim(worker=worker, lease_s=lease_s, max_crashes=max_crashes)
    assert lease is not None, "nothing to claim"
    return lease


def nothing_is_due(store: Storage) -> bool:
    return store.queue.claim(worker="worker") is None


def begin(store: Storage, guid: str, **other: Any) -> Lease:
    """Accept a delivery and claim it; no other delivery may be due."""
    accept(store, queued(guid, **other))
    return claim(store)


def finish(store: Storage, lease: Lease, state: FinalState = "done") -> None:
    store.queue.finish(lease, End(state, "issue is locked"), took_s=1)


def dead_letter(store: Storage, guid: str) -> None:
    """Accept a delivery and dead-letter it."""
    finish(store, begin(store, guid), "dead")


def reschedule(
    store: Storage,
    lease: Lease,
    at: datetime | None = None,
    *,
    reason: str = "later",
    failed: bool = False,
    counts: bool = False,
    github_requests: int = 0,
) -> None:
    """Let a delivery wait, without `at` until it is claimed again at once."""
    store.queue.reschedule(
        lease,
        at=at or store.now(),
        reason=reason,
        failed=failed,
        counts=counts,
        github_requests=github_requests,
    )


def take_slot(
    store: Storage, lease: Lease, interval_s: float, pending_write: PendingWrite | None = None
) -> None:
    """Take a slot of the rate limit `github`."""
    request = SlotRequest("github", interval_s)
    store.rate_limiter.take_slot(lease, request, pending_write=pending_write)


def newest(store: Storage, **filters: Any) -> list[DeliveryRow]:
    """Return the deliveries that match, the newest first."""
    return list(store.searches.read_all(DeliverySearch(**filters)))


def row_of(store: Storage, guid: str) -> DeliveryRow:
    row = store.deliveries.find(guid)
    assert row is not None, f"{guid} is not stored"
    return row


def state_of(store: Storage, guid: str) -> str:
    return row_of(store, guid).state


def record_reply(store: Storage, lease: Lease, reply: Reply, *, index: int = 0) -> None:
    """Record a call to Claude with its reply."""
    call_id = start_call(store, lease, reply.prompt_id, index=index)
    store.calls.end(
        lease,
        call_id,
        outcome="ok",
        usage=reply.usage,
        error=None,
        reply=encode_reply(reply),
    )


def start_call(
    store: Storage,
    lease: Lease,
    prompt_id: str = "issues/analyze@3f9c2a",
    *,
    model: str = "claude-haiku",
    **other: Any,
) -> StartedCall:
    """Record the start of a call to Claude, far below the limits unless `other` has them."""
    hourly = other.pop("calls_per_hour", 100_000)
    limits = [
        *other.pop("review", ()),
        Limit("all", "hour", hourly, "claude.calls_per_hour"),
        *other.pop("budgets", ()),
    ]
    of_begin = {"requests_per_second": other.pop("requests_per_second", 1_000_000)}
    of_begin |= {name: other.pop(name) for name in ("changes", "check") if name in other}
    new = NewCall(other.pop("index", 0), prompt_id, model, **other)
    return store.calls.begin(lease, new, limits, **of_begin)


def add_analyses(
    store: Storage,
    guid: str,
    *,
    steps: tuple[int, ...] = (0,),
    posted_on: int | None = None,
    **other: Any,
) -> None:
    """Accept a delivery, record a reply of Claude for each of its steps, and finish it. No other
    one may be due.
    """
    lease = begin(store, guid, **other)
    usage = Usage(
        "claude-haiku-5-5",
        input_tokens=1200,
        output_tokens=80,
        cache_read_tokens=30,
        cost_usd=0.0025,
    )
    for index in steps:
        reply = IssueResponse(
            worth_saying=True, sources=[], answer=f"Answer {index} to {guid}.", certain=False
        )
        record_reply(
            store,
            lease,
            Reply("issues/respond@3f9c2a", "issue_response", reply, usage),
            index=index,
        )
    if posted_on is not None:
        store.checkpoints.save(lease, StatusChange({"posted_on": posted_on}))
    finish(store, lease, "dead")


def replies_to(store: Storage, guid: str) -> list[StoredReply]:
    """The valid replies about a delivery, in the order of their steps."""
    valid = store.replies.of(guid).valid
    return [valid[index] for index in sorted(valid)]


def find_newer(
    store: Storage, lease: Lease, prompt: str = "issues/analyze", *, described: str | None = None
) -> NewerEvents:
    """The newer events that may supersede the delivery."""
    found = list[Situation]()
    check = store.interruptions.check(
        lease, found.append, prompt=prompt, rate_limit="github", described=described
    )
    store.interruptions.require(check)
    return found[0].newer


class _Stored(PendingChanges):
    """Pending changes that are stored at once."""

    def __init__(self, store: Storage, lease: Lease) -> None:
        super().__init__()
        self._store, self._lease = store, lease

    def add(self, change: Change) -> None:
        self._store.checkpoints.save(self._lease, change)


def open_history(store: Storage, lease: Lease, bot_login: str = "hls") -> ConversationHistory:
    """The history of the lease's conversation, whose changes are stored at once."""
    return store.conversations.history(lease, bot_login, pending=_Stored(store, lease))
