"""Catch-up: processes webhooks that GitHub could not deliver, by reading them from GitHub's API.

GitHub lists every attempt to deliver a webhook for three days, with the status of the response.
Headers and payload of an attempt need one more request. The GUID decides whether a delivery is new,
so nothing is processed twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial

from hls_handler.deliveries import Accepted, DeliveryAttempt
from hls_handler.engine.active_config import ActiveConfig, CachedClient
from hls_handler.engine.health import Health
from hls_handler.errors import DependencyDown, HlsError, PayloadError, StepFailed, StoreUnavailable
from hls_handler.events import event_key
from hls_handler.github.api import GithubApi, RateLimit, RateLimitMonitor
from hls_handler.github.client import Credentials
from hls_handler.github.credentials import App
from hls_handler.github.hooks import WEBHOOKS_REMEDY, GithubHooks, Hook
from hls_handler.github.tokens import GITHUB_RATE_LIMIT, AnyToken
from hls_handler.settings.effective import is_pattern
from hls_handler.settings.model import CatchUpSettings, Settings
from hls_handler.store.catch_up import CatchUpStore
from hls_handler.store.storage import Storage
from hls_handler.web.webhook import caught_up_delivery
from hls_handler.wording import is_or_are

log = logging.getLogger(__name__)

MAX_REPOSITORIES = 50
"""Repositories that only a pattern such as owner/* matches and that are looked at, the last active
ones first.
"""

CREATE_REMEDY = "create the webhook, or switch catch-up off with `catch_up.enabled: false`"
CHOOSE_REMEDY = (
    "delete the others, or set catch_up.hook_id to the id of the webhook that sends to this service"
)

Request = Callable[[], AbstractContextManager[None]]
"""Context of one request to GitHub: waits for its turn and counts failures. It may raise."""

OVERLAP = timedelta(minutes=15)
"""Attempts of this time before a run are looked at again by the next run, because GitHub may list
an attempt late.
"""
REST_S = 0.2
"""Pause before each request of catch-up. It leaves two thirds of the requests that GitHub allows in
a minute.
"""
RESERVED_SHARE = 0.25
"""Share of GitHub's hourly limit that catch-up leaves to deliveries."""
GIVE_UP_AFTER = timedelta(hours=1)
"""Time after its first failed request at which a payload that cannot be read counts as lost."""
WINDOW = timedelta(hours=72)  # for which GitHub keeps payloads
EVERY_S = 600.0  # pause between two runs
RETRY_S = 60.0  # pause after a run that the database or a defect ended
MAX_FAILURES_IN_A_ROW = 3
"""Failed requests after which GitHub is down, and the run ends."""
SEARCH_EVERY_S = 60.0
"""Seconds for which the hooks that were found are used again: `hls listen` reads them every few
seconds.
"""
READ_REMEDY = "check that the webhook still exists; `hls catch-up --dry-run` tries again"
APP_RATE_LIMIT = f"{GITHUB_RATE_LIMIT} app"
"""Name of the rate limit of requests of the App itself; those of its installations have limits of
their own.
"""

COUNTS = ("hooks", "looked_at", "fetched", "accepted", "unread", "lost", "remaining")


@dataclass(frozen=True, slots=True)
class HookSource:
    """A hook whose missed webhooks are read."""

    name: str  # "https://api.github.com/repos/owner/repo/hooks/5", under which progress is stored
    path: str  # "/repos/owner/repo/hooks/5"
    repository: str | None  # "owner/repo"; None for the hook of an organisation or an App


@dataclass(frozen=True, slots=True)
class HookProblem:
    message: str
    remedy: str


def own_hooks(
    hooks: Sequence[Hook], *, webhook_paths: tuple[str, ...], hook_id: int | None
) -> tuple[Hook, ...]:
    """Return the hook with the id `hook_id`; without it, all active hooks whose URL ends with a
    path of the service.
    """
    named = tuple(hook for hook in hooks if hook.id == hook_id)
    return named or tuple(
        h for h in hooks if h.active and h.url.partition("?")[0].endswith(webhook_paths)
    )


def describe_several(
    owner: str, hooks: Sequence[Hook], webhook_paths: tuple[str, ...]
) -> HookProblem:
    """Return the problem that catch-up cannot choose among the hooks of "owner/repo" or of an
    organisation.
    """
    ids = ", ".join(str(hook.id) for hook in hooks)
    return HookProblem(
        f"{owner} has several webhooks that end with {webhook_paths[0]}: {ids}", CHOOSE_REMEDY
    )


def find_sources(
    github: GithubHooks, config: ActiveConfig, received: Sequence[str], request: Request
) -> list[HookSource | HookProblem]:
    """Find the hooks of all configured repositories, and those of organisations with a pattern or
    without another hook.

    `received` are the repositories whose events were received, the last active one first.
    """
    names = [entry.name for entry in config.settings.repositories if entry.enabled]
    exact = [name for name in names if not is_pattern(name)]
    entries = {name: config.table.find(name) for name in received if name not in exact}
    others = [name for name, entry in entries.items() if entry is not None and entry.enabled]
    find = partial(_find_source, github, config.settings, request)
    results = {name: find(f"/repos/{name}", name) for name in (*exact, *others[:MAX_REPOSITORIES])}
    owners = {name.split("/")[0] for name in names if is_pattern(name)}
    owners |= {
        name.split("/")[0] for name, result in results.items() if not isinstance(result, HookSource)
    }
    owner_results = {
        owner: find(f"/orgs/{owner}", None) for owner in sorted(owners) if not is_pattern(owner)
    }
    # A hook of the organisation also sends the events of its repositories. People have no such
    # hook.
    covered = {owner for owner, result in owner_results.items() if isinstance(result, HookSource)}
    needed = {name for name in exact if name.split("/")[0] not in covered}
    repository_results = [
        result
        for name, result in results.items()
        if isinstance(result, HookSource) or name in needed
    ]
    return [
        result for result in (*repository_results, *owner_results.values()) if result is not None
    ]


def _find_source(
    github: GithubHooks, settings: Settings, request: Request, path: str, repository: str | None
) -> HookSource | HookProblem | None:
    """Return the hook of a repository or organisation. An organisation need not have one."""
    owner = path.split("/", 2)[2]
    try:
        with request():
            hooks = github.hooks(path)
    except StepFailed as exc:
        if isinstance(exc, DependencyDown):
            return HookProblem(f"the webhooks of {owner} cannot be listed: {exc}", exc.remedy)
        if repository is None:
            return None
        return HookProblem(f"the webhooks of {owner} cannot be listed: {exc}", WEBHOOKS_REMEDY)
    webhooks = own_hooks(
        hooks, webhook_paths=settings.server.webhook_paths, hook_id=settings.catch_up.hook_id
    )
    if len(webhooks) > 1:
        return describe_several(owner, webhooks, settings.server.webhook_paths)
    if webhooks:
        path = f"{path}/hooks/{webhooks[0].id}"
        return HookSource(f"{github.base_url}{path}", path, repository)
    if repository is None:
        return None
    suffix = settings.server.webhook_paths[0]
    return HookProblem(f"{owner} has no active webhook whose URL ends with {suffix}", CREATE_REMEDY)


@dataclass(slots=True)
class CatchUpReport:
    hooks: int = 0
    looked_at: int = 0  # attempts in GitHub's lists
    fetched: int = 0  # payloads
    accepted: int = 0  # deliveries queued for the workers
    unread: int = (
        0  # deliveries whose payload this run could not read, and the next one tries again
    )
    # deliveries whose payload GitHub no longer keeps, is invalid, or could not be read for an hour
    lost: int = 0
    remaining: int = 0  # deliveries whose payload was not read yet
    # with "owner/repo", if known
    missed: list[tuple[DeliveryAttempt, str | None]] = field(default_factory=list)
    problems: list[HookProblem] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in COUNTS}


@dataclass(frozen=True, slots=True)
class Listening:
    """Options of `hls listen`: read webhooks that were sent after `since` every few seconds."""

    every_s: float
    since: datetime


class Stopped(HlsError):
    """The run ends before it is complete: the service stops, GitHub is down, or its limits leave no
    room.
    """

    def __init__(self, message: str, remedy: str = "wait: the next run continues") -> None:
        super().__init__(message)
        self.remedy = remedy


def select_missed(
    attempts: Iterable[DeliveryAttempt], is_wanted: Callable[[DeliveryAttempt], bool]
) -> tuple[DeliveryAttempt, ...]:
    """Return the first attempt of each wanted delivery that no attempt delivered, the oldest first.

    `attempts` are in GitHub's order, newest first. A redelivery is another attempt with the same
    GUID.
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
    """Return why catch-up leaves the rest of GitHub's hourly limit to deliveries; None if enough is
    left.
    """
    limit = rate_limit.limit
    remaining = rate_limit.remaining
    reset_at = rate_limit.reset_at
    if limit is None or remaining is None or reset_at is None or reset_at <= now:
        return None
    if remaining >= limit * RESERVED_SHARE:
        return None
    return (
        f"{remaining} of GitHub's {limit} requests an hour {is_or_are(remaining)} left, and"
        f" deliveries need them: no requests of catch-up until {reset_at:%H:%M:%S} UTC"
    )


def connect_hooks(credentials: Credentials, rates: RateLimitMonitor) -> GithubHooks:
    """Return a client for GitHub's lists of webhooks. An App counts its requests itself."""
    if isinstance(credentials, App):
        return GithubHooks(credentials.connect())
    token = AnyToken(credentials)
    return GithubHooks(
        GithubApi(
            credentials.settings, observe=rates.observe, now=credentials.now, credential=token
        )
    )


@dataclass(eq=False)
class CatchUp:
    """Reads missed webhooks. Not thread-safe; two processes at once only send some requests
    twice.
    """

    store: Storage
    active: Callable[[], ActiveConfig]  # returns the configuration in use
    # returns the App or the tokens of settings; the same object while they do not change
    credentials_of: Callable[[Settings], Credentials]
    wait: Callable[[float], bool | None]  # sleeps, and returns True to stop
    rates: RateLimitMonitor
    on_commit: Callable[[list[Accepted]], object] = lambda _: None
    connect: Callable[[Credentials, RateLimitMonitor], GithubHooks] = connect_hooks
    since: datetime | None = None  # attempts before it are ignored

    def __post_init__(self) -> None:
        self._clients: CachedClient[Credentials, GithubHooks] = CachedClient(
            lambda source: self.connect(source, self.rates), close=lambda github: github.close()
        )
        # client, settings and minute of the last search for hooks
        self._searched: tuple[object, ...] = ()
        self._sources = list[HookSource | HookProblem]()
        self._lost = set[str]()  # GUIDs
        # by GUID: time of the first failed request for its payload
        self._failing_since = dict[str, datetime]()
        self._names = dict[int, str]()  # repository id -> "owner/repo"
        self._failures_in_a_row = 0  # requests
        self._complete_to = 0  # id up to which all attempts of the present hook are processed

    def close(self) -> None:
        self._clients.close()

    def run(self, *, dry_run: bool = False) -> CatchUpReport:
        """Read all hooks once. A dry run only fills `missed` of the report. Raises
        `StoreUnavailable`.
        """
        report = self.report = CatchUpReport()
        self._failures_in_a_row = 0
        self._names |= self.store.catch_up.repository_names()
        try:
            for source in self._find_sources():
                try:
                    self._read(source, dry_run=dry_run)
                except StepFailed as exc:
                    report.problems.append(to_problem(exc))
        except Stopped as exc:
            report.problems.append(HookProblem(str(exc), exc.remedy))
        return report

    def _find_sources(self) -> list[HookSource]:
        config = self.active()
        credentials = self.credentials_of(config.settings)
        self._github = self._clients.of(credentials)
        if isinstance(credentials, App):
            results = [
                HookSource(f"{self._github.base_url}/app/{credentials.id}/hook", "/app/hook", None)
            ]
        else:
            searched = (self._github, config.settings, time.monotonic() // SEARCH_EVERY_S)
            if searched != self._searched:
                received = self.store.catch_up.received_repositories()
                self._sources = find_sources(self._github, config, received, self._request)
                self._searched = searched
            results = [source for source in self._sources if isinstance(source, HookSource)]
            self.report.problems += [
                source for source in self._sources if isinstance(source, HookProblem)
            ]
        self.report.hooks = len(results)
        return results

    def _read(self, source: HookSource, *, dry_run: bool) -> None:
        began = self.store.now()
        report = self.report
        self._complete_to = 0
        missed = select_missed(
            self._attempts(source, began), lambda attempt: self._is_wanted(source, attempt)
        )
        received = self._lost | self.store.catch_up.find_known([attempt.guid for attempt in missed])
        waiting = [attempt for attempt in missed if attempt.guid not in received]
        report.missed += [(attempt, self._repository(source, attempt)) for attempt in waiting]
        if dry_run:
            return
        report.remaining += len(waiting)
        # Those that could not be read come last, so that they do not delay the others.
        for attempt in sorted(
            waiting, key=lambda attempt: (attempt.guid in self._failing_since, attempt.id)
        ):
            if self._process(source, attempt, began):
                report.remaining -= 1
            else:
                self._complete_to = min(self._complete_to, attempt.id - 1)
        if self._complete_to:
            self.store.catch_up.save_caught_up_to(source.name, self._complete_to)

    def _attempts(self, source: HookSource, began: datetime) -> Iterator[DeliveryAttempt]:
        oldest = began - WINDOW
        oldest = max(oldest, self.since or oldest)
        done_to = self.store.catch_up.caught_up_to(source.name)
        cursor = None
        while True:
            with self._request():
                page = self._github.page(source.path, cursor)
            for attempt in page.attempts:
                if attempt.id <= done_to or attempt.delivered_at < oldest:
                    return
                self.report.looked_at += 1
                if attempt.delivered_at <= began - OVERLAP:
                    self._complete_to = max(self._complete_to, attempt.id)
                yield attempt
            cursor = page.next_cursor
            if cursor is None:
                return

    def _process(self, source: HookSource, attempt: DeliveryAttempt, began: datetime) -> bool:
        """Queue a delivery, or log that it is lost. Return False if the next run must try again to
        read its payload.
        """
        if not self._is_wanted(source, attempt):  # its repository is known by now
            return True
        try:
            with self._request():
                payload = self._github.payload(source.path, attempt.id)
            self.report.fetched += 1
            self._accept(source, attempt, payload)
        except StepFailed as exc:
            if began - self._failing_since.setdefault(attempt.guid, began) < GIVE_UP_AFTER:
                self.report.unread += 1
                if self.report.unread == 1:
                    problem = to_problem(exc)
                    self.report.problems.append(
                        replace(problem, message=f"a payload cannot be read: {exc}")
                    )
                return False
            self._lose(attempt, exc)
        except PayloadError as exc:
            self._lose(attempt, exc)
        return True

    def _accept(self, source: HookSource, attempt: DeliveryAttempt, payload: bytes) -> None:
        config = self.active()
        new = caught_up_delivery(
            attempt,
            payload,
            repository=source.repository,
            route=config.route,
            settings=config.settings,
        )
        accepted = self.store.queue.accept([new], finds_replays=False)[0]
        self.on_commit([accepted])
        if attempt.repository_id is not None and new.repository is not None:
            self._names[attempt.repository_id] = new.repository
        self.report.accepted += accepted.outcome == "queued"
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

    def _lose(self, attempt: DeliveryAttempt, why: HlsError) -> None:
        self.report.lost += 1
        self._lost.add(attempt.guid)
        about = {"event": event_key(attempt.event, attempt.action), "delivery": attempt.guid}
        log.warning("missed webhook is lost", extra={**about, "why": str(why)})

    @contextmanager
    def _request(self) -> Iterator[None]:
        """Context of one request to GitHub: waits for its turn. Raises `Stopped` if no request can
        succeed now.
        """
        rate_limit = self._rate_limit()
        held_until = self.store.rate_limiter.held_until(rate_limit)
        if held_until is not None:
            until = f"{held_until:%H:%M:%S} UTC"
            raise Stopped(
                f"GitHub asked to wait, or the last request failed: no requests until {until}"
            )
        if rate_limit != APP_RATE_LIMIT:  # deliveries use the limits of the App's installations
            reserved = find_reserved(self.rates.rate_limit, datetime.now(UTC))
            if reserved is not None:
                raise Stopped(reserved)
        if self.wait(REST_S):
            raise Stopped("the service is stopping")
        failures = self._failures_in_a_row + 1
        self._failures_in_a_row = 0
        try:
            yield
        except DependencyDown as exc:
            self._failures_in_a_row = failures
            if not exc.applies_to_all_calls and failures < MAX_FAILURES_IN_A_ROW:
                raise
            if exc.not_before is not None:
                self.store.rate_limiter.hold(rate_limit, exc.not_before)
            raise Stopped(str(exc), exc.remedy) from exc

    def _rate_limit(self) -> str:
        credentials = self.credentials_of(self.active().settings)
        if isinstance(credentials, App):
            return APP_RATE_LIMIT
        return credentials.preferred.rate_limit

    def _is_wanted(self, source: HookSource, attempt: DeliveryAttempt) -> bool:
        config = self.active()
        repository = self._repository(source, attempt)
        return config.router(config.prompts.latest).may_be_processed(
            attempt.event, attempt.action, repository
        )

    def _repository(self, source: HookSource, attempt: DeliveryAttempt) -> str | None:
        return source.repository or self._names.get(attempt.repository_id or 0)


def to_problem(exc: StepFailed) -> HookProblem:
    if isinstance(exc, DependencyDown):
        return HookProblem(str(exc), exc.remedy)
    return HookProblem(str(exc), READ_REMEDY)


class CatchUpLoop:
    """Runs catch-up at intervals, in one process at a time, and shows the result in `/health`."""

    def __init__(
        self,
        catch_up: CatchUp,
        store: CatchUpStore,
        settings: Callable[[], CatchUpSettings],
        health: Health,
        *,
        every_s: float = EVERY_S,
    ) -> None:
        self._every_s = every_s
        self._catch_up = catch_up
        self._store = store
        self._settings = settings
        self._health = health
        self._ran_with: CatchUpSettings | None = None
        self._lost = 0  # since the start
        self._logged = list[HookProblem]()
        self._was_ended = False  # the last run, by the database or a defect

    def pause_s(self) -> float:
        """Return the seconds from the end of a run to the next one."""
        if self._was_ended:
            return min(self._every_s, RETRY_S)
        return self._every_s

    def run(self) -> None:
        settings = self._settings()
        every_s = self._every_s
        if settings != self._ran_with or self._logged or self._was_ended:
            every_s = 0  # to see whether a problem has ended
        self._ran_with = settings
        self._was_ended = False
        if not settings.enabled:
            self._health.set_metrics("catch_up", {"is_enabled": False})
            self._health.ok("catch_up")
            return
        try:
            if self._store.begin_run(every=timedelta(seconds=every_s)):
                self._show(self._catch_up.run())
            else:
                self._health.ok("catch_up")
        except StoreUnavailable as exc:
            self._was_ended = True
            self._health.report_store_problem(exc)
        except Exception as exc:  # a defect, which the thread logs
            self._was_ended = True
            self._health.report_problem(
                "catch_up", f"catch-up failed: {type(exc).__name__}", "see the log"
            )
            raise

    def _show(self, report: CatchUpReport) -> None:
        self._lost += report.lost
        last_run = self._health.clock().isoformat(timespec="seconds")
        self._health.set_metrics(
            "catch_up", {"last_run": last_run, **report.counts(), "lost": self._lost}
        )
        if report.problems:
            message = "; ".join(problem.message for problem in report.problems)
            remedy = "; ".join(dict.fromkeys(problem.remedy for problem in report.problems))
            self._health.report_problem("catch_up", message, remedy)
        else:
            self._health.ok("catch_up")
        for problem in report.problems:
            if problem not in self._logged:
                log.warning(
                    "catch-up is incomplete",
                    extra={"why": problem.message, "remedy": problem.remedy},
                )
        self._logged = report.problems
        if report.fetched:
            log.info("caught up", extra=report.counts())
