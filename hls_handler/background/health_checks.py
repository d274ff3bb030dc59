"""The health checks of the probe thread, and its report once whether GitHub and Claude accept the
credentials. Ends waits that became longer because the database's clock was set back.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hls_handler.background.threads import Check, ProblemFound
from hls_handler.db.database import Database
from hls_handler.db.tables import checks, deliveries, locks
from hls_handler.db.values import literal
from hls_handler.engine.active_config import ActiveConfig
from hls_handler.engine.health import REVIEW, Health
from hls_handler.errors import Dependency, DependencyDown, HlsError, ModelNotFound
from hls_handler.git.host import MirrorUnavailable
from hls_handler.git.mirror import MirrorDisk
from hls_handler.git.run import find_git
from hls_handler.github.client import Github
from hls_handler.github.identity import EXPIRY_REMEDY
from hls_handler.github.tokens import GITHUB_RATE_LIMIT
from hls_handler.queue.delivery_queue import DeliveryQueue
from hls_handler.queue.leases import EXPIRY, Expiry, machine_seconds
from hls_handler.queue.pauses import Pauses, describe_pause, resume_command
from hls_handler.queue.rate_limiter import RateLimiter
from hls_handler.settings.effective import RepositoryTable, find_unneeded_permissions
from hls_handler.settings.model import Settings
from hls_handler.settings.providers import ClaudeSettings
from hls_handler.store.calls import CLAUDE_RATE_LIMIT
from hls_handler.store.deliveries import Deliveries, find_outdated_names
from hls_handler.store.limits import list_budgets
from hls_handler.store.numbers import Statistics
from hls_handler.store.storage import Storage
from hls_handler.wording import count, is_or_are, was_or_were

log = logging.getLogger(__name__)

TOLERANCE = timedelta(seconds=5)

STUCK_S = 600.0
"""Seconds for which a delivery may be due before `/health` reports a problem."""

LONG_WAIT_S = 60.0  # for a slot of a rate limit, after which /health names it

INSTALLATION_REMEDY = "choose the repositories on that page, or unsuspend an installation there"
PERMISSION_REMEDY = (
    "add the permission: for an App on its page, where the owner of each installation then accepts"
    " it; for a token in its settings. Or switch the feature off"
)

WEBHOOKS_REMEDY = (
    "see the webhook's Recent Deliveries on GitHub. If there are none, check that it is active and"
    " for which events; for 401, check the secret; for other failures, the address and the proxy"
    " before HLS; if none failed, raise expect_webhook_within_h"
)

RENAMED_REMEDY = "write the new name there: the entry has no effect on webhooks of the new name"


class ClockSteps:
    """Compares the database's clock with that of this machine, which is never set. Call `check` in
    one thread.
    """

    def __init__(
        self,
        database: Database,
        queue: DeliveryQueue,
        *,
        expiry: Expiry = EXPIRY,
        clock: Callable[[], float] = machine_seconds,
    ) -> None:
        self._database = database
        self._expiry = expiry
        self._queue = queue
        self._clock = clock
        self._started_at: datetime | None = None  # of `clock`, by the database's clock

    def check(self) -> bool:
        """Return True if the clock was set back since the last call. Then waiting deliveries are
        due now.

        In this case, and at the first call, leases and locks end at the latest after the times of
        `Expiry`: the clock may have been set back while no process ran.
        """
        started_at = self._database.current_time() - timedelta(seconds=self._clock())
        expected = self._started_at
        self._started_at = started_at
        if expected is not None and started_at > expected - TOLERANCE:
            return False
        now = self._database.now
        lease_until = now + round(self._expiry.lease_s * 1000)
        locked_until = now + round(self._expiry.slowest_write_s * 1000)
        is_running = deliveries.c.state == literal("running")
        with self._database.writing() as connection:
            self._database.lock_accepts(connection)  # as `reschedule_waiting`
            shorter = deliveries.update().where(is_running, deliveries.c.lease_until > lease_until)
            connection.execute(shorter.values(lease_until=lease_until))
            # An open check waits for its creation to take effect, and then until a process has
            # ended it.
            open_check = checks.update().where(checks.c.ended_at.is_(None))
            connection.execute(open_check.where(checks.c.begun_at > now).values(begun_at=now))
            ends_late = open_check.where(checks.c.ending_until > locked_until)
            connection.execute(ends_late.values(ending_until=locked_until))
            connection.execute(
                locks.update()
                .where(locks.c.locked_until > locked_until)
                .values(locked_until=locked_until)
            )
        if expected is None:
            return False
        waited = self._queue.reschedule_waiting()
        set_back_s = round((expected - started_at).total_seconds())
        log.warning(
            "the database's clock was set back", extra={"by_s": set_back_s, "due_now": waited}
        )
        return True


@dataclass(eq=False)
class HealthChecks:
    """The checks that the probe makes."""

    store: Storage
    config: Callable[[], ActiveConfig]
    github: Callable[[ActiveConfig], Github]
    # Asks Claude's API whether a model of the settings exists. A model that it does not know is no
    # problem if the last call was answered: some services have only the Messages API.
    lookup_model: Callable[[str, ClaudeSettings], object]
    health: Health
    mirror_disk: MirrorDisk | None = None  # None if this process has no workers
    expiry: Expiry = EXPIRY

    def __post_init__(self) -> None:
        self._clock_steps = ClockSteps(self.store.database, self.store.queue, expiry=self.expiry)
        self._began = self.store.now()

    def make(self) -> list[Check]:
        checks = [
            Check("store", self._check_store, proves_use=True),
            Check("queue", self._check_queue, proves_use=True),
            Check("prompts", self._check_prompts),
            Check("github", self._check_github),
            Check("claude", self._check_claude),
            Check("webhooks", self._check_webhooks, proves_use=True),
        ]
        disk = self.mirror_disk
        if disk is not None:
            checks.append(Check("mirror", lambda: _check_mirror(disk, self.config().settings)))
        return checks

    def _check_prompts(self) -> None:
        """Report changed prompts that cannot be used, and a reload that does not end."""
        error = self.config().prompts.reload_error
        if error is not None:
            remedy = "fix the file that the message names; `hls check` checks all prompts"
            raise ProblemFound(error, remedy=remedy)

    def _check_queue(self) -> None:
        self._clock_steps.check()
        _check_queue(self.store.deliveries, self.store.pauses)

    def _check_store(self) -> Mapping[str, object]:
        self.store.database.check_writable()
        return self.store.database.size()

    def _check_github(self) -> Mapping[str, object]:
        rate_limiter = self.store.rate_limiter
        _check_not_held(rate_limiter, "github", GITHUB_RATE_LIMIT)
        config = self.config()
        metrics = _check_identity(self.github(config), config)
        _check_slots(rate_limiter, "github", "or lower github.min_seconds_between_writes", metrics)
        return metrics

    def _check_claude(self) -> Mapping[str, object]:
        store = self.store
        settings = self.config().settings
        _check_not_held(store.rate_limiter, "claude", CLAUDE_RATE_LIMIT)
        _check_calls_per_hour(store.calls.count_last_hour(), settings.claude.calls_per_hour)
        model = settings.claude.default_model()
        lifecycle = self._look_up(model, settings.claude)
        if settings.claude.review_model is not None:
            self._look_up(settings.claude.default_model(is_review=True), settings.claude, REVIEW)
        metrics = _check_budgets(
            store,
            settings,
            {"model": model, "model_lifecycle": lifecycle},
        )
        _check_slots(store.rate_limiter, "claude", "or raise claude.requests_per_second", metrics)
        return metrics

    def _look_up(self, model: str, claude: ClaudeSettings, use: str = "") -> object:
        try:
            return self.lookup_model(model, claude)
        except ModelNotFound:
            if not self.health.worked_in_use("claude", use):
                raise
            return "unlisted"

    def _check_webhooks(self) -> Mapping[str, object]:
        return _check_webhooks(
            self.store.statistics, self.config(), since=self._began, now=self.store.now()
        )


def _check_calls_per_hour(calls: int, limit: int) -> None:
    if calls >= limit:
        message = (
            f"{count(calls, 'call')} within the hour, and claude.calls_per_hour allows {limit}:"
            " deliveries wait"
        )
        raise DependencyDown(
            message, dependency="claude", remedy="wait, or raise claude.calls_per_hour"
        )


def _check_budgets(
    store: Storage, settings: Settings, metrics: Mapping[str, object]
) -> Mapping[str, object]:
    """Return the metrics and the state of the budgets. Raises `ProblemFound` if a call of today did
    not fit one.
    """
    ignored = ""
    if settings.budgets.exceeded == "ignore":
        number = store.budgets.count_ignored()
        metrics = {**metrics, "over_budget_today": number}
        ignored = (
            f". {count(number, 'event')} of today {was_or_were(number)} ignored (budgets.exceeded)"
        )
    states = store.budgets.states(list_budgets(settings))
    if not states:
        return metrics
    budgets = [
        {
            "name": state.limit.name,
            "period": state.limit.period,
            "limit_usd": state.limit.amount,
            "left_usd": state.left_micro_usd / 1_000_000,
        }
        for state in states
    ]
    metrics = {**metrics, "budgets": budgets}
    exceeded = store.budgets.find_exceeded([state.limit for state in states])
    problems = [state.describe() for state in states if state.limit in exceeded]
    if problems:
        raise ProblemFound(
            f"calls to Claude did not fit a budget today: {'; '.join(problems)}{ignored}",
            remedy="wait, or raise the setting that the message names",
            metrics=metrics,
        )
    return metrics


def _check_mirror(disk: MirrorDisk, settings: Settings) -> Mapping[str, object] | None:
    """Delete mirrors if the disk has too little room. Raises `ProblemFound` if it still has."""
    if not settings.mirror.enabled or find_git() is None:
        return None
    try:
        disk.check()
        return {"disk_free_bytes": disk.free_bytes()}
    except MirrorUnavailable as exc:
        raise ProblemFound(
            f"{exc}: reviews go on without a mirror",
            remedy="make room on the disk; or lower mirror.min_free_mb if it is a disk of its own",
        ) from exc
    except OSError as exc:
        problem = f"mirror.directory cannot be used: {exc.strerror}"
        raise ProblemFound(problem, remedy="name another folder") from exc


def _check_identity(client: Github, config: ActiveConfig) -> Mapping[str, object]:
    failures: list[DependencyDown] = []
    for bot, account in zip(config.bots, client.accounts(), strict=True):
        try:
            bot.refresh(account)
        except DependencyDown as exc:
            failures.append(exc)
    if len(failures) == len(config.bots):
        raise failures[0]
    identity = client.fetch_identity(unneeded=find_unneeded_permissions(config.table))
    metrics = {"identity": identity.details}
    if failures:
        raise ProblemFound(
            f"{'; '.join(map(str, failures))}. Another token of"
            f" {config.settings.github.credential_key} is used",
            remedy=failures[0].remedy,
            metrics=metrics,
        )
    if identity.missing:
        remedy = INSTALLATION_REMEDY
        if identity.is_installed:
            remedy = PERMISSION_REMEDY
        raise ProblemFound("; ".join(identity.missing), remedy=remedy, metrics=metrics)
    if identity.expiring:
        raise ProblemFound("; ".join(identity.expiring), remedy=EXPIRY_REMEDY, metrics=metrics)
    return metrics


def _check_not_held(rate_limiter: RateLimiter, dependency: Dependency, rate_limit: str) -> None:
    until = rate_limiter.held_until(rate_limit)
    if until is not None:
        message = (
            f"no requests until {until:%H:%M:%S} UTC, because the server asked to wait or the last"
            " request failed"
        )
        raise DependencyDown(
            message, dependency=dependency, remedy="wait, or fix the cause that the log names"
        )


def _check_slots(
    rate_limiter: RateLimiter, dependency: Dependency, remedy: str, metrics: Mapping[str, object]
) -> None:
    """Raise `ProblemFound` if requests wait over `LONG_WAIT_S` for a slot of a rate limit of the
    dependency.
    """
    for name, until in rate_limiter.all_waits(longer_than_s=LONG_WAIT_S).items():
        if name.partition(" ")[0] == dependency:
            message = (
                f"the next request waits until {until:%H:%M:%S} UTC for a slot of the rate limit"
                f" {name}"
            )
            raise ProblemFound(message, remedy=f"wait, {remedy}", metrics=metrics)


def _check_queue(deliveries: Deliveries, pauses: Pauses) -> None:
    queue = deliveries.queue_state()
    active = pauses.active()
    if queue.oldest_due_s is not None and queue.oldest_due_s > STUCK_S:
        due = (
            f"{count(queue.due, 'delivery')} {is_or_are(queue.due)} due, the oldest for"
            f" {queue.oldest_due_s:.0f} s"
        )
        if not queue.running:
            raise HlsError(
                f"{due}, and no worker is busy: start `hls serve` with --role worker or --role all;"
                " if it already runs, see its log"
            )
        raise HlsError(
            f"{due}: raise limits.concurrency, or look in the log why the workers are busy"
        )
    if active:
        paused = "; ".join(describe_pause(pause) for pause in active)
        remedy = f"to end the pause: {', '.join(resume_command(pause) for pause in active)}"
        held = (
            f"{queue.held} of {count(queue.queued, 'queued delivery')} {is_or_are(queue.held)}"
            " paused"
        )
        raise ProblemFound(f"{paused}; {held}", remedy=remedy)


def _check_webhooks(
    statistics: Statistics, config: ActiveConfig, *, since: datetime, now: datetime
) -> Mapping[str, object]:
    received_at = statistics.last_webhooks()
    overdue = list(find_overdue(config.settings, config.table, received_at, since=since, now=now))
    outdated = list(find_outdated_names(config.settings, statistics.renames(), received_at))
    if overdue or outdated:
        remedies = []
        if overdue:
            remedies.append(WEBHOOKS_REMEDY)
        if outdated:
            remedies.append(RENAMED_REMEDY)
        raise ProblemFound("; ".join([*outdated, *overdue]), remedy="; ".join(remedies))
    newest = received_at.get("")
    last_received_at = newest.isoformat() if newest else None
    is_expected = bool(list_expected(config.settings))
    return {"last_received_at": last_received_at, "is_expected": is_expected}


def list_expected(settings: Settings) -> list[tuple[str, str, float]]:
    """Return name, section and value of each `expect_webhook_within_h`: ("owner/*",
    "repositories[0]", 24).

    The name "" stands for webhooks of any kind, which the section `server` expects.
    """
    entries = [("", "server", settings.server.expect_webhook_within_h)]
    for index, entry in enumerate(settings.repositories):
        entries.append((entry.name, f"repositories[{index}]", entry.expect_webhook_within_h))
    return [
        (name, section, within_h) for name, section, within_h in entries if within_h is not None
    ]


def find_overdue(
    settings: Settings,
    table: RepositoryTable,
    received_at: Mapping[str, datetime],
    *,
    since: datetime,
    now: datetime,
) -> Iterator[str]:
    """Yield a message for each expected webhook that is overdue.

    `received_at` is the result of `Statistics.last_webhooks`. A webhook counts for the entry of
    `repositories` that applies to its repository. Without one, the time counts from `since`, the
    start of the service.
    """
    entries = {name: table.find(name) for name in received_at if name}
    for name, section, within_h in list_expected(settings):
        times = [
            received_at[installation]
            for installation, entry in entries.items()
            if entry is not None and entry.key == section
        ]
        last = max(times, default=None)
        webhook = f"no webhook of {name}"
        if not name:
            last = received_at.get("")
            webhook = "no webhook"
        quiet_h = (now - (last or since)) / timedelta(hours=1)
        if quiet_h > within_h:
            history = f"none came since {since:%Y-%m-%d %H:%M}"
            if last is not None:
                history = f"the last came at {last:%Y-%m-%d %H:%M}"
            where = settings.sources.where(f"{section}.expect_webhook_within_h")
            yield (
                f"{webhook} for {quiet_h:.1f} h: {history} UTC; {where} expects one within"
                f" {within_h:g} h"
            )


class ConnectionReport:
    """Logs a line about GitHub and one about Claude after the start, and again after `forget`.
    Thread-safe.

    A missing permission is a WARNING; `Health` logs other problems. `show`, if set, gets the other
    lines as sentences, in place of the log.
    """

    def __init__(self, health: Health) -> None:
        self._health = health
        self._lock = threading.Lock()
        self._due: set[Dependency] = {"github", "claude"}
        self.show: Callable[[str], None] | None = None

    def forget(self, dependency: Dependency) -> None:
        """Report this dependency again when its state is known. Call it after a change of its
        settings.
        """
        with self._lock:
            self._due.add(dependency)

    def report(self) -> None:
        components = self._health.snapshot().components
        with self._lock:
            dependencies = sorted(self._due, reverse=True)
            dependencies = [name for name in dependencies if components[name].state != "unknown"]
            self._due.difference_update(dependencies)
        for dependency in dependencies:
            component = components[dependency]
            metrics: Mapping[str, Any] = component.metrics
            if component.message is not None:  # `Health` has logged it
                continue
            if dependency == "github":
                identity = metrics.get("identity") or {}
                login = identity.get("login")
                missing = list(find_missing(identity))
                if missing:
                    log.warning(
                        "permissions are missing on GitHub",
                        extra={"account": login, "missing": missing},
                    )
                else:
                    sentence = f"GitHub:    acts as {login}, no missing permission is known"
                    self._tell(sentence, "GitHub accepts the credentials", account=login)
            else:
                model = metrics.get("model")
                checked = "the key works"
                message = "Claude accepts the key"
                if metrics.get("model_lifecycle") == "unlisted":
                    checked = "key and model not checked: the service lists no models"
                    message = "Claude's key is not checked"
                self._tell(f"Claude:    {model}, {checked}", message, model=model)

    def _tell(self, sentence: str, message: str, **fields: object) -> None:
        if self.show is not None:
            self.show(sentence)
        else:
            log.info(message, extra=fields)


def find_missing(identity: Mapping[str, Any]) -> Iterator[str]:
    yield from identity.get("missing_permissions") or ()
    installations: Sequence[Mapping[str, Any]] = identity.get("installations") or ()
    for installation in installations:
        yield from (
            f"{sentence} (installation on {installation['account']})"
            for sentence in installation["missing_permissions"]
        )
