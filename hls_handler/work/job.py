"""A job: one claimed delivery with its settings, rule and checkpoints; runs steps and stores their results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from hls_handler.deliveries import Checkpoint, Lease
from hls_handler.errors import LeaseLost, Postponed, StepFailed, StoreUnavailable
from hls_handler.events import Account, Event
from hls_handler.handlers.handler import Conversation, Handler
from hls_handler.queue.changes import Change
from hls_handler.queue.leases import MIN_SHARE_FOR_WRITE
from hls_handler.routing import Rule
from hls_handler.settings.repository import RepositorySettingsFile
from hls_handler.work.memory import Codec
from hls_handler.work.ports import DeliveryConfig, WorkerContext

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Job:
    """One claimed delivery. Copies share `pending`."""

    lease: Lease
    tools: WorkerContext
    now: DeliveryConfig
    event: Event
    bot: Account
    rule: Rule
    handler: Handler[Any]
    steps: Mapping[tuple[str, int], Checkpoint]  # checkpoints stored before this attempt, by step name and index
    thread: Conversation | None = None  # receives labels and the comment; known once the facts are
    own_file: RepositorySettingsFile | None = None  # repository settings, applied to `rule` and `now`
    pending: list[Change] = field(default_factory=list)  # stored with the delivery's next write to the store

    def about(self, thread: Conversation | None) -> Job:
        """Return the job for this conversation; if the event names none, its number is also set on the lease."""
        if thread is None or self.lease.number is not None:
            return replace(self, thread=thread)
        return replace(self, lease=self.lease.about(thread.number), thread=thread)

    def once(
        self,
        codec: Codec[T],
        index: int,
        do: Callable[[], T],
        *,
        fits: Callable[[T], bool] = lambda _: True,
    ) -> T:
        """Return the checkpoint of a step; without one, run the step and return its result as a retry would read it.

        The checkpoint is stored with the next write to the store, which precedes every call to Claude and every write
        to GitHub. If the worker dies before that, the step runs again: it only reads, or it finds its own write.
        `fits` returns whether a stored value belongs to this step; if not, the step runs.
        """
        known = codec.decode(self.steps.get((codec.name, index)))
        if known is not None and fits(known):
            return known
        self.check_can_continue()
        started = self.tools.clock()
        step = codec.encode(do(), index=index, took_s=self.tools.clock() - started)
        self.pending.append(step)
        result = codec.decode(step)
        assert result is not None
        return result

    def note(self, codec: Codec[str], index: int, sentence: str) -> None:
        """Store a sentence that `hls why` shows; no decision depends on it."""
        if codec.decode(self.steps.get((codec.name, index))) != sentence:
            self.pending.append(codec.encode(sentence, index=index, took_s=0.0))

    def take_pending(self) -> tuple[Change, ...]:
        """Return and clear the pending changes, for the write that stores them."""
        pending = tuple(self.pending)
        self.pending.clear()
        return pending

    def check_can_continue(self) -> None:
        """Raise `Postponed` if the service is stopping, and `LeaseLost` if the lease has expired by the local clock.

        The local clock also works while the database does not respond.
        """
        self.tools.leases.require(self.lease)
        if self.tools.stopping():
            raise Postponed("the service is stopping", at=self.tools.store.now())

    def wait_in_place(self, take: Callable[[], T]) -> T:
        """Return `take()`, repeated while it raises `Postponed` for at most `IN_PLACE_S` without `waiting_for`."""
        while True:
            self.check_can_continue()
            try:
                return take()
            except Postponed as wait:
                pause_s = (wait.at - self.tools.store.now()).total_seconds()
                if wait.waiting_for is not None or pause_s > IN_PLACE_S:
                    raise
                self.tools.pause(max(pause_s, 0.001))

    def before_reads(self) -> None:
        """Raise `Postponed` while requests to GitHub are held, because more requests could get the token banned."""
        until = self.tools.store.rate_limiter.held_until(GITHUB_RATE_LIMIT)
        if until is not None:
            raise Postponed("GitHub requests are held after a failure or at GitHub's request", at=until)

    def wait_for_slot(self, write: str | None = None) -> None:
        """Wait for a slot for one write to GitHub, and renew the lease if it is too short for the write.

        `write` is the lock of a write that must not happen twice. Raises `LeaseLost` if the lease was lost, and
        `Postponed` if the slot is more than `IN_PLACE_S` away.
        """
        github, take = self.now.settings.github, self.tools.store.rate_limiter.take_slot
        self.wait_in_place(
            lambda: take(
                self.lease,
                GITHUB_RATE_LIMIT,
                interval_s=github.min_seconds_between_writes,
                changes=self.take_pending(),
                write=write,
                slowest_write_s=github.slowest_write_s,
            )
        )
        self.tools.leases.secure(self.lease)

    def check_lease(self) -> None:
        """Raise `LeaseLost` if too little of the lease is left for a write. Uses the local clock only."""
        self.tools.leases.require(self.lease, least=MIN_SHARE_FOR_WRITE)

    @contextmanager
    def recorded(self, part: Literal["analysis", "posting"]) -> Iterator[None]:
        """Store the pending changes and the failed status of this part if the block raises."""
        try:
            yield
        except (LeaseLost, StoreUnavailable):
            raise
        except StepFailed as exc:
            self._store_pending()
            if part == "analysis":
                self.tools.store.queue.set_status(self.lease, analysis="failed", analysis_error=str(exc))
            else:
                self.tools.store.queue.set_status(self.lease, posting="failed", posting_error=str(exc))
            raise
        except Exception:
            self._store_pending()
            raise

    def _store_pending(self) -> None:
        if self.pending:
            self.tools.store.checkpoints.save(self.lease, *self.take_pending())


GITHUB_RATE_LIMIT = "github"
"""Name of the rate limit that all writes to GitHub share; while it is held, reads wait too."""

IN_PLACE_S = 1.5
"""Waits up to this many seconds are slept in place: returning to the queue would repeat reads from GitHub."""
