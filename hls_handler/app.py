"""The composition root: from settings to a running service, in reading order. It alone knows the concrete classes.

`uvicorn hls_handler.app:create --factory` serves the file that $HLS_CONFIG names, else config/settings.yaml.
"""

from __future__ import annotations

import logging
import os
import random
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import anyio.to_thread
from starlette.applications import Starlette

from hls_handler import logs
from hls_handler.clients.claude import Claude
from hls_handler.clients.github import Github, connect
from hls_handler.clients.rate_limit import RateLimitMonitor
from hls_handler.clients.transport import proxy_passwords
from hls_handler.db.files import hold_exclusively, is_shared
from hls_handler.deliveries import Accepted, Finished
from hls_handler.errors import DatabaseUnavailable, Dependency, PromptError, SettingsError, StoreUnavailable
from hls_handler.events import WebhookEnvelope
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.prompting.prompt import Library
from hls_handler.queue.group_commit import AcceptQueue
from hls_handler.queue.leases import HeldLeases
from hls_handler.queue.notifier import Notifier
from hls_handler.routing import Ignored, LabelCorrection, Rule, from_envelope, route
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.load import SettingsFile, SettingsReload, collect_secrets, export_proxy_settings
from hls_handler.settings.model import Claude as ClaudeSettings
from hls_handler.settings.model import Github as GithubSettings
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.web.app import Ports, WebApplication
from hls_handler.work.active_config import ActiveConfig, BotAccount, CachedClient, ConfigReloader, Watcher
from hls_handler.work.checks import checks
from hls_handler.work.health import Health
from hls_handler.work.library import library_basis, load_checked
from hls_handler.work.outcomes import Outcomes
from hls_handler.work.pauses import document
from hls_handler.work.ports import DeliveryConfig, WorkerContext
from hls_handler.work.probe import Check, Probe
from hls_handler.work.retention import Retention
from hls_handler.work.workers import Workers

log = logging.getLogger(__name__)

GithubOf = CachedClient[GithubSettings, Github]
ClaudeOf = CachedClient[ClaudeSettings, Claude]

Role = Literal["all", "web", "worker"]
"""Role of a process: `web` only receives webhooks, `worker` only processes deliveries, `all` does both."""

PING = {("webhooks", ""): 1, ("event", "ping"): 1, ("outcome", "pong"): 1}
NOT_SHARED = (
    "needs a database that processes can share, and one process holds an SQLite file: name a postgresql+psycopg:// "
    "address, or serve without --role"
)
PROMPTS_REMEDY = "fix the file that the message names; `hls check` checks all prompts"


def create() -> Starlette:
    """Return the application for an ASGI server. Raises `SettingsError` with all problems."""
    path, dotenv = Path(os.environ.get("HLS_CONFIG") or "config/settings.yaml"), Path(".env")
    export_proxy_settings(os.environ, dotenv)
    file = SettingsFile(path, os.environ, dotenv=dotenv)
    configure_logs(file.initial)
    return Service(file).web


def _utc_now() -> datetime:
    return datetime.now(UTC)


def configure_logs(settings: Settings, *, earlier: Iterable[str] = ()) -> None:
    """Configure logging. `earlier` are secrets of previous settings, which stay masked."""
    secrets = sorted(
        {*collect_secrets(settings), *proxy_passwords(), *earlier}, key=lambda secret: (-len(secret), secret)
    )
    logs.configure(settings.logging.level, settings.logging.format, sys.stderr, secrets)


class Service:
    """Composition root: makes all objects; the lifespan of the application `web` starts and stops their threads.

    `load` loads the prompt library for settings. Processes that share a database may have different roles. Raises
    `SettingsError` with all problems, or `DatabaseUnavailable` if the database is the only problem.
    """

    def __init__(
        self, file: SettingsFile, *, load: Callable[[Settings], Library] = load_checked, role: Role = "all"
    ) -> None:
        settings = file.initial
        self.role: Role = role
        self._load = load
        first, self._store, self._held = _open(settings, load, role)
        self._health = Health(_utc_now)
        self._rates = RateLimitMonitor()
        self._outcomes = Outcomes()
        self._secrets = set(collect_secrets(settings))  # of all settings since the start
        self._reschedule = threading.Event()  # set: waiting deliveries become due at the next check
        self._reloader = ConfigReloader(
            file, first, make=self._make_config, follow=self._apply_config, health=self._health
        )
        self._leases = HeldLeases(
            lambda lease, s: self._store.queue.renew(lease, lease_s=s), lease_s=lambda: self.settings().limits.lease_s
        )
        self._workers = None if role == "web" else self._make_workers()
        self._accepts = AcceptQueue(
            self._store.queue,
            replay_window_h=lambda: self.settings().limits.replay_window_h,
            on_commit=self._committed,
        )
        self._notifier = Notifier(settings.storage.url, on_wake_up=self._on_notification)
        self._probe = Probe(self._make_checks(settings), self._health)
        self._watcher = Watcher(self._look, self._health)
        self._retention = Retention(self._store.retention, self.settings)
        self._web = WebApplication(
            settings,
            table=first.table,
            ports=self._ports(),
            lifespan=self._lifespan,
            receives_webhooks=role != "worker",
        )
        self.web = self._web.app

    def settings(self) -> Settings:
        """Return the current settings."""
        return self._reloader.latest.settings

    def begin_to_stop(self) -> None:
        """Claim no more deliveries; the end of the lifespan waits for the running ones."""
        if self._workers is not None:
            self._workers.begin_to_stop()

    def _make_workers(self) -> Workers:
        return Workers(
            queue=self._store.queue,
            leases=self._leases,
            limits=lambda: self.settings().limits,
            name=f"{socket.gethostname()}-{os.getpid()}",
            make_toolbox=self._make_toolbox,
            finished=self._finished,
            health=self._health,
        )

    def _clients(self, settings: Settings) -> tuple[GithubOf, ClaudeOf]:
        """Return the clients of one thread, connected now so that invalid client settings raise here."""
        observe = self._rates.observe
        github: GithubOf = CachedClient(lambda of: connect(of, observe=observe, now=_utc_now), close=Github.close)
        claude: ClaudeOf = CachedClient(lambda of: Claude(of, clock=time.monotonic, now=_utc_now), close=Claude.close)
        github.of(settings.github)
        claude.of(settings.claude)
        return github, claude

    def _make_checks(self, settings: Settings) -> list[Check]:
        """Return the probe's checks, with clients that only the probe uses."""
        github, claude = self._clients(settings)
        return checks(
            self._store,
            self._reloader,
            github=lambda of: github.of(of.github),
            lookup_model=lambda of: claude.of(of.claude).lookup_model(of.claude.model),
        )

    def _make_toolbox(self, stopping: threading.Event) -> Callable[[], WorkerContext]:
        """Return a function that makes the context of one delivery with the current settings, for one worker thread."""
        github, claude = self._clients(self.settings())

        def tools() -> WorkerContext:
            config, now = self._current_config()
            return WorkerContext(
                store=self._store,
                leases=self._leases,
                github=github.of(now.settings.github),
                claude=claude.of(now.settings.claude),
                health=self._health,
                now=lambda: now,
                bot=config.bot.ask,
                stopping=stopping.is_set,
                pause=stopping.wait,
                jitter=random.random,
                clock=time.monotonic,
            )

        return tools

    def _current_config(self) -> tuple[ActiveConfig, DeliveryConfig]:
        """Reload changed settings and prompts and return them; report the state of the prompts to `/health`."""
        config = self._reloader.current()
        library = config.prompts.current()
        if config.prompts.report_problem is None:
            self._health.ok("prompts")
        else:
            self._health.report_problem("prompts", config.prompts.report_problem, PROMPTS_REMEDY)
        return config, DeliveryConfig(config.settings, config.table, library)

    def _make_config(self, settings: Settings, before: ActiveConfig) -> ActiveConfig:
        """Return the configuration for new settings; masks their secrets. Invalid prompts do not replace valid ones."""
        self._secrets.update(collect_secrets(settings))
        configure_logs(before.settings, earlier=self._secrets)
        github, claude = self._clients(settings)
        github.close()
        claude.close()
        same = settings.github.token == before.settings.github.token
        same = same and settings.github.base_url == before.settings.github.base_url
        same_library = library_basis(settings) == library_basis(before.settings)
        return ActiveConfig(
            settings=settings,
            table=RepositoryTable(settings),
            prompts=before.prompts
            if same_library
            else _load_library(settings, self._load, before=before.prompts.latest),
            bot=before.bot if same else _bot_account(settings, self._store),
        )

    def _apply_config(self, config: ActiveConfig, step: SettingsReload) -> None:
        """Apply a reloaded configuration to logging, the receiver and `/health`."""
        configure_logs(config.settings, earlier=self._secrets)
        self._web.apply(config.settings, config.table)
        for warning in config.settings.warnings:
            log.warning(warning)
        for dependency in get_args(Dependency):
            if any(key.startswith(f"{dependency}.") for key in step.changed):
                self._health.forget(dependency)
        if step.changed:
            self._reschedule.set()
            self._reschedule_waiting()

    def _reschedule_waiting(self) -> None:
        """After a settings change, make all waiting deliveries due at once, because the reason to wait may be gone."""
        if not self._reschedule.is_set():
            return
        self._reschedule.clear()  # cleared first, so that a change during the call is handled by the next check
        try:
            self._store.queue.reschedule_waiting()
        except StoreUnavailable:
            self._reschedule.set()
            raise
        self._wake()
        self._probe.look_soon()

    def _look(self) -> None:
        """Check files, and outcomes that requests wait for, in case a notification was lost. Called every second."""
        self._current_config()
        self._reschedule_waiting()
        self._query_outcomes()

    def _wake(self, workers: int | None = None) -> None:
        if self._workers is not None:
            self._workers.wake(workers)

    def _committed(self, accepted: Sequence[Accepted]) -> None:
        self._outcomes.committed(accepted)
        self._wake(sum(one.outcome == "queued" for one in accepted))

    def _on_notification(self) -> None:
        """Wake workers and query outcomes: a process has accepted or finished a delivery."""
        self._wake()
        self._query_outcomes()

    def _query_outcomes(self) -> None:
        with suppress(StoreUnavailable):  # repeated in a second; if it never works, the response is "queued"
            self._outcomes.look(self._store.deliveries.finished)

    def _finished(self, end: Finished) -> None:
        self._outcomes.tell(end)
        made = self._rates.take_request_count()
        if made:
            self._accepts.count({("github_requests", ""): made})

    def _ports(self) -> Ports:
        return Ports(
            route=self._route,
            accept=self._accepts.accept,
            count_ping=lambda: self._accepts.count(PING),
            outcome=self._outcomes.expect,
            counters=self._store.statistics.counters,
            queue=self._queue,
            rate_limit=lambda: self._rates.use.rate_limit,
            health=self._health,
            clock=time.monotonic,
        )

    def _queue(self) -> dict[str, object]:
        pauses = [document(pause) for pause in self._store.pauses.active()]
        return {**asdict(self._store.deliveries.queue_state()), "paused": pauses}

    async def _route(self, event: str, envelope: WebhookEnvelope) -> Rule | LabelCorrection | Ignored:
        """Route with the loaded prompts; before ignoring an event for its prompt, reload changed prompt files."""
        now = self._reloader.latest
        decide = partial(
            route, from_envelope(event, envelope), settings=now.settings, table=now.table, bot=now.bot.known
        )
        rule = decide(catalogue=now.prompts.latest)
        if isinstance(rule, Ignored) and rule.kind in ("no prompt", "several prompts"):
            return decide(catalogue=await anyio.to_thread.run_sync(now.prompts.current))
        return rule

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        if self._workers is not None:
            self._workers.start()
        self._notifier.start()
        self._probe.start()
        self._watcher.start()
        self._retention.start()
        try:
            yield
        finally:
            self._retention.stop()
            self._watcher.stop()
            self._probe.stop()
            await anyio.to_thread.run_sync(self._notifier.stop)
            if self._workers is not None:
                await anyio.to_thread.run_sync(self._stop_workers, self._workers)
            await anyio.to_thread.run_sync(self._accepts.close)
            self._held.close()

    def _stop_workers(self, workers: Workers) -> None:
        busy = workers.stop(within_s=self.settings().limits.shutdown_s)
        if busy:
            log.warning("stopped with deliveries still running; they continue at the next start", extra={"busy": busy})


def _open(
    settings: Settings, load: Callable[[Settings], Library], role: Role
) -> tuple[ActiveConfig, Storage, ExitStack]:
    """Load prompts, open the store and load the bot account. Raises one error that names all problems.

    Closing the stack closes the store and releases its file.
    """
    problems: list[str] = []
    live = store = bot = None
    with ExitStack() as held:
        try:
            live = _load_library(settings, load, before=None)
        except PromptError as exc:
            problems += exc.problems
        try:
            if role != "all" and not is_shared(settings.storage.url):
                where = settings.sources.where("storage.url")
                raise SettingsError([*problems, f"{where}: --role {role} {NOT_SHARED}"])
            alone = held.enter_context(hold_exclusively(settings.storage.url))
            store = Storage.open(settings.storage.url)
            held.callback(store.close)
            if alone:
                store.queue.release_all_leases()
            store.queue.reschedule_waiting(forget_servers=alone)
            bot = _bot_account(settings, store)
        except StoreUnavailable as exc:
            problems.append(f"{settings.sources.where('storage.url')}: {exc}")
            if live is not None:
                raise DatabaseUnavailable(problems) from exc
        if live is None or store is None or bot is None:
            raise SettingsError(problems)
        return ActiveConfig(settings, RepositoryTable(settings), live, bot), store, held.pop_all()


def _load_library(
    settings: Settings, load: Callable[[Settings], Library], *, before: Library | None
) -> ReloadingLibrary:
    return ReloadingLibrary(lambda: load(settings), *settings.prompts.folders.values(), before=before)


def _bot_account(settings: Settings, store: Storage) -> BotAccount:
    return BotAccount(store, token=settings.github.token.get_secret_value(), base_url=settings.github.base_url)
