"""Group commit: what arrives while one transaction is being committed goes into the next, together."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from hls_handler.deliveries import Accepted, NewDelivery
from hls_handler.errors import StoreUnavailable
from hls_handler.store.accept import refuse_unstorable
from hls_handler.store.part import Counts

_LARGEST_BATCH = 256
ANSWER_WITHIN_S = 6.0
"""GitHub hangs up after 10 s: a no in time is worth more than a yes that nobody hears."""
_CLOSE_WITHIN_S = 3.0
"""Nobody waits for an answer any more when the queue is closed; what is left are counts."""
MOST_WAITING_BYTES = 100_000_000
"""A database that hangs must not fill our memory with what waits for it: beyond this, bodies get their no at once."""
GATHER_S = 0.01
"""A transaction costs as much as thirty rows in it: while many come, a batch waits so long to be as large as the last.
"""


class AcceptingStore(Protocol):
    """What of the store this needs."""

    def accept(
        self, batch: Sequence[NewDelivery], *, replay_window_h: float, counts: Counts | None = None
    ) -> list[Accepted]: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    new: NewDelivery
    answer: asyncio.Future[Accepted]
    loop: asyncio.AbstractEventLoop


class AcceptQueue:
    """Lets an event loop accept deliveries without waiting in it; one thread of its own commits them in batches."""

    def __init__(
        self,
        store: AcceptingStore,
        *,
        replay_window_h: Callable[[], float],
        on_commit: Callable[[list[Accepted]], None],
        answer_within_s: float = ANSWER_WITHIN_S,
        most_waiting_bytes: int = MOST_WAITING_BYTES,
        gather_s: float = GATHER_S,
    ) -> None:
        """`replay_window_h` gives that of now.

        `on_commit` is called in the committing thread after each commit, before the callers have their answers.
        """
        self._answer_within_s, self._gather_s = answer_within_s, gather_s
        self._most_waiting_bytes = most_waiting_bytes
        self._store = store
        self._replay_window_h = replay_window_h
        self._on_commit = on_commit
        self._changed = threading.Condition()
        self._waiting: list[_Waiting] = []
        self._waiting_bytes = 0
        self._counts: Counter[tuple[str, str]] = Counter()
        self._counts_are_new = False  # those of a commit that failed wait for the next batch
        self._closed = False
        self._last = 0  # size of the batch before
        self._thread = threading.Thread(target=self._run, name="accept", daemon=True)
        self._thread.start()

    async def accept(self, new: NewDelivery) -> Accepted:
        """The answer, once the delivery is committed. Cancelling the caller does not take the delivery back.

        Raises `StoreUnavailable` when it could not be stored within `answer_within_s`, and is then not stored any more
        unless that had begun; `PayloadError` for a number that no database holds.
        """
        refuse_unstorable(new)
        loop = asyncio.get_running_loop()
        waiting = _Waiting(new, loop.create_future(), loop)
        with self._changed:
            if self._closed:
                raise StoreUnavailable("the service is shutting down: send the delivery again")
            if self._waiting and self._waiting_bytes + len(new.body) > self._most_waiting_bytes:
                problem = f"{len(self._waiting)} deliveries wait for the database already: see why it is slow"
                raise StoreUnavailable(problem)
            self._waiting.append(waiting)
            self._waiting_bytes += len(new.body)
            if len(self._waiting) in (1, self._last):  # what the thread waits for; each wake-up costs both their time
                self._changed.notify()
        overdue = loop.call_later(self._answer_within_s, self._give_up, waiting)
        try:
            return await waiting.answer
        finally:
            overdue.cancel()

    def _give_up(self, waiting: _Waiting) -> None:
        with self._changed:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
                self._waiting_bytes -= len(waiting.new.body)
        if not waiting.answer.done():
            problem = f"the database did not answer within {self._answer_within_s:g} s: see whether it hangs, is locked"
            problem += " by another program, or cannot be reached"
            waiting.answer.set_exception(StoreUnavailable(problem))

    def count(self, counts: Counts) -> None:
        """Have counters bumped with the next commit; returns at once. A crash before that forgets them."""
        with self._changed:
            self._counts.update(counts)
            self._counts_are_new = True
            self._changed.notify()

    def close(self) -> None:
        """Commit what waits, then end the thread. Later deliveries are refused; a database that hangs is left alone."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout=_CLOSE_WITHIN_S)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._counts_are_new or self._closed)
                if not self._waiting and not self._counts_are_new:
                    return
                if len(self._waiting) < self._last and not self._closed:
                    self._changed.wait(self._gather_s)
                batch, self._waiting = self._waiting[:_LARGEST_BATCH], self._waiting[_LARGEST_BATCH:]
                self._waiting_bytes -= sum(len(waiting.new.body) for waiting in batch)
                counts, self._counts, self._counts_are_new = self._counts, Counter(), False
                self._last = len(batch)
            self._commit(batch, counts)

    def _commit(self, batch: Sequence[_Waiting], counts: Counts) -> None:
        try:
            answers = self._store.accept(
                [waiting.new for waiting in batch], replay_window_h=self._replay_window_h(), counts=counts
            )
            self._on_commit(answers)
        except Exception as exc:  # noqa: BLE001 (the thread's edge: whoever waits is told, the next batch is tried)
            with self._changed:
                self._counts.update(counts)
            _tell(batch, [exc] * len(batch))
        else:
            _tell(batch, answers)


def _tell(batch: Sequence[_Waiting], outcomes: Sequence[Accepted | Exception]) -> None:
    """Hand each caller its outcome, with one wake-up for each event loop."""
    for loop in {waiting.loop for waiting in batch}:
        told = [
            (waiting.answer, outcome) for waiting, outcome in zip(batch, outcomes, strict=True) if waiting.loop is loop
        ]
        with suppress(RuntimeError):  # a closed loop: nobody listens there any more
            loop.call_soon_threadsafe(_resolve, told)


def _resolve(told: Sequence[tuple[asyncio.Future[Accepted], Accepted | Exception]]) -> None:
    for answer, outcome in told:
        if answer.done():  # its caller was cancelled
            continue
        if isinstance(outcome, Exception):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)
