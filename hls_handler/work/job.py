"""A job: one delivery under one lease, with all that holds for it; the only place where step results are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from hls_handler.deliveries import Checkpoint, Lease
from hls_handler.errors import LeaseLost, Postponed, StepFailed, StoreUnavailable
from hls_handler.events import Account, Event
from hls_handler.handlers.handler import Handler, Thread
from hls_handler.queue.changes import Change
from hls_handler.queue.leases import MIN_SHARE_FOR_WRITE
from hls_handler.routing import Rule
from hls_handler.settings.repository import RepositorySettingsFile
from hls_handler.work.memory import Codec
from hls_handler.work.ports import DeliveryConfig, WorkerContext

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Job:
    lease: Lease
    tools: WorkerContext
    now: DeliveryConfig
    event: Event
    bot: Account
    rule: Rule
    handler: Handler[Any]
    steps: Mapping[tuple[str, int], Checkpoint]  # as they were when the lease was taken
    thread: Thread | None = None  # where it is said; known once the facts are
    own_file: RepositorySettingsFile | None = (
        None  # the repository's own settings, which are laid over those of `rule` and `now`
    )
    pending: list[Change] = field(default_factory=list)  # is kept with the delivery's next write to the store

    def about(self, thread: Thread | None) -> Job:
        """The same job, from now on for a thread: what was queued under none counts, locks and remembers under it."""
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
        """The remembered result of a step, or do it and remember it. What comes back is what would be recalled.

        It is kept with the next write to the store, without which nothing is asked of Claude or written on GitHub. A
        worker that dies before that leaves a step that only has read, or that finds what it has written.
        `fits` says whether what is remembered under the index is of the same step as now.
        """
        known = codec.decode(self.steps.get((codec.name, index)))
        if known is not None and fits(known):
            return known
        self.go_on()
        started = self.tools.clock()
        step = codec.encode(do(), index=index, took_s=self.tools.clock() - started)
        self.pending.append(step)
        result = codec.decode(step)
        assert result is not None
        return result

    def note(self, codec: Codec[str], index: int, sentence: str) -> None:
        """Remember a sentence for the operator; nothing is decided by it."""
        if codec.decode(self.steps.get((codec.name, index))) != sentence:
            self.pending.append(codec.encode(sentence, index=index, took_s=0.0))

    def take_pending(self) -> tuple[Change, ...]:
        """What is to be kept since somebody last asked, for the write that is made now."""
        pending = tuple(self.pending)
        self.pending.clear()
        return pending

    def go_on(self) -> None:
        """Raise `Postponed` between two steps when the service was told to end: the rest is for the next start.

        Raises `LeaseLost` when the lease has ended by our clock: where the database cannot be asked, nothing else would
        stop us.
        """
        self.tools.leases.require(self.lease)
        if self.tools.stopping():
            raise Postponed("the service is stopping", at=self.tools.store.now())

    def in_turn(self, take: Callable[[], T]) -> T:
        """Do what may raise `Postponed` for its turn; one that comes in a moment is waited for here."""
        while True:
            self.go_on()
            try:
                return take()
            except Postponed as wait:
                pause_s = (wait.at - self.tools.store.now()).total_seconds()
                if wait.waiting_for is not None or pause_s > IN_PLACE_S:
                    raise
                self.tools.pause(max(pause_s, 0.001))

    def before_reads(self) -> None:
        """Raise `Postponed` as long as GitHub said to leave it alone: reading on is what gets a token banned."""
        until = self.tools.store.rate_limiter.held_until(GITHUB_PACE)
        if until is not None:
            raise Postponed("GitHub is in trouble, or told us to wait", at=until)

    def wait_for_slot(self, write: str | None = None) -> None:
        """Take our turn to write on GitHub; a worker that lost its lease finds that out here, before it posts.

        With it goes enough of the lease for the write to end in. `write` is the lock of what may not come twice.
        """
        github, take = self.now.settings.github, self.tools.store.rate_limiter.take_slot
        self.in_turn(
            lambda: take(
                self.lease,
                GITHUB_PACE,
                interval_s=github.min_seconds_between_writes,
                changes=self.take_pending(),
                write=write,
                slowest_write_s=github.slowest_write_s,
            )
        )
        self.tools.leases.secure(self.lease)

    def check_lease(self) -> None:
        """Raise `LeaseLost` right before bytes leave, if we slept since the turn was taken: this asks nobody."""
        self.tools.leases.require(self.lease, least=MIN_SHARE_FOR_WRITE)

    @contextmanager
    def recorded(self, part: Literal["analysis", "posting"]) -> Iterator[None]:
        """Keep what failed of the two parts apart, so that each can be asked for, and what was done until then."""
        try:
            yield
        except (LeaseLost, StoreUnavailable):
            raise
        except StepFailed as exc:
            self._keep_pending()
            if part == "analysis":
                self.tools.store.queue.set_status(self.lease, analysis="failed", analysis_error=str(exc))
            else:
                self.tools.store.queue.set_status(self.lease, posting="failed", posting_error=str(exc))
            raise
        except Exception:
            self._keep_pending()
            raise

    def _keep_pending(self) -> None:
        if self.pending:
            self.tools.store.checkpoints.save(self.lease, *self.take_pending())


GITHUB_PACE = "github"
"""The name of the pace that all writes to GitHub share; when it is held, nothing is read either."""

IN_PLACE_S = 1.5
"""Going back to the queue for less would cost more: what is to be written is looked up on GitHub anew each time."""
