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
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import anyio.to_thread
from starlette.applications import Starlette

from hls_handler import logs
from hls_handler.clients.claude import Claude
from hls_handler.clients.github import Github, connect
from hls_handler.clients.rate import RateMeter
from hls_handler.deliveries import Finished
from hls_handler.errors import Dependency, DependencyDown, HlsError, PromptError, SettingsError, StoreUnavailable
from hls_handler.events import Sip
from hls_handler.prompting.live import LiveLibrary
from hls_handler.routing import Feedback, Ignored, Rule, from_sip, route
from hls_handler.sandbox.samples import load_checked
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.load import load_settings
from hls_handler.settings.masking import secret_values
from hls_handler.settings.model import Settings
from hls_handler.store import CLAUDE_PACE, AcceptQueue, Store, hold_exclusively
from hls_handler.web.app import create_web
from hls_handler.web.ports import Ports
from hls_handler.work.health import Health
from hls_handler.work.identity import WhoWeAre
from hls_handler.work.job import GITHUB_PACE
from hls_handler.work.outcomes import Outcomes
from hls_handler.work.ports import Now, Tools
from hls_handler.work.probe import Check, Probe
from hls_handler.work.workers import Workers

log = logging.getLogger(__name__)

STUCK_S = 600.0
PONG = {("webhooks", ""): 1, ("event", "ping"): 1, ("outcome", "pong"): 1}
MEND_PROMPTS = "mend the file that the message names; `hls check` tries all prompts out"


def create() -> Starlette:
    """The application for an ASGI server of one's own. Raises `SettingsError` with all problems."""
    path = Path(os.environ.get("HLS_CONFIG") or "config/settings.yaml")
    settings = load_settings(path, os.environ, dotenv=Path(".env"))
    configure_logs(settings)
    return Service(settings).web


def _utc_now() -> datetime:
    return datetime.now(UTC)


def configure_logs(settings: Settings) -> None:
    logs.configure(settings.logging.level, settings.logging.format, sys.stderr, secret_values(settings))


class Service:
    """Everything that runs, wired up in reading order; `web` starts it with its lifespan, and ends it.

    Raises `SettingsError` with every reason why it cannot start.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._table = RepositoryTable(settings)
        self._live, self._store, self._we, self._held = _openings(settings)
        self._health = Health(_utc_now)
        self._health.ok("settings")
        self._rates = RateMeter()
        self._outcomes = Outcomes()
        self._workers = Workers(
            store=self._store,
            limits=settings.limits,
            name=f"{socket.gethostname()}-{os.getpid()}",
            make_tools=self._make_tools,
            finished=self._finished,
        )
        self._accepts = AcceptQueue(
            self._store,
            replay_window_h=settings.limits.replay_window_h,
            on_commit=lambda _accepted: self._workers.wake(),
        )
        checks = _checks(settings, self._store, self._we, self._make_github(), self._make_claude())
        self._probe = Probe(checks, self._health)
        self.web = create_web(settings, table=self._table, ports=self._ports(), lifespan=self._lifespan)

    def begin_to_stop(self) -> None:
        """No new work from now on; the lifespan's end waits for what is running."""
        self._workers.begin_to_stop()

    def _make_github(self) -> Github:
        return connect(self._settings.github, observe=self._rates.observe, now=_utc_now)

    def _make_claude(self) -> Claude:
        return Claude(self._settings.claude, clock=time.monotonic, now=_utc_now)

    def _make_tools(self, stopping: threading.Event) -> Tools:
        """A worker's own: clients are not shared between threads."""
        return Tools(
            store=self._store,
            github=self._make_github(),
            claude=self._make_claude(),
            health=self._health,
            now=self._now,
            we=self._we.ask,
            stopping=stopping.is_set,
            pause=stopping.wait,
            jitter=random.random,
            clock=time.monotonic,
        )

    def _now(self) -> Now:
        library = self._live.current()
        if self._live.trouble is None:
            self._health.ok("prompts")
        else:
            self._health.trouble("prompts", self._live.trouble, MEND_PROMPTS)
        return Now(self._settings, self._table, library)

    def _finished(self, end: Finished) -> None:
        self._outcomes.tell(end)
        made = self._rates.take_new()
        if made:
            self._accepts.count({("github_requests", ""): made})

    def _ports(self) -> Ports:
        return Ports(
            route=self._route,
            accept=self._accepts.accept,
            count_pong=lambda: self._accepts.count(PONG),
            outcome=self._outcomes.expect,
            counters=self._store.counters,
            queue=lambda: asdict(self._store.queue_figures()),
            rate_limit=lambda: self._rates.use.rate_limit,
            health=self._health,
            clock=time.monotonic,
        )

    async def _route(self, event: str, sip: Sip) -> Rule | Feedback | Ignored:
        """With the prompts as they were read last; before a no for want of one, with the files as they are now."""
        decide = partial(route, from_sip(event, sip), settings=self._settings, table=self._table, we=self._we.known)
        rule = decide(catalogue=self._live.latest)
        if isinstance(rule, Ignored) and rule.kind in ("no prompt", "several prompts"):
            return decide(catalogue=await anyio.to_thread.run_sync(self._live.current))
        return rule

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        self._workers.start()
        self._probe.start()
        try:
            yield
        finally:
            self._probe.stop()
            within_s = self._settings.limits.shutdown_s
            busy = await anyio.to_thread.run_sync(lambda: self._workers.stop(within_s=within_s))
            if busy:
                log.warning("stopped with deliveries still running; they go on at the next start", extra={"busy": busy})
            await anyio.to_thread.run_sync(self._accepts.close)
            self._held.close()


def _openings(settings: Settings) -> tuple[LiveLibrary, Store, WhoWeAre, ExitStack]:
    """What can fail at the start for reasons that the operator mends: each is tried, and all problems are named.

    Closing the stack closes the store and lets go of its file.
    """
    problems: list[str] = []
    live = store = we = None
    with ExitStack() as held:
        try:
            live = LiveLibrary(lambda: load_checked(settings), settings.prompts.directory)
        except PromptError as exc:
            problems += exc.problems
        try:
            alone = held.enter_context(hold_exclusively(settings.storage.url))
            store = Store.open(settings.storage.url)
            held.callback(store.close)
            if alone:
                store.release_all_leases()
            store.wait_no_more()
            we = WhoWeAre(store, token=settings.github.token.get_secret_value(), base_url=settings.github.base_url)
        except StoreUnavailable as exc:
            problems.append(f"{settings.sources.where('storage.url')}: {exc}")
        if live is None or store is None or we is None:
            raise SettingsError(problems)
        return live, store, we, held.pop_all()


def _checks(settings: Settings, store: Store, we: WhoWeAre, github: Github, claude: Claude) -> list[Check]:
    """What the background probe looks at. The clients are its own: none is shared between threads."""

    def look_at_github() -> None:
        _not_held(store, "github", GITHUB_PACE)
        we.refresh(github)

    def look_at_claude() -> None:
        _not_held(store, "claude", CLAUDE_PACE)
        calls, most = store.calls_last_hour(), settings.claude.calls_per_hour
        if calls >= most:
            remedy = "wait, or raise claude.calls_per_hour"
            message = f"{calls} calls within the hour, and claude.calls_per_hour allows {most}: deliveries wait"
            raise DependencyDown(message, dependency="claude", remedy=remedy)
        claude.lookup_model(settings.claude.model)

    return [
        Check("store", store.check_writable, proves=True),
        Check("queue", lambda: _queue(store), proves=True),
        Check("github", look_at_github),
        Check("claude", look_at_claude),
    ]


def _not_held(store: Store, dependency: Dependency, pace: str) -> None:
    until = store.held_until(pace)
    if until is not None:
        message = f"nothing is asked of it until {until:%H:%M:%S} UTC, as it said or after its last trouble"
        raise DependencyDown(message, dependency=dependency, remedy="wait, or mend what the log says and restart")


def _queue(store: Store) -> None:
    """A queue that nobody empties is trouble; one that waits for a turn is not."""
    figures = store.queue_figures()
    if figures.oldest_due_s is not None and figures.oldest_due_s > STUCK_S:
        raise HlsError(
            f"{figures.due} deliveries are due, the oldest for {figures.oldest_due_s:.0f} s: raise limits.concurrency, "
            "or look in the log why the workers are busy"
        )
