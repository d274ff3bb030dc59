"""The composition root: creates all objects of the service from the settings, and connects them.

`hls serve` runs it; `main.py` has it for another ASGI server.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import get_args

import anyio.to_thread
from starlette.applications import Starlette

from hls_handler.background.catch_up import EVERY_S as CATCH_UP_EVERY_S
from hls_handler.background.catch_up import CatchUp, CatchUpLoop, Listening
from hls_handler.background.health_checks import ConnectionReport, HealthChecks
from hls_handler.background.threads import (
    WATCH_EVERY_S,
    Check,
    PeriodicThread,
    make_retention,
    probe_every_s,
    run_checks,
)
from hls_handler.batches.recorded import RUNS
from hls_handler.console.app import Console
from hls_handler.console.frame import ConsolePorts
from hls_handler.console.pages import show_error
from hls_handler.deliveries import End
from hls_handler.engine.active_config import (
    ActiveConfig,
    ConfigReloader,
    load_bot_accounts,
    load_library,
)
from hls_handler.engine.library import load_checked
from hls_handler.engine.processing import Processing, Role, configure_logs
from hls_handler.engine.shown_check import END_EVERY_S
from hls_handler.errors import Dependency, StoreUnavailable
from hls_handler.github.api import RateLimit
from hls_handler.github.client import Github, uses_same_credentials
from hls_handler.github.credentials import App
from hls_handler.logs import LogRing
from hls_handler.prompting.prompt import Library
from hls_handler.queue.leases import EXPIRY, Expiry
from hls_handler.routing import RoutingResult, WebhookEnvelope
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.environment import export_proxy_settings
from hls_handler.settings.load import collect_secrets, find_settings_file
from hls_handler.settings.model import Settings
from hls_handler.settings.providers import ClaudeSettings
from hls_handler.settings.reload import SettingsFile
from hls_handler.web.app import WebApplication
from hls_handler.web.receiver import Ports
from hls_handler.web.stats import read_stats

log = logging.getLogger(__name__)

PING = {("webhooks", ""): 1, ("event", "ping"): 1, ("outcome", "pong"): 1}
OUTCOME_EVERY_S = 0.25  # pause between two looks at a delivery whose sender waits for the result


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


class Service:
    """All objects of one process. `web` is the ASGI application; its lifespan starts and stops the
    threads.

    With `listening`, missed webhooks are read every few seconds, even if the settings switch
    catch-up off.
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
    ) -> None:
        settings = file.initial
        self._ring = ring
        self._load = load
        self._secrets = set(collect_secrets(settings))  # secrets of all settings since the start
        # if set, the watcher makes waiting deliveries due
        self._reschedule = threading.Event()
        # the same, but servers that asked to wait keep their holds
        self._installed = threading.Event()

        self._processing = Processing(
            settings,
            RUNS,
            load=load,
            role=role,
            expiry=expiry,
            on_end=self._end_delivery,
            on_credentials=self._probe_soon,
        )
        self.role = role
        self.store = self._processing.store
        self._health = self._processing.health
        self._reloader = ConfigReloader(file, make=self._make_config, health=self._health)
        self.connections = ConnectionReport(self._health)

        self._probe = self._make_probe()
        self._watcher = PeriodicThread("watcher", self._watch, lambda: WATCH_EVERY_S)
        self._retention = make_retention(self.store.retention, self.settings)
        self._catch_up = self._make_catch_up(listening)
        self._check_ender = self._make_check_ender(expiry)

        self._console = Console(self._console_ports())
        self._web = WebApplication(
            settings,
            self.config().table,
            self._ports(),
            lifespan=self._lifespan,
            more_routes=self._console.routes,
            show_error=show_error,
        )
        self.web = self._web.app

    def settings(self) -> Settings:
        return self._processing.settings()

    def config(self) -> ActiveConfig:
        return self._processing.config

    def begin_to_stop(self) -> None:
        """Stop claiming deliveries. The application's shutdown waits for deliveries in work."""
        self._console.stop()
        if self._processing.workers is not None:
            self._processing.workers.begin_to_stop()

    def close(self) -> None:
        self._processing.close()

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        workers = self._processing.workers
        threads = [self._probe, self._watcher, self._retention, self._catch_up]
        if workers is not None:
            threads.append(self._check_ender)
            workers.start()
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._console.stop()
            for thread in reversed(threads):
                thread.stop()
            if workers is not None:
                await anyio.to_thread.run_sync(workers.stop, self.settings().limits.shutdown_s)
            await anyio.to_thread.run_sync(self.close)

    # The threads

    def _make_probe(self) -> PeriodicThread:
        processing = self._processing
        clients = processing.make_clients(self.settings())  # only the thread `probe` uses these

        def connect_github(config: ActiveConfig) -> Github:
            return clients.github.of(processing.credentials_of(config.settings))

        def lookup_model(model: str, settings: ClaudeSettings) -> object:
            return clients.claude.of(settings).lookup_default(model)

        mirror_disk = None
        if processing.workers is not None:
            mirror_disk = processing.mirrors.disk
        checks = HealthChecks(
            self.store,
            self.config,
            github=connect_github,
            lookup_model=lookup_model,
            health=self._health,
            mirror_disk=mirror_disk,
            expiry=processing.leases.expiry,
        ).make()
        if processing.vectors is not None:
            checks.append(Check("vectors", processing.vectors.check_server))

        def probe() -> None:
            run_checks(checks, self._health)
            self.connections.report()

        return PeriodicThread("probe", probe, lambda: probe_every_s(self._health))

    def _make_catch_up(self, listening: Listening | None) -> PeriodicThread:
        since = None
        every_s = CATCH_UP_EVERY_S
        options: dict[str, object] = {}
        if listening is not None:
            since = listening.since
            every_s = listening.every_s
            options = {"enabled": True}
        catch_up = CatchUp(
            self.store,
            self.config,
            self._processing.credentials_of,
            wait=lambda seconds: thread.wait(seconds),
            rates=self._processing.rates,
            on_commit=self._processing.committed,
            since=since,
        )
        loop = CatchUpLoop(
            catch_up,
            self.store.catch_up,
            lambda: self.settings().catch_up.model_copy(update=options),
            self._health,
            every_s=every_s,
        )
        thread = PeriodicThread("catch-up", loop.run, loop.pause_s)
        return thread

    def _make_check_ender(self, expiry: Expiry) -> PeriodicThread:
        ender = self._processing.make_check_ender(
            lambda seconds: thread.wait(seconds), slowest_write_s=expiry.slowest_write_s
        )
        thread = PeriodicThread("check-ender", ender.run, lambda: END_EVERY_S)
        return thread

    # What changes while the service runs

    def _watch(self) -> None:
        """Read changed settings and prompts, and make deliveries due that a change lets succeed."""
        for part in (self._reload_settings, self._reschedule_waiting):
            try:
                part()
            except StoreUnavailable as exc:
                self._health.report_store_problem(exc)
        self._processing.accepts.commit_counts()
        self._reload_prompts()  # last, because it may take long

    def _reload_settings(self) -> None:
        new = self._reloader.reload(self.config())
        if new is not None:
            self._apply(new.config, new.changed)
            self._reloader.report(new)

    def _reload_prompts(self) -> None:
        prompts = self.config().prompts
        error = prompts.reload_error
        prompts.reload()
        if prompts.reload_error != error:
            self._probe_soon()  # it reports the error

    def _make_config(self, settings: Settings, before: ActiveConfig) -> ActiveConfig:
        self._secrets.update(collect_secrets(settings))
        configure_logs(before.settings, self._ring, earlier=self._secrets)
        self._processing.make_clients(settings).close()
        prompts = before.prompts
        bots = before.bots
        if any(
            getattr(settings, name) != getattr(before.settings, name)
            for name in ("prompts", "repositories")
        ):
            prompts = load_library(settings, self._load, before=prompts.latest)
        if not uses_same_credentials(settings.github, before.settings.github):
            bots = load_bot_accounts(settings.github, self.store)
        return ActiveConfig(settings, RepositoryTable(settings), prompts, bots)

    def _apply(self, config: ActiveConfig, changed: Sequence[str]) -> None:
        self._processing.config = config
        configure_logs(config.settings, self._ring, earlier=self._secrets)
        self._web.apply(config.settings, config.table)
        for warning in config.settings.warnings:
            log.warning(warning)
        for dependency in get_args(Dependency):
            if any(key.startswith(f"{dependency}.") for key in changed):
                self._health.forget(dependency)
                self.connections.forget(dependency)
        if any(key.startswith("catch_up.") for key in changed):
            self._catch_up.run_soon()
        if changed:
            self._reschedule.set()  # the change may have fixed what deliveries wait for

    def _reschedule_waiting(self) -> None:
        causes = [cause for cause in (self._reschedule, self._installed) if cause.is_set()]
        if not causes:
            return
        for cause in causes:
            # cleared first, so that a change during the call is handled by the next check
            cause.clear()
        try:
            self.store.queue.reschedule_waiting(forget_servers=self._reschedule in causes)
        except StoreUnavailable:
            for cause in causes:
                cause.set()
            raise
        self._processing.wake()
        self._probe_soon()

    def _probe_soon(self) -> None:
        self._probe.run_soon()

    def _end_delivery(self, end: End) -> None:
        if end.state != "done":
            self._check_ender.run_soon()

    # What the endpoints use

    def _ports(self) -> Ports:
        accepts = self._processing.accepts
        return Ports(
            route=self._route,
            accept=accepts.accept,
            count_ping=lambda: accepts.count(PING),
            # Without a commit of its own: anybody can cause rejections.
            count_rejection=lambda status: accepts.count({("rejected", str(status)): 1}),
            wait_for_end=self._wait_for_end,
            stats=lambda uptime_s: read_stats(self.store, self._rate_limit(), uptime_s),
            health=self._health,
            clock=time.monotonic,
            installation_changed=self._installation_changed,
            receives_webhooks=self.role != "worker",
        )

    def _console_ports(self) -> ConsolePorts:
        return ConsolePorts(
            store=self.store,
            now=time.time,
            health=self._health,
            rate_limit=self._rate_limit,
            log_ring=self._ring,
            prompts=lambda: self.config().prompts,
            has_webhooks=self.role != "worker",
        )

    def _route(self, event: str, envelope: WebhookEnvelope) -> RoutingResult:
        return self.config().route(event, envelope)

    def _rate_limit(self) -> RateLimit:
        return self._processing.rates.rate_limit

    async def _wait_for_end(self, guid: str) -> End:
        """Wait until a delivery has ended, in this process or in another one."""
        while True:
            with suppress(StoreUnavailable):
                end = await asyncio.to_thread(self.store.deliveries.end_of, guid)
                if end is not None:
                    return end
            await asyncio.sleep(OUTCOME_EVERY_S)

    def _installation_changed(self, envelope: WebhookEnvelope) -> None:
        credentials = self._processing.credentials_of(self.settings())
        if not isinstance(credentials, App):
            return
        owner = envelope.installation_owner
        repositories = envelope.installation_repositories or None
        credentials.forget(repositories, owner=owner)
        fields = {"action": envelope.action, "account": owner, "repositories": repositories}
        log.info("the installation of the GitHub App has changed", extra=fields)
        self._installed.set()  # deliveries may wait for it
        self._probe_soon()
