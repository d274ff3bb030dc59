"""The composition root: creates all objects of the service from the settings, and connects them.

`hls serve` runs it; `main.py` has it for another ASGI server.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import anyio.to_thread
from starlette.applications import Starlette

from hls_handler import logs
from hls_handler.background.catch_up import EVERY_S as CATCH_UP_EVERY_S
from hls_handler.background.catch_up import CatchUp, CatchUpLoop, Listening
from hls_handler.background.checks import ConnectionReport, HealthChecks
from hls_handler.background.threads import (
    WATCH_EVERY_S,
    Check,
    PeriodicThread,
    make_retention,
    probe_every_s,
    run_checks,
)
from hls_handler.claude.providers import Breakers, Providers
from hls_handler.console.app import Console
from hls_handler.console.frame import ConsolePorts
from hls_handler.console.pages import show_error
from hls_handler.db.files import hold_exclusively, is_shared
from hls_handler.db.migrate import UnsupportedTables
from hls_handler.deliveries import Accepted, End
from hls_handler.engine.active_config import (
    ActiveConfig,
    CachedClient,
    ChosenAccount,
    ConfigReloader,
    DeliveryConfig,
    WorkerContext,
    choose_account,
    load_bot_accounts,
    route_envelope,
)
from hls_handler.engine.check_ender import END_EVERY_S, CheckEnder
from hls_handler.engine.health import Health
from hls_handler.engine.library import load_checked
from hls_handler.engine.workers import Workers
from hls_handler.errors import (
    DatabaseUnavailable,
    Dependency,
    PromptError,
    SettingsError,
    StoreUnavailable,
)
from hls_handler.git.mirror import Mirrors
from hls_handler.github.api import RateLimitMonitor
from hls_handler.github.client import (
    Credentials,
    Github,
    connect,
    make_credentials,
    uses_same_credentials,
)
from hls_handler.github.credentials import App
from hls_handler.github.repository_labels import RepositoryLabels
from hls_handler.log_ring import LogRing
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.prompting.prompt import Library
from hls_handler.queue.group_commit import AcceptQueue
from hls_handler.queue.leases import EXPIRY, Expiry, HeldLeases
from hls_handler.retrieval.vectors import connect_vectors
from hls_handler.routing import WebhookEnvelope
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.environment import export_proxy_settings, proxy_passwords
from hls_handler.settings.load import collect_secrets, find_settings_file
from hls_handler.settings.model import Settings
from hls_handler.settings.providers import ClaudeSettings
from hls_handler.settings.reload import SettingsFile, SettingsReload
from hls_handler.storage import Storage
from hls_handler.web.app import WebApplication
from hls_handler.web.receiver import Ports
from hls_handler.web.stats import read_stats

log = logging.getLogger(__name__)

GithubOf = CachedClient[Credentials, Github]
ClaudeOf = CachedClient[ClaudeSettings, Providers]


@dataclass(frozen=True, slots=True)
class Clients:
    """The clients of one thread."""

    github: GithubOf
    claude: ClaudeOf


@dataclass(frozen=True, slots=True)
class Opened:
    """The configuration and the store that the service opens at its start."""

    config: ActiveConfig
    store: Storage
    held: ExitStack  # closes the database and unlocks its file


Role = Literal["all", "web", "worker"]
"""Role of a process: `web` only receives webhooks, `worker` only processes deliveries, `all` does
both.
"""

PING = {("webhooks", ""): 1, ("event", "ping"): 1, ("outcome", "pong"): 1}
OUTCOME_EVERY_S = 0.25  # pause between two looks at a delivery whose sender waits for the result
GIT_REMEDY = (
    "see git's message in the log, the status of GitHub's Git operations, and the proxy or firewall"
)
PROMPTS_REMEDY = "fix the file that the message names; `hls check` checks all prompts"


def create() -> Starlette:
    """Return the service as an ASGI application. Raises `SettingsError` if settings or prompts
    cannot be used.
    """
    path = find_settings_file(os.environ)
    dotenv = Path(".env")
    export_proxy_settings(os.environ, dotenv)
    file = SettingsFile(path, os.environ, dotenv=dotenv)
    ring = LogRing()
    configure_logs(file.initial, ring)
    return Service(file, ring).web


def _utc_now() -> datetime:
    return datetime.now(UTC)


def configure_logs(settings: Settings, ring: LogRing, *, earlier: Iterable[str] = ()) -> None:
    """Configure logging. The secrets of `settings` and those in `earlier` are replaced by `***` in
    every log line.

    `ring` gets each line, too.
    """
    secrets = {*collect_secrets(settings), *proxy_passwords(), *earlier}
    on_terminal = sys.stderr.isatty()
    layout: logs.LogLayout = settings.logging.format or "json"
    if settings.logging.format is None and on_terminal:
        layout = "events"
    colours = on_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    logs.configure(settings.logging.level, layout, sys.stderr, secrets, colours=colours, ring=ring)


class Service:
    """All objects of one process. `web` is the ASGI application; its lifespan starts and stops the
    threads.

    The constructor raises `SettingsError`, or its subclass `DatabaseUnavailable` if the only
    problem is that the database is unavailable. `ring` is the one that `configure_logs` got. The
    argument `load` is a function that reads the prompt library. With `listening`, missed webhooks
    are read every few seconds, even if the settings switch catch-up off. With `only_batch`, only
    the deliveries of this batch are processed, by `working`.
    """

    def __init__(
        self,
        file: SettingsFile,
        ring: LogRing,
        *,
        load: Callable[[Settings], Library] = load_checked,
        role: Role = "all",
        listening: Listening | None = None,
        expiry: Expiry = EXPIRY,
        only_batch: int | None = None,
    ) -> None:
        settings = file.initial
        self.role: Role = role
        self._log_ring = ring
        self._load = load
        opened = _open(settings, load, role)
        first = opened.config
        self._store = opened.store
        self._held = opened.held
        self._queue = self._store.queue
        if only_batch is not None:
            self._queue = self._store.queue.of_batch(only_batch)
        self._health = Health(_utc_now)
        self._health.ok("store")  # it was opened, and the prompts were read
        self._health.ok("prompts")
        self.connections = ConnectionReport(self._health)
        self._rates = RateLimitMonitor()
        self._breakers = Breakers(_utc_now)
        self._credentials: Credentials | None = None
        self._credentials_lock = threading.Lock()
        self._labels = RepositoryLabels(time.monotonic)
        self._mirrors = Mirrors(
            lambda: self.settings().mirror,
            most_waiting=max(settings.limits.concurrency // 2, 1),
            report=self._report_git_host,
        )
        self._secrets = set(collect_secrets(settings))  # secrets of all settings since the start
        # if set, the next `_check_changes` makes waiting deliveries due
        self._reschedule = threading.Event()
        # the same, but servers that asked to wait keep their holds
        self._installed = threading.Event()
        self._reloader = ConfigReloader(
            file, first, make=self._make_config, follow=self._apply_config, health=self._health
        )
        self._leases = HeldLeases(
            lambda lease, s: self._store.queue.renew(lease, lease_s=s), expiry=expiry
        )
        self._of_workers: list[Clients] = []
        self._workers: Workers | None = None
        if role != "web":
            self._workers = self._make_workers()
        self._vectors = connect_vectors(settings.retrieval)
        self._accepts = AcceptQueue(
            self._store.queue,
            on_commit=self._committed,
        )
        self._probe = self._make_probe(settings)
        watcher = PeriodicThread("watcher", self._check_changes, lambda: WATCH_EVERY_S)
        self._catch_up = self._make_catch_up(listening)
        retention = make_retention(self._store.retention, self.settings)
        self._check_ender = self._make_check_ender()
        self._periodic = [self._probe, watcher, retention, self._catch_up]
        if role != "web":
            self._periodic.append(self._check_ender)
        self._console = Console(self._console_ports(ring))
        self._web = WebApplication(
            settings,
            first.table,
            self._ports(),
            lifespan=self._lifespan,
            more_routes=self._console.routes,
            show_error=show_error,
        )
        self.web = self._web.app

    def settings(self) -> Settings:
        return self._reloader.latest.settings

    def begin_to_stop(self) -> None:
        """Stop claiming deliveries. The application's shutdown waits for deliveries in work."""
        self._console.stop()
        if self._workers is not None:
            self._workers.begin_to_stop()

    @contextmanager
    def working(self) -> Iterator[Health]:
        """Process deliveries without receiving any, for a command; yield the health."""
        assert self._workers is not None
        self._workers.start()
        try:
            yield self._health
        finally:
            self._workers.stop(self.settings().limits.shutdown_s)
            for clients in self._of_workers:
                clients.github.close()
                clients.claude.close()
            self._accepts.close()
            if self._vectors is not None:
                self._vectors.close()
            self._held.close()

    def _make_workers(self) -> Workers:
        return Workers(
            queue=self._queue,
            leases=self._leases,
            limits=lambda: self.settings().limits,
            name=f"{socket.gethostname()}-{os.getpid()}",
            connect=self._connect_worker,
            finished=self._finished,
            health=self._health,
        )

    def _make_probe(self, settings: Settings) -> PeriodicThread:
        clients = self._clients(settings)  # only the thread `probe` uses these clients
        mirror_disk = None
        if self._workers is not None:
            mirror_disk = self._mirrors.disk
        checks = HealthChecks(
            self._store,
            self._reloader,
            github=lambda config: clients.github.of(self._credentials_of(config.settings)),
            lookup_model=lambda model, of: clients.claude.of(of).lookup_default(model),
            health=self._health,
            mirror_disk=mirror_disk,
            expiry=self._leases.expiry,
        ).make()
        if self._vectors is not None:
            checks.append(Check("vectors", self._vectors.check_server))
        return PeriodicThread(
            "probe", partial(self._check_health, checks), lambda: probe_every_s(self._health)
        )

    def _clients(self, settings: Settings) -> Clients:
        observe = self._rates.observe
        github: GithubOf = CachedClient(
            lambda of: connect(
                of, observe=observe, now=_utc_now, labels=self._labels, mirrors=self._mirrors
            ),
            close=Github.close,
        )
        claude: ClaudeOf = CachedClient(self._connect_claude, close=Providers.close)
        # raises `SettingsError` now, not at the first use
        github.of(self._credentials_of(settings))
        claude.of(settings.claude)
        return Clients(github, claude)

    def _connect_claude(self, settings: ClaudeSettings) -> Providers:
        return Providers(settings, clock=time.monotonic, now=_utc_now, breakers=self._breakers)

    def _connect_worker(self, stopping: threading.Event) -> Callable[[], WorkerContext]:
        clients = self._clients(self.settings())
        self._of_workers.append(clients)

        def make_context() -> WorkerContext:
            active = self._current_config()
            settings = active.settings
            github = clients.github.of(self._credentials_of(settings))
            return WorkerContext(
                store=self._store,
                leases=self._leases,
                github=github,
                claude=clients.claude.of(settings.claude),
                health=self._health,
                config=DeliveryConfig(settings, active.table, active.prompts.latest),
                choose_account=partial(self._choose_account, active, github),
                stopping=stopping.is_set,
                pause=stopping.wait,
                jitter=random.random,
                clock=time.monotonic,
                vectors=self._vectors,
            )

        return make_context

    def _credentials_of(self, settings: Settings) -> Credentials:
        """Return the credentials that all clients with these settings share."""
        with self._credentials_lock:
            if self._credentials is None or not uses_same_credentials(
                self._credentials.settings, settings.github
            ):
                self._credentials = make_credentials(
                    settings.github,
                    observe=self._rates.observe,
                    now=_utc_now,
                    changed=lambda: self._probe.run_soon(),
                )
            return self._credentials

    def _report_git_host(self, failure: str) -> None:
        if failure:
            message = f"{failure}: reviews go on without a mirror, and one fetch a minute tries it"
            self._health.report_problem("mirror", message, GIT_REMEDY)
        else:
            self._health.ok("mirror")

    def _choose_account(
        self, active: ActiveConfig, github: Github, repository_id: int | None, number: int | None
    ) -> ChosenAccount:
        credentials = self._credentials_of(active.settings)
        if isinstance(credentials, App) or len(credentials.all) == 1:
            return ChosenAccount(github, active.bot.get_or_fetch(github))
        wrote = frozenset[str]()
        if repository_id is not None and number is not None:
            wrote = self._store.conversations.find_writers(repository_id, number)
        clients = [github.with_token(token) for token in credentials.all]
        return choose_account(
            clients, active.bots, wrote, credentials.all.index(credentials.preferred)
        )

    def _current_config(self) -> ActiveConfig:
        """Return the configuration in use, after a reload of changed settings and prompts."""
        config = self._reloader.current()
        config.prompts.current()
        if config.prompts.reload_error is None:
            self._health.ok("prompts")
        else:
            self._health.report_problem("prompts", config.prompts.reload_error, PROMPTS_REMEDY)
        return config

    def _make_config(self, settings: Settings, before: ActiveConfig) -> ActiveConfig:
        self._secrets.update(collect_secrets(settings))
        configure_logs(before.settings, self._log_ring, earlier=self._secrets)
        clients = self._clients(settings)
        clients.github.close()
        clients.claude.close()
        prompts = before.prompts
        bots = before.bots
        if any(
            getattr(settings, name) != getattr(before.settings, name)
            for name in ("prompts", "repositories")
        ):
            folders = settings.prompts.folders.values()
            prompts = ReloadingLibrary(
                lambda: self._load(settings), *folders, before=prompts.latest
            )
        if not uses_same_credentials(settings.github, before.settings.github):
            bots = load_bot_accounts(settings.github, self._store)
        return ActiveConfig(settings, RepositoryTable(settings), prompts, bots)

    def _apply_config(self, config: ActiveConfig, step: SettingsReload) -> None:
        configure_logs(config.settings, self._log_ring, earlier=self._secrets)
        self._web.apply(config.settings, config.table)
        for warning in config.settings.warnings:
            log.warning(warning)
        for dependency in get_args(Dependency):
            if any(key.startswith(f"{dependency}.") for key in step.changed):
                self._health.forget(dependency)
                self.connections.forget(dependency)
        if any(key.startswith("catch_up.") for key in step.changed):
            self._catch_up.run_soon()
        if step.changed:
            self._reschedule.set()  # the change may have fixed what deliveries wait for

    def _reschedule_waiting(self) -> None:
        causes = [cause for cause in (self._reschedule, self._installed) if cause.is_set()]
        if not causes:
            return
        for cause in causes:
            # cleared first, so that a change during the call is handled by the next check
            cause.clear()
        try:
            self._store.queue.reschedule_waiting(forget_servers=self._reschedule in causes)
        except StoreUnavailable:
            for cause in causes:
                cause.set()
            raise
        self._wake()
        self._probe.run_soon()

    def _check_health(self, checks: Sequence[Check]) -> None:
        run_checks(checks, self._health)
        self.connections.report()

    def _check_changes(self) -> None:
        try:
            self._current_config()
            self._reschedule_waiting()
        except StoreUnavailable as exc:
            self._health.report_store_problem(exc)
        self._accepts.commit_counts()

    def _wake(self) -> None:
        if self._workers is not None:
            self._workers.wake()

    def _committed(self, accepted: Sequence[Accepted]) -> None:
        if any(outcome.outcome == "queued" for outcome in accepted):
            self._wake()

    async def _wait_for_end(self, guid: str) -> End:
        """Wait until a delivery has ended, in this process or in another one."""
        while True:
            with suppress(StoreUnavailable):
                end = await asyncio.to_thread(self._store.deliveries.end_of, guid)
                if end is not None:
                    return end
            await asyncio.sleep(OUTCOME_EVERY_S)

    def _finished(self, _guid: str, end: End) -> None:
        if end.state != "done":
            self._check_ender.run_soon()
        made = self._rates.take_request_count()
        if made:
            self._accepts.count({("github_requests", ""): made})

    def _make_check_ender(self) -> PeriodicThread:
        observe = self._rates.observe
        clients: GithubOf = CachedClient(
            lambda of: connect(of, observe=observe, now=_utc_now), close=Github.close
        )
        ender = CheckEnder(
            self._store,
            lambda: clients.of(self._credentials_of(self.settings())).preferred(),
            settings=self.settings,
            wait=lambda seconds: thread.wait(seconds),
            slowest_write_s=self._leases.expiry.slowest_write_s,
        )
        thread = PeriodicThread("check-ender", ender.run, lambda: END_EVERY_S)
        return thread

    def _make_catch_up(self, listening: Listening | None) -> PeriodicThread:
        since = None
        every_s = CATCH_UP_EVERY_S
        options: dict[str, object] = {}
        if listening is not None:
            since = listening.since
            every_s = listening.every_s
            options = {"enabled": True}
        catch_up = CatchUp(
            self._store,
            lambda: self._reloader.latest,
            self._credentials_of,
            wait=lambda seconds: thread.wait(seconds),
            rates=self._rates,
            on_commit=self._committed,
            since=since,
        )
        loop = CatchUpLoop(
            catch_up,
            self._store.catch_up,
            lambda: self.settings().catch_up.model_copy(update=options),
            self._health,
            every_s=every_s,
        )
        thread = PeriodicThread("catch-up", loop.run, loop.pause_s)
        return thread

    def _ports(self) -> Ports:
        return Ports(
            route=lambda event, envelope: route_envelope(self._reloader.latest, event, envelope),
            accept=self._accepts.accept,
            count_ping=lambda: self._accepts.count(PING),
            # Without a commit of its own: anybody can cause rejections.
            count_rejection=lambda status: self._accepts.count({("rejected", str(status)): 1}),
            wait_for_end=self._wait_for_end,
            stats=lambda uptime_s: read_stats(self._store, self._rates.rate_limit, uptime_s),
            health=self._health,
            clock=time.monotonic,
            installation_changed=self._installation_changed,
            receives_webhooks=self.role != "worker",
        )

    def _console_ports(self, ring: LogRing) -> ConsolePorts:
        return ConsolePorts(
            store=self._store,
            now=time.time,
            health=self._health,
            rate_limit=lambda: self._rates.rate_limit,
            log_ring=ring,
            prompts=lambda: self._reloader.latest.prompts,
            has_webhooks=self.role != "worker",
        )

    def _installation_changed(self, envelope: WebhookEnvelope) -> None:
        credentials = self._credentials_of(self.settings())
        if not isinstance(credentials, App):
            return
        owner = envelope.installation_owner
        repositories = envelope.installation_repositories or None
        credentials.forget(repositories, owner=owner)
        fields = {"action": envelope.action, "account": owner, "repositories": repositories}
        log.info("the installation of the GitHub App has changed", extra=fields)
        self._installed.set()  # deliveries may wait for it
        self._probe.run_soon()

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        if self._workers is not None:
            self._workers.start()
        for thread in self._periodic:
            thread.start()
        try:
            yield
        finally:
            self._console.stop()
            for thread in reversed(self._periodic):
                thread.stop()
            if self._workers is not None:
                await anyio.to_thread.run_sync(
                    self._workers.stop, self.settings().limits.shutdown_s
                )
            await anyio.to_thread.run_sync(self._accepts.close)
            if self._vectors is not None:
                await anyio.to_thread.run_sync(self._vectors.close)
            self._held.close()


def _open(settings: Settings, load: Callable[[Settings], Library], role: Role) -> Opened:
    problems: list[str] = []
    prompts = store = bots = None
    with ExitStack() as held:
        try:
            prompts = ReloadingLibrary(lambda: load(settings), *settings.prompts.folders.values())
        except PromptError as exc:
            problems += exc.problems
        try:
            if role != "all" and not is_shared(settings.storage.url):
                where = settings.sources.where("storage.url")
                problem = (
                    f"{where}: --role {role} needs a database that processes can share, but only"
                    " one process can use an SQLite file: name a postgresql+psycopg:// address, or"
                    " serve without --role"
                )
                raise SettingsError([*problems, problem])
            alone = held.enter_context(hold_exclusively(settings.storage.url))
            store = Storage.open(settings.storage.url)
            held.callback(store.close)
            if alone:
                store.queue.release_all_leases()
            store.queue.reschedule_waiting(forget_servers=alone)
            bots = load_bot_accounts(settings.github, store)
        except StoreUnavailable as exc:
            problems.append(f"{settings.sources.where('storage.url')}: {exc}")
            if prompts is not None and not isinstance(exc, UnsupportedTables):
                raise DatabaseUnavailable(problems) from exc
        if prompts is None or store is None or bots is None:
            raise SettingsError(problems)
        config = ActiveConfig(settings, RepositoryTable(settings), prompts, bots)
        return Opened(config, store, held.pop_all())
