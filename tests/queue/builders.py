"""Deliveries, leases and a clock for the store's tests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from hls_handler.analysis import ValidReply
from hls_handler.deliveries import Accepted, Lease, NewDelivery
from hls_handler.storage import Storage


class Skew:
    """How far the database's clock is ahead, so that no test sleeps."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def __call__(self) -> timedelta:
        return self._ahead

    def pass_by(self, **span: float) -> None:
        """`pass_by(minutes=5)`."""
        self._ahead += timedelta(**span)


ALIKE: Mapping[str, Any] = {"number": 7, "body": b"{}"}
"""What deliveries of one body have in common: it says of which number it is."""


def queued(guid: str, **other: Any) -> NewDelivery:
    """An issue opened in octo/widgets; a number of its own unless one is given, and a body that no other has."""
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
    fields = {"state": "ignored", "reason": "not enabled in settings.yaml:3", "reason_kind": "event not enabled"}
    return queued(guid, **(fields | {"digest": None, "body": b""} | other))


def push(guid: str, sha: str, **other: Any) -> NewDelivery:
    """A push to pull request 7."""
    fields = {"event": "pull_request", "action": "synchronize", "number": 7, "head_sha": sha}
    return queued(guid, **(fields | {"supersedes": "older_commits"} | other))


def accept(store: Storage, *batch: NewDelivery) -> list[Accepted]:
    return store.queue.accept(batch, replay_window_h=72)


def claim(store: Storage, *, worker: str = "worker", max_crashes: int = 10) -> Lease:
    lease = store.queue.claim(worker=worker, lease_s=30, max_crashes=max_crashes)
    assert lease is not None, "nothing to claim"
    return lease


def claim_nothing(store: Storage) -> bool:
    return store.queue.claim(worker="worker", lease_s=30, max_crashes=10) is None


def begin(store: Storage, guid: str, **other: Any) -> Lease:
    """Accept a delivery and claim it; nothing else may be due."""
    accept(store, queued(guid, **other))
    return claim(store)


def bury(store: Storage, guid: str) -> None:
    """Accept a delivery and have it fail for good."""
    store.queue.dead_letter(begin(store, guid), reason="issue is locked")


def state_of(store: Storage, guid: str) -> str:
    row = store.deliveries.find(guid)
    assert row is not None, f"{guid} is lost"
    return row.state


def answered(store: Storage, lease: Lease, answer: ValidReply, *, index: int = 0, is_last: bool = False) -> None:
    """Claude was asked, and answered so."""
    call_id = asked(store, lease, answer.prompt_id, index=index)
    store.calls.end(lease, call_id, outcome="ok", usage=answer.usage, error=None, reply=answer, is_last=is_last)


def asked(store: Storage, lease: Lease, prompt_id: str, *, index: int = 0) -> int:
    """A call to Claude that has begun; its number."""
    return store.calls.begin(
        lease,
        index=index,
        prompt_id=prompt_id,
        model="claude-haiku",
        sender="mona",
        requests_per_second=1_000_000,
        calls_per_hour=200,
    )
