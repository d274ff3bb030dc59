"""A job: one claimed delivery with its configuration and rule. It runs steps and stores their
results as checkpoints (`codecs.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal, TypeVar

from hls_handler.claude.providers import Providers
from hls_handler.deliveries import Checkpoint, End, Lease
from hls_handler.engine.active_config import ChosenAccount, DeliveryConfig
from hls_handler.engine.codecs import FAILURE, Codec
from hls_handler.engine.health import Health
from hls_handler.errors import (
    AccountLimited,
    ConversationIgnored,
    DependencyDown,
    HlsError,
    LeaseLost,
    Permanent,
    Postponed,
    Retryable,
    StepFailed,
    StoreUnavailable,
    Superseded,
    with_remedy,
)
from hls_handler.events import Account, Event
from hls_handler.github.client import Github
from hls_handler.handlers.handler import Handler
from hls_handler.queue.checkpoints import LeaseCheck, PendingChanges, StatusChange
from hls_handler.queue.leases import MIN_SHARE_FOR_WRITE, HeldLeases
from hls_handler.queue.rate_limiter import PendingWrite, SlotRequest
from hls_handler.retrieval.vectors import Vectors
from hls_handler.routing import Router, Rule
from hls_handler.settings.model import Limits
from hls_handler.settings.repository import RepositorySettings, RepositorySettingsFile
from hls_handler.store.batches import STOPPED, Batch
from hls_handler.store.call_rows import NO_REPLIES, CallRow, StoredReplies
from hls_handler.store.interruptions import NO_SITUATION, Situation
from hls_handler.store.storage import Storage
from hls_handler.wording import count

BACKOFF_CAP_S = 300.0
"""Longest pause between two attempts, in seconds."""


def decide_retry(
    error: StepFailed,
    *,
    attempts: int,
    failures: int,
    first_failure_at: datetime,
    now: datetime,
    jitter: float,
    limits: Limits,
) -> datetime | str:
    """Return the time of the next attempt, or the reason to give up.

    `failures` counts all failures of the delivery, including `error`; `attempts` does not count
    outages of GitHub and Claude. The pause before the retry is multiplied by (1 + `jitter`) / 2.
    The retry is never before `error.not_before`.
    """
    if isinstance(error, Permanent):
        return str(error)
    if isinstance(error, AccountLimited) and error.not_before is not None:
        return error.not_before
    if attempts >= limits.max_attempts and not isinstance(error, DependencyDown):
        return f"failed {count(attempts, 'time')} (limits.max_attempts), last: {error}"
    if now - first_failure_at >= timedelta(hours=limits.give_up_after_h):
        return (
            f"still failing after {limits.give_up_after_h:g} h (limits.give_up_after_h), last:"
            f" {with_remedy(error)}"
        )
    doublings = min(failures - 1, 16)  # past the cap anyway, and 2.0 ** 2000 overflows
    pause_s = min(limits.retry_backoff_s * 2**doublings, BACKOFF_CAP_S)
    at = now + timedelta(seconds=pause_s * (0.5 + 0.5 * jitter))
    return (
        max(at, error.not_before)
        if isinstance(error, Retryable) and error.not_before is not None
        else at
    )


LOCK_S = 120.0
"""Seconds after which another delivery may take over the lock of a comment, of the reviews or of a
check.
"""

IN_PLACE = timedelta(seconds=1.5)
"""Longest wait without rescheduling the delivery. Rescheduling repeats its reads from GitHub."""

T = TypeVar("T")
Part = Literal["analysis", "posting"]


@dataclass(frozen=True, slots=True)
class BatchRuns:
    """Functions that process the deliveries of a batch that no handler runs."""

    run_recorded: Callable[[DeliveryJob], End]  # asks a prompt, and stores its reply only
    undo_issue: Callable[[DeliveryJob], End]


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """The clients and functions that a worker uses for one delivery."""

    store: Storage
    leases: HeldLeases
    github: Github
    claude: Providers
    health: Health
    config: DeliveryConfig
    runs: BatchRuns
    # for a repository's id and a number
    choose_account: Callable[[int | None, int | None], ChosenAccount]
    stopping: Callable[[], bool]  # whether the service is stopping
    pause: Callable[[float], object]  # wait this many seconds, or until the service is stopping
    jitter: Callable[[], float]  # in [0, 1)
    clock: Callable[[], float]  # seconds, monotonic; measures the duration of steps
    vectors: Vectors | None = None  # of the documentation; None if the settings name no Qdrant


@dataclass(slots=True)
class Attempt:
    """The part of a job that changes in one attempt to process a delivery."""

    pending: PendingChanges = field(default_factory=PendingChanges)
    # of the delivery; None: not read since the last call
    calls: Sequence[CallRow] | None = None


@dataclass(frozen=True, slots=True)
class DeliveryJob:
    lease: Lease
    context: WorkerContext
    config: DeliveryConfig  # that of `context`, later with the settings of the repository
    event: Event
    bot: Account
    rule: Rule
    handler: Handler
    # checkpoints stored before this attempt, by step name and index
    steps: Mapping[tuple[str, int], Checkpoint]
    others: tuple[Account, ...] = ()  # HLS's other accounts
    situation: Situation = NO_SITUATION  # when the processing began
    repository_settings: RepositorySettingsFile | None = None  # applied to `rule` and `config`
    # of the organisation's file, if there is one
    organization_settings: tuple[RepositorySettings, ...] = ()
    replies: StoredReplies = NO_REPLIES  # of Claude, stored before this attempt
    outsider: str | None = None  # the sender, if `budgets.outsiders` counts the calls
    batch: Batch | None = None  # that the delivery belongs to, or takes back
    attempt: Attempt = field(default_factory=Attempt)  # the only part that changes

    @property
    def pending(self) -> PendingChanges:
        return self.attempt.pending

    @property
    def store(self) -> Storage:
        return self.context.store

    @property
    def router(self) -> Router:
        return Router(
            self.config.settings, self.config.table, self.config.library, (self.bot, *self.others)
        )

    @property
    def github_rate_limit(self) -> str:
        """Name of the rate limit that writes to GitHub share. While GitHub fails or asks to wait,
        reads wait, too.
        """
        return self.context.github.rate_limit(self.event.repository.full_name)

    def with_account_for(self, number: int) -> DeliveryJob:
        """Return the job with the account that wrote on the conversation `number`, if HLS has
        several accounts.
        """
        chosen = self.context.choose_account(self.event.repository.id, number)
        context = replace(self.context, github=chosen.github)
        return replace(self, context=context, bot=chosen.bot, others=chosen.others)

    def find_result(self, codec: Codec[T], index: int = 0) -> T | None:
        """Return the valid value that an earlier attempt stored with `codec` and `index`, or
        None.
        """
        return codec.decode(self.steps.get((codec.name, index)))

    def add(self, codec: Codec[T], value: T, index: int = 0) -> None:
        self.pending.add(codec.encode(value, index=index))

    def run_step(
        self,
        codec: Codec[T],
        index: int,
        do: Callable[[], T],
        *,
        fits: Callable[[T], bool] = lambda _: True,
    ) -> T:
        """Return the stored result of a step if `fits` accepts it. Otherwise run `do`, and return
        its result redacted.

        The result is stored before the next call to Claude and the next write to GitHub. If the
        process dies earlier, the step runs again. So `do` must only read, or must find its own
        earlier write.
        """
        stored = self.find_result(codec, index)
        if stored is not None and fits(stored):
            return stored
        self.check_can_continue()
        github = self.context.github
        started_at = self.store.now()
        started = self.context.clock()
        sent_before = github.requests_sent

        def measured(step: Checkpoint) -> Checkpoint:
            sent = github.requests_sent - sent_before
            return replace(
                step,
                took_s=self.context.clock() - started,
                started_at=started_at,
                github_requests=sent,
            )

        try:
            result = do()
        except StepFailed:
            self.pending.add(replace(measured(FAILURE.encode(codec.name)), is_progress=False))
            raise
        step = measured(codec.encode(result, index=index))
        self.pending.add(step)
        redacted = codec.decode(step)
        assert redacted is not None
        return redacted

    def note(self, codec: Codec[str], index: int, sentence: str) -> None:
        """Store a sentence that `hls why` shows; no decision depends on it."""
        if self.find_result(codec, index) != sentence:
            self.add(codec, sentence, index)

    def check_can_continue(self) -> None:
        """Raise `Postponed` if the service is stopping, and `LeaseLost` if the lease has expired by
        the local clock.

        The local clock also works while the database does not respond.
        """
        self.context.leases.require(self.lease)
        if self.context.stopping():
            raise Postponed("the service is stopping", at=self.store.now())

    def wait_in_place(self, take: Callable[[], T], *, until: datetime | None = None) -> T:
        """Return `take()`. If `take` raises `Postponed`, sleep until the exception's time `at`, and
        call `take` again.

        If the exception has `waiting_for`, or `at` is after `until` (without it, more than
        `IN_PLACE` away), the exception is raised again.
        """
        while True:
            self.check_can_continue()
            try:
                return take()
            except Postponed as wait:
                now = self.store.now()
                if wait.waiting_for is not None or wait.at > (until or now + IN_PLACE):
                    raise
                self.context.pause(max((wait.at - now).total_seconds(), 0.001))

    def require_reads_allowed(self) -> None:
        """Raise `Postponed` while GitHub asks to wait or is down, because more requests could get
        the token banned.
        """
        until = self.store.rate_limiter.held_until(self.github_rate_limit)
        if until is not None:
            raise reads_postponed(until)

    def check_newest(self, described: str | None = None, *, reads: bool = False) -> LeaseCheck:
        """Return a check with the error `ConversationIgnored` after /stop, or `Superseded` after a
        newer event.

        With `reads`, also `Postponed` while GitHub may not be read. `described` is the head commit
        that was read from GitHub, see `Interruptions.check`.
        """

        def decide(situation: Situation) -> HlsError | None:
            if situation.stop is not None:
                return ConversationIgnored(str(situation.stop), "stopped")
            if situation.newer.commit is not None and self.handler.superseded_by_push:
                return Superseded(f"a newer push came meanwhile: {situation.newer.commit[:10]}")
            # GitHub may send the closing before a reopening late; the worker reads the state
            # instead.
            if situation.newer.is_closed and self.lease.action != "reopened":
                return Superseded("the conversation was closed meanwhile")
            if situation.newer.is_answered and self.handler.superseded_by_newer_answer:
                return Superseded("a newer event of this conversation was answered meanwhile")
            return (
                reads_postponed(situation.held_until)
                if reads and situation.held_until is not None
                else None
            )

        prompt = self.rule.prompt
        rate_limit = self.github_rate_limit
        return self.store.interruptions.check(
            self.lease, decide, prompt=prompt, rate_limit=rate_limit, described=described
        )

    def begin_write(
        self,
        comment_lock: str | None = None,
        *,
        check: LeaseCheck | None = None,
        until: datetime | None = None,
        can_move: bool = False,
    ) -> None:
        """Wait for the rate limit of writes to GitHub, then renew the lease if too little time is
        left for a write.

        For a write of a comment or review, pass the name of its lock. The write is recorded as
        pending: `Locks.acquire` raises `Postponed` while it may still take effect, even if this
        process is killed. Raises `LeaseLost`, the error of `check`, or `Postponed` if the wait
        would be longer than `IN_PLACE`; a slot after `until` is left to other writes. With
        `can_move`, first results of other deliveries may be written before.
        """
        github = self.config.settings.github
        interval_s = github.min_seconds_between_writes
        request = SlotRequest(self.github_rate_limit, interval_s, until=until, can_move=can_move)
        pending_write = None
        if comment_lock is not None:
            expires_s = self.context.leases.expiry.slowest_write_s
            pending_write = PendingWrite(comment_lock, expires_s)
        self.wait_in_place(
            lambda: self.store.rate_limiter.take_slot(
                self.lease,
                request,
                changes=self.pending.take(),
                pending_write=pending_write,
                check=check,
            ),
            until=until,
        )
        self.context.leases.secure(self.lease)

    def check_lease(self) -> None:
        """Raise `LeaseLost` if too little of the lease is left for a write. Uses the local clock
        only.
        """
        self.context.leases.require(self.lease, least=MIN_SHARE_FOR_WRITE)

    @contextmanager
    def record_failure(self, part: Part | Callable[[], Part]) -> Iterator[None]:
        """If the block raises an error, store the changes in `pending` and raise the error again.

        A `StepFailed` sets the status of `part` to "failed". After `LeaseLost` or
        `StoreUnavailable`, nothing is stored.
        """
        try:
            yield
        except (LeaseLost, StoreUnavailable):
            raise
        except (
            Exception
        ) as exc:  # raised again: a retry continues from the results so far, even after a defect
            failed = part if isinstance(part, str) else part()
            if isinstance(exc, StepFailed):
                self.pending.add(
                    StatusChange({f"{failed}_status": "failed", f"{failed}_error": str(exc)})
                )
            changes = self.pending.take()
            if changes:
                self.store.checkpoints.save(self.lease, *changes)
            raise


def reads_postponed(until: datetime) -> Postponed:
    return Postponed(
        "no requests to GitHub at present: the last one failed, or GitHub asked to wait", at=until
    )


def require_open(batch: Batch) -> None:
    """Raise `ConversationIgnored` after a person stopped the batch, or took it back."""
    if batch.state == "stopped":
        raise ConversationIgnored(f"batch {batch.id} was stopped", STOPPED)
    if batch.state == "undone":
        reason = f"batch {batch.id} was taken back before this issue was processed"
        raise ConversationIgnored(reason, STOPPED)
