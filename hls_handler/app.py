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
from functools import partial
from pathlib import Path
from typing import get_args

import anyio.to_thread
from starlette.applications import Starlette

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
from hls_handler.console.app import Console
from hls_handler.console.frame import ConsolePorts
from hls_handler.console.pages import show_error
from hls_handler.deliveries import End
from hls_handler.engine.active_config import ActiveConfig, route_envelope
from hls_handler.engine.check_ender import END_EVERY_S
from hls_handler.engine.library import load_checked
from hls_handler.engine.processing import Processing, Role, configure_logs
from hls_handler.errors import Dependency, StoreUnavailable
from hls_handler.github.credentials import App
from hls_handler.logs import LogRing
from hls_handler.prompting.prompt import Library
from hls_handler.queue.leases import EXPIRY, Expiry
from hls_handler.routing import WebhookEnvelope
from hls_handler.settings.environment import export_proxy_settings
from hls_handler.settings.load import find_settings_file
from hls_handler.settings.model import Settings
from hls_handler.settings.reload import SettingsFile, SettingsReload
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


class Service(Processing):
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
        super().__init__(file, ring, load=load, role=role, expiry=expiry)
        settings = self.settings()
        self.connections = ConnectionReport(self._health)
        # if set, the next `_check_changes` makes waiting deliveries due
        self._reschedule = threading.Event()
        # the same, but servers that asked to wait keep their holds
        self._installed = threading.Event()
        self._probe = self._make_probe(settings)
        watcher = PeriodicThread("watcher", self._check_changes, lambda: WATCH_EVERY_S)
        self._catch_up = self._make_catch_up(listening)
        retention = make_retention(self.store.retention, self.settings)
        ender = self.make_check_ender(
            lambda seconds: self._check_ender.wait(seconds), slowest_write_s=expiry.slowest_write_s
        )
        self._check_ender: PeriodicThread = PeriodicThread(
            "check-ender", ender.run, lambda: END_EVERY_S
        )
        self._periodic = [self._probe, watcher, retention, self._catch_up]
        if role != "web":
            self._periodic.append(self._check_ender)
        self._console = Console(self._console_ports(ring))
        self._web = WebApplication(
            settings,
            self.config().table,
            self._ports(),
            lifespan=self._lifespan,
            more_routes=self._console.routes,
            show_error=show_error,
        )
        self.web = self._web.app

    def begin_to_stop(self) -> None:
        """Stop claiming deliveries. The application's shutdown waits for deliveries in work."""
        self._console.stop()
        if self._workers is not None:
            self._workers.begin_to_stop()

    def _make_probe(self, settings: Settings) -> PeriodicThread:
        clients = self._clients(settings)  # only the thread `probe` uses these clients
        mirror_disk = None
        if self._workers is not None:
            mirror_disk = self._mirrors.disk
        checks = HealthChecks(
            self.store,
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

    def _apply_config(self, config: ActiveConfig, step: SettingsReload) -> None:
        super()._apply_config(config, step)
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
            self.store.queue.reschedule_waiting(forget_servers=self._reschedule in causes)
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

    async def _wait_for_end(self, guid: str) -> End:
        """Wait until a delivery has ended, in this process or in another one."""
        while True:
            with suppress(StoreUnavailable):
                end = await asyncio.to_thread(self.store.deliveries.end_of, guid)
                if end is not None:
                    return end
            await asyncio.sleep(OUTCOME_EVERY_S)

    def _finished(self, guid: str, end: End) -> None:
        if end.state != "done":
            self._check_ender.run_soon()
        super()._finished(guid, end)

    def _credentials_changed(self) -> None:
        self._probe.run_soon()

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
            self._credentials_of,
            wait=lambda seconds: thread.wait(seconds),
            rates=self._rates,
            on_commit=self._committed,
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

    def _ports(self) -> Ports:
        return Ports(
            route=lambda event, envelope: route_envelope(self.config(), event, envelope),
            accept=self._accepts.accept,
            count_ping=lambda: self._accepts.count(PING),
            # Without a commit of its own: anybody can cause rejections.
            count_rejection=lambda status: self._accepts.count({("rejected", str(status)): 1}),
            wait_for_end=self._wait_for_end,
            stats=lambda uptime_s: read_stats(self.store, self._rates.rate_limit, uptime_s),
            health=self._health,
            clock=time.monotonic,
            installation_changed=self._installation_changed,
            receives_webhooks=self.role != "worker",
        )

    def _console_ports(self, ring: LogRing) -> ConsolePorts:
        return ConsolePorts(
            store=self.store,
            now=time.time,
            health=self._health,
            rate_limit=lambda: self._rates.rate_limit,
            log_ring=ring,
            prompts=lambda: self.config().prompts,
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
            await anyio.to_thread.run_sync(self.close)
