"""Catch-up: processes webhooks that GitHub could not deliver, by reading them from GitHub's API.

GitHub lists every attempt to deliver a webhook for three days, with the status of the response. Headers and payload of
an attempt need one more request. The GUID decides whether a delivery is new, so nothing is processed twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from hls_handler.clients.api import RateLimit
from hls_handler.deliveries import Accepted, DeliveryAttempt
from hls_handler.errors import DependencyDown, HlsError, PayloadError, StepFailed, StoreUnavailable
from hls_handler.events import event_key
from hls_handler.settings.model import CatchUp as CatchUpSettings
from hls_handler.work.health import Health

log = logging.getLogger(__name__)

OVERLAP = timedelta(minutes=15)
"""Attempts of this time before a run are looked at again by the next run, because GitHub may list an attempt late."""
MAX_FETCHES = 500
"""Payloads that one run reads; the next run begins at once if more remain."""
REST_S = 0.2
"""Pause before each request of catch-up. It leaves two thirds of the requests that GitHub allows in a minute."""
RESERVED_SHARE = 0.25
"""Share of GitHub's hourly limit that catch-up leaves to deliveries."""
BUSY_RETRY_S = 15.0
"""Pause before the next run while another process is catching up."""


class DeliveryLog(Protocol):
    """GitHub's list of attempts to deliver the webhooks of one hook; `clients.hooks.HookDeliveries` implements it."""

    def page(self, cursor: str | None) -> tuple[Sequence[DeliveryAttempt], str | None]: ...

    def find_payload(self, attempt_id: int) -> Mapping[str, Any] | None: ...


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
    lost: int = 0  # deliveries whose payload GitHub no longer keeps
    remaining: int = 0  # deliveries whose payload was not read yet
    missed: list[Missed] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
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


class Port(Protocol):
    """The rest of the service, as catch-up needs it; `hls_handler.catch_up.CatchUpConnection` implements it."""

    @property
    def settings(self) -> CatchUpSettings: ...

    def now(self) -> datetime:
        """Return the database's time, aware UTC."""
        ...

    def find_sources(self, before_request: Callable[[], None]) -> Sources:
        """Return the hooks to read. Calls `before_request` before each request."""
        ...

    def is_wanted(self, attempt: DeliveryAttempt, repository: str | None) -> bool:
        """Return False if the settings ignore the attempt. `repository` is "owner/repo", if known."""
        ...

    def accept(self, attempt: DeliveryAttempt, payload: Mapping[str, Any]) -> Accepted:
        """Store a delivery. Raises `PayloadError` for a payload that the receiver would reject."""
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
        f"{remaining} of GitHub's {limit} requests an hour are left, and deliveries need them: no requests of catch-up "
        f"until {reset_at:%H:%M:%S} UTC"
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
        self._lease = lease
        try:
            self._run(report, dry_run=dry_run, on_progress=on_progress)
        except Stopped as exc:
            report.problems.append(Problem(str(exc), "wait: the next run continues"))
        except DependencyDown as exc:
            self._port.on_down(exc)
            report.problems.append(Problem(str(exc), exc.remedy))
        finally:
            self._store.release(self._lease)
        return report

    def _run(self, report: Report, *, dry_run: bool, on_progress: Callable[[], object]) -> None:
        sources = self._port.find_sources(self._before_request)
        report.problems += sources.problems
        report.hooks = len(sources.found)
        self._names |= self._store.repository_names()
        for source in sources.found:
            try:
                self._read(source, report, dry_run=dry_run, on_progress=on_progress)
            except DependencyDown:
                raise
            except StepFailed as exc:
                report.problems.append(Problem(str(exc), READ_REMEDY))

    def _read(self, source: Source, report: Report, *, dry_run: bool, on_progress: Callable[[], object]) -> None:
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
        missed = select_missed(
            attempts, lambda attempt: self._port.is_wanted(attempt, self._repository(source, attempt))
        )
        known = self._store.find_known([attempt.guid for attempt in missed])
        unread = [attempt for attempt in missed if attempt.guid not in known | self._settled]
        report.missed += [Missed(attempt, self._repository(source, attempt)) for attempt in unread]
        if dry_run:
            return
        report.remaining += len(unread)
        for attempt in unread:
            if report.fetched >= self._max_fetches:
                return
            if self._is_wanted(source, attempt):  # its repository may be known by now
                self._before_request()
                self._fetch(source, attempt, report)
            report.remaining -= 1
            on_progress()
        if complete_to:
            self._store.save_caught_up_to(source.name, complete_to)

    def _attempts(self, source: Source, began: datetime) -> Iterator[DeliveryAttempt]:
        oldest = began - timedelta(hours=self._port.settings.window_h)
        if isinstance(self._since, datetime):
            oldest = max(oldest, self._since)
        done_to = max(self._store.caught_up_to(source.name), self._ignored_up_to.get(source.name, 0))
        cursor = None
        while True:
            self._before_request()
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
        payload = source.deliveries.find_payload(attempt.id)
        report.fetched += 1
        about = {"event": event_key(attempt.event, attempt.action), "delivery": attempt.guid}
        if payload is None:
            report.lost += 1
            self._settled.add(attempt.guid)
            log.warning("missed webhook is lost: GitHub no longer keeps its payload", extra=about)
            return
        self._remember_name(attempt, payload)
        try:
            accepted = self._port.accept(attempt, payload)
        except PayloadError as exc:
            self._settled.add(attempt.guid)
            log.warning("missed webhook rejected", extra={**about, "why": str(exc)})
            return
        report.accepted += accepted.outcome == "queued"
        fields = {
            "event": attempt.event,
            "action": attempt.action,
            "repository": self._repository(source, attempt),
            "delivery": attempt.guid,
            "decision": accepted.outcome,
            "reason": accepted.reason,
            "caught_up": True,
        }
        log.info("webhook received", extra=fields)  # the receiver logs the others

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

    def _remember_name(self, attempt: DeliveryAttempt, payload: Mapping[str, Any]) -> None:
        repository = payload.get("repository")
        name = repository.get("full_name") if isinstance(repository, dict) else None
        if attempt.repository_id is not None and isinstance(name, str):
            self._names[attempt.repository_id] = name


NOTHING_TO_READ = Problem(
    "no webhook is read, because `repositories` has only patterns and no event was received yet",
    "name each repository under `repositories` as owner/repo",
)
READ_REMEDY = "check that the webhook still exists; `hls catch-up --dry-run` tries again"


class CatchUpLoop:
    """Runs catch-up at intervals, and shows the result in `/health`."""

    def __init__(
        self,
        catch_up: CatchUp,
        *,
        settings: Callable[[], CatchUpSettings],
        health: Health,
        every_s: float | None = None,
    ) -> None:
        """With `every_s`, the settings `enabled` and `interval_m` have no effect."""
        self._catch_up, self._settings, self._health, self._fixed_every_s = catch_up, settings, health, every_s
        self._lost = 0  # since the start
        self._logged = list[Problem]()
        self._next_in_s: float | None = None  # None: the interval

    def run(self) -> None:
        self._next_in_s = None
        if self._fixed_every_s is None and not self._settings().enabled:
            self._health.forget("catch_up")
            return
        try:
            report = self._catch_up.run(on_progress=self._show_progress)
        except StoreUnavailable as exc:
            self._health.report_store_problem(exc)
            return
        if report.is_busy:
            self._next_in_s = BUSY_RETRY_S
            return
        self._lost += report.lost
        if self._fixed_every_s is not None and not report.hooks and not report.problems:
            report.problems.append(NOTHING_TO_READ)
        self._show(report, lost=self._lost)
        if report.remaining and not report.problems:
            self._next_in_s = 0.0

    def every_s(self) -> float:
        regular = self._fixed_every_s or self._settings().interval_m * 60
        return regular if self._next_in_s is None else min(regular, self._next_in_s)

    def _show_progress(self) -> None:
        report = self._catch_up.report
        self._health.set_metrics("catch_up", _metrics(report, lost=self._lost + report.lost))

    def _show(self, report: Report, *, lost: int) -> None:
        last_run = self._health.clock().isoformat(timespec="seconds")
        self._health.set_metrics("catch_up", {"last_run": last_run, **_metrics(report, lost=lost)})
        if report.problems:
            message = "; ".join(problem.message for problem in report.problems)
            remedy = "; ".join(dict.fromkeys(problem.remedy for problem in report.problems))
            self._health.report_problem("catch_up", message, remedy)
        elif report.hooks:
            self._health.ok("catch_up")
        else:
            self._health.forget("catch_up")
        for problem in report.problems:
            if problem not in self._logged:
                log.warning("catch-up is incomplete", extra={"why": problem.message, "remedy": problem.remedy})
        self._logged = report.problems
        if report.fetched:
            log.info("caught up", extra=_metrics(report, lost=report.lost))


def _metrics(report: Report, *, lost: int) -> dict[str, int]:
    return {
        "hooks": report.hooks,
        "looked_at": report.looked_at,
        "fetched": report.fetched,
        "accepted": report.accepted,
        "lost": lost,
        "remaining": report.remaining,
    }
