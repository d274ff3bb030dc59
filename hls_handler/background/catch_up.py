"""Catch-up: processes webhooks that GitHub could not deliver, by reading them from GitHub's API.

GitHub lists every attempt to deliver a webhook for three days, with the status of the response. Headers and payload of
an attempt need one more request. The GUID decides whether a delivery is new, so nothing is processed twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, Protocol

from hls_handler.clients.api import RateLimit
from hls_handler.deliveries import Accepted, DeliveryAttempt, NewDelivery
from hls_handler.errors import DependencyDown, HlsError, PayloadError, StepFailed
from hls_handler.events import event_key
from hls_handler.settings.model import CatchUp as CatchUpSettings
from hls_handler.wording import count, is_or_are

log = logging.getLogger(__name__)

OVERLAP = timedelta(minutes=15)
"""Attempts of this time before a run are looked at again by the next run, because GitHub may list an attempt late."""
MAX_FETCHES = 500
"""Payloads that one run reads; the next run begins at once if more remain."""
REST_S = 0.2
"""Pause before each request of catch-up. It leaves two thirds of the requests that GitHub allows in a minute."""
RESERVED_SHARE = 0.25
"""Share of GitHub's hourly limit that catch-up leaves to deliveries."""
GIVE_UP_AFTER = timedelta(hours=1)
"""Time after its first failed request at which a payload that cannot be read counts as lost."""
MAX_FAILURES_IN_A_ROW = 3
"""Failed requests after which a hook is left. If one more request fails, GitHub is down and the run ends."""
READ_REMEDY = "check that the webhook still exists; `hls catch-up --dry-run` tries again"


class DeliveryLog(Protocol):
    """GitHub's list of attempts to deliver the webhooks of one hook; `clients.hooks.HookDeliveries` implements it."""

    def page(self, cursor: str | None) -> tuple[Sequence[DeliveryAttempt], str | None]: ...

    def find_payload(self, attempt_id: int) -> bytes | None:
        """Return the payload as JSON; None if GitHub no longer keeps it. Raises `PayloadError` if it is not JSON."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """A hook whose missed webhooks are read."""

    name: str  # "https://api.github.com/repos/owner/repo/hooks/5"
    repository: str | None  # "owner/repo"; None for the hook of an organisation or an App
    deliveries: DeliveryLog


@dataclass(frozen=True, slots=True)
class Problem:
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Sources:
    found: tuple[Source, ...]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Missed:
    """A delivery that was not received, and that the settings may admit."""

    attempt: DeliveryAttempt
    repository: str | None  # "owner/repo", if known


@dataclass(slots=True)
class Report:
    """Progress and result of one run."""

    hooks: int = 0
    looked_at: int = 0  # attempts in GitHub's lists
    fetched: int = 0  # payloads
    accepted: int = 0  # deliveries queued for the workers
    unread: int = 0  # deliveries whose payload this run could not read, and the next one tries again
    lost: int = 0  # deliveries whose payload GitHub no longer keeps, or could not be read by several runs
    remaining: int = 0  # deliveries whose payload was not read yet
    missed: list[Missed] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    is_cut: bool = False  # True: the run read as many payloads as it may, and the next one can begin at once
    is_busy: bool = False  # True: another process is catching up, and this run did nothing


class Stopped(HlsError):
    """The run ends before it is complete, because the service stops or GitHub's limits leave no room."""


class Store(Protocol):
    """`queue.catch_up.CatchUpStore` implements it."""

    def find_known(self, guids: Collection[str]) -> set[str]: ...

    def repository_names(self) -> dict[int, str]: ...

    def caught_up_to(self, hook: str) -> int: ...

    def save_caught_up_to(self, hook: str, attempt_id: int) -> None: ...

    def acquire(self) -> int | None: ...

    def renew(self, lease: int) -> int | None: ...

    def release(self, lease: int | None = None) -> None: ...


Request = Callable[[], AbstractContextManager[None]]
"""Context of one request to GitHub: waits for its turn and counts failures. It may raise, and end the run."""


class Port(Protocol):
    """The rest of the service, as catch-up needs it; `hls_handler.catch_up.CatchUpConnection` implements it."""

    @property
    def settings(self) -> CatchUpSettings: ...

    def now(self) -> datetime:
        """Return the database's time, aware UTC."""
        ...

    def find_sources(self, request: Request) -> Sources:
        """Return the hooks to read."""
        ...

    def is_wanted(self, attempt: DeliveryAttempt, repository: str | None) -> bool:
        """Return False if the settings ignore the attempt. `repository` is "owner/repo", if known."""
        ...

    def accept(
        self, attempt: DeliveryAttempt, payload: bytes, *, repository: str | None
    ) -> tuple[NewDelivery, Accepted]:
        """Store a delivery. `repository` is that of the hook: "owner/repo"; None for an organisation or an App.

        Raises `PayloadError` for a payload that the receiver would reject, or of another repository.
        """
        ...

    def find_reason_to_wait(self) -> str | None:
        """Return why no request may be sent to GitHub now; None if one may."""
        ...

    def on_down(self, exc: DependencyDown) -> None: ...


def select_missed(
    attempts: Iterable[DeliveryAttempt], is_wanted: Callable[[DeliveryAttempt], bool]
) -> tuple[DeliveryAttempt, ...]:
    """Return the first attempt of each wanted delivery that no attempt delivered, the oldest first.

    `attempts` are in GitHub's order, newest first. A redelivery is another attempt with the same GUID.
    """
    received = set[str]()
    missed = dict[str, DeliveryAttempt]()
    for attempt in attempts:
        if attempt.is_received:
            received.add(attempt.guid)
            missed.pop(attempt.guid, None)
        elif attempt.guid not in received and is_wanted(attempt):
            missed[attempt.guid] = attempt
    return tuple(sorted(missed.values(), key=lambda attempt: attempt.id))


def find_reserved(rate_limit: RateLimit, now: datetime) -> str | None:
    """Return why catch-up leaves the rest of GitHub's hourly limit to deliveries; None if enough is left."""
    limit, remaining, reset_at = rate_limit.limit, rate_limit.remaining, rate_limit.reset_at
    if limit is None or remaining is None or reset_at is None or reset_at <= now:
        return None
    if remaining >= limit * RESERVED_SHARE:
        return None
    return (
        f"{remaining} of GitHub's {limit} requests an hour {is_or_are(remaining)} left, and deliveries need them: no "
        f"requests of catch-up until {reset_at:%H:%M:%S} UTC"
    )


class CatchUp:
    """Reads missed webhooks, at most one process at a time. Not thread-safe."""

    def __init__(
        self,
        store: Store,
        port: Port,
        *,
        wait: Callable[[float], bool],
        since: datetime | Literal["now"] | None = None,
        max_fetches: int = MAX_FETCHES,
    ) -> None:
        """`wait` sleeps, and returns True to stop.

        With `since`, older attempts are ignored; "now" is the first time that a hook is read.
        """
        self._store, self._port, self._wait = store, port, wait
        self._since, self._max_fetches = since, max_fetches
        self._ignored_up_to = dict[str, int]()  # by source: the last attempt before `since` "now"
        self._settled = set[str]()  # GUIDs that are not stored and must not be read again: lost or rejected
        self._failing_since = dict[str, datetime]()  # by GUID: time of the first failed request for its payload
        self._unread = list[tuple[DeliveryAttempt, StepFailed]]()  # in this run
        self._failures_in_a_row = 0  # requests
        self._names = dict[int, str]()  # repository id -> "owner/repo"
        self._lease = 0
        self.report = Report()

    def run(self, *, dry_run: bool = False, on_progress: Callable[[], object] = lambda: None) -> Report:
        """Read all hooks once and return the report, which is also in `report` while the run is in progress.

        A dry run only fills `missed`. Raises `StoreUnavailable`.
        """
        report = self.report = Report()
        lease = self._store.acquire()
        if lease is None:
            report.is_busy = True
            return report
        self._lease, self._failures_in_a_row = lease, 0
        self._unread.clear()
        try:
            self._run(report, dry_run=dry_run, on_progress=on_progress)
            self._give_up(report)
        except Stopped as exc:
            report.is_cut = False
            report.problems.append(Problem(str(exc), "wait: the next run continues"))
        except DependencyDown as exc:  # its failures do not make a delivery lost
            report.is_cut = False
            self._port.on_down(exc)
            report.problems.append(Problem(str(exc), exc.remedy))
        finally:
            self._store.release(self._lease)
        return report

    def _run(self, report: Report, *, dry_run: bool, on_progress: Callable[[], object]) -> None:
        sources = self._port.find_sources(self._request)
        report.problems += sources.problems
        report.hooks = len(sources.found)
        self._names |= self._store.repository_names()
        for source in sources.found:
            try:
                self._read(source, report, dry_run=dry_run, on_progress=on_progress)
            except StepFailed as exc:
                if applies_to_all(exc):
                    raise
                report.problems.append(to_problem(exc))

    def _read(
        self,
        source: Source,
        report: Report,
        *,
        dry_run: bool,
        on_progress: Callable[[], object],
    ) -> None:
        began = self._port.now()
        complete_to = 0

        def look_at(attempts: Iterable[DeliveryAttempt]) -> Iterator[DeliveryAttempt]:
            nonlocal complete_to
            for attempt in attempts:
                report.looked_at += 1
                if attempt.delivered_at <= began - OVERLAP:
                    complete_to = max(complete_to, attempt.id)
                yield attempt

        attempts = look_at(self._attempts(source, began))
        missed = select_missed(attempts, lambda attempt: self._is_wanted(source, attempt))
        known = self._store.find_known([attempt.guid for attempt in missed])
        waiting = [attempt for attempt in missed if attempt.guid not in known | self._settled]
        report.missed += [Missed(attempt, self._repository(source, attempt)) for attempt in waiting]
        if dry_run:
            return
        report.remaining += len(waiting)
        # Those that could not be read come last, so that they do not delay the others.
        for attempt in sorted(waiting, key=lambda attempt: (attempt.guid in self._failing_since, attempt.id)):
            if report.fetched + report.unread >= self._max_fetches:
                report.is_cut = True
                return
            if self._failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
                return
            try:
                if self._is_wanted(source, attempt):  # its repository may be known by now
                    self._fetch(source, attempt, report)
                self._failing_since.pop(attempt.guid, None)
                report.remaining -= 1
            except StepFailed as exc:
                if applies_to_all(exc):
                    raise
                self._failing_since.setdefault(attempt.guid, began)
                report.unread += 1
                self._unread.append((attempt, exc))
                complete_to = min(complete_to, attempt.id - 1)
            on_progress()
        if complete_to:
            self._store.save_caught_up_to(source.name, complete_to)

    def _give_up(self, report: Report) -> None:
        """Count deliveries as lost that could not be read for an hour; report the others as a problem."""
        now = self._port.now()
        waiting = list[Problem]()
        for attempt, exc in self._unread:
            if now - self._failing_since[attempt.guid] < GIVE_UP_AFTER:
                waiting.append(to_problem(exc))
                continue
            self._lose(attempt, report)
            report.unread -= 1
            report.remaining -= 1
            message = "missed webhook is lost: its payload could not be read; redeliver it on GitHub"
            log.warning(message, extra={**_about(attempt), "why": str(exc)})
        if waiting:
            first, unread = waiting[0], count(len(waiting), "missed webhook")
            report.problems.append(Problem(f"{unread} could not be read: {first.message}", first.remedy))

    def _lose(self, attempt: DeliveryAttempt, report: Report) -> None:
        report.lost += 1
        self._settled.add(attempt.guid)

    def _reject(self, attempt: DeliveryAttempt, exc: PayloadError) -> None:
        self._settled.add(attempt.guid)
        log.warning("missed webhook rejected", extra={**_about(attempt), "why": str(exc)})

    def _attempts(self, source: Source, began: datetime) -> Iterator[DeliveryAttempt]:
        oldest = began - timedelta(hours=self._port.settings.window_h)
        if isinstance(self._since, datetime):
            oldest = max(oldest, self._since)
        done_to = max(self._store.caught_up_to(source.name), self._ignored_up_to.get(source.name, 0))
        cursor = None
        while True:
            with self._request():
                page, cursor = source.deliveries.page(cursor)
            if self._since == "now" and source.name not in self._ignored_up_to:
                self._ignored_up_to[source.name] = max((attempt.id for attempt in page), default=0)
                return
            for attempt in page:
                if attempt.id <= done_to or attempt.delivered_at < oldest:
                    return
                yield attempt
            if cursor is None:
                return

    def _fetch(self, source: Source, attempt: DeliveryAttempt, report: Report) -> None:
        try:
            with self._request():
                payload = source.deliveries.find_payload(attempt.id)
        except PayloadError as exc:
            report.fetched += 1
            self._reject(attempt, exc)
            return
        report.fetched += 1
        if payload is None:
            self._lose(attempt, report)
            log.warning("missed webhook is lost: GitHub no longer keeps its payload", extra=_about(attempt))
            return
        try:
            new, accepted = self._port.accept(attempt, payload, repository=source.repository)
        except PayloadError as exc:
            self._reject(attempt, exc)
            return
        if attempt.repository_id is not None and new.repository is not None:
            self._names[attempt.repository_id] = new.repository
        report.accepted += accepted.outcome == "queued"
        fields = {
            "event": attempt.event,
            "action": attempt.action,
            "repository": new.repository,
            "delivery": attempt.guid,
            "decision": accepted.outcome,
            "reason": accepted.reason,
            "caught_up": True,
        }
        log.info("webhook received", extra=fields)  # the receiver logs the others

    @contextmanager
    def _request(self) -> Iterator[None]:
        self._before_request()
        try:
            yield
        except DependencyDown as exc:
            self._failures_in_a_row += 1
            if self._failures_in_a_row > MAX_FAILURES_IN_A_ROW:
                exc.applies_to_all_calls = True
            raise
        except HlsError:
            self._failures_in_a_row = 0
            raise
        self._failures_in_a_row = 0

    def _before_request(self) -> None:
        """Wait for this request's turn. Raises `Stopped`."""
        reason = self._port.find_reason_to_wait()
        if reason is not None:
            raise Stopped(reason)
        if self._wait(REST_S):
            raise Stopped("the service is stopping")
        renewed = self._store.renew(self._lease)
        if renewed is None:
            raise Stopped("this process was suspended, and another one is catching up")
        self._lease = renewed

    def _is_wanted(self, source: Source, attempt: DeliveryAttempt) -> bool:
        return self._port.is_wanted(attempt, self._repository(source, attempt))

    def _repository(self, source: Source, attempt: DeliveryAttempt) -> str | None:
        return source.repository or self._names.get(attempt.repository_id or 0)


def _about(attempt: DeliveryAttempt) -> dict[str, object]:
    return {"event": event_key(attempt.event, attempt.action), "delivery": attempt.guid}


def applies_to_all(exc: StepFailed) -> bool:
    """Return whether all other requests to GitHub would fail as well."""
    return isinstance(exc, DependencyDown) and exc.applies_to_all_calls


def to_problem(exc: StepFailed) -> Problem:
    return Problem(str(exc), exc.remedy if isinstance(exc, DependencyDown) else READ_REMEDY)
