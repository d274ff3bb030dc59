"""Creates the objects that process deliveries, for the service and for commands: the store, the
active configuration, the clients and the workers.
"""

from __future__ import annotations

import logging
import os
import random
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Literal

from hls_handler import logs
from hls_handler.claude.providers import Breakers, Providers
from hls_handler.db.files import hold_exclusively, is_shared
from hls_handler.db.migrate import UnsupportedTables
from hls_handler.deliveries import Accepted, End, Lease
from hls_handler.engine.active_config import (
    ActiveConfig,
    CachedClient,
    ChosenAccount,
    DeliveryConfig,
    choose_account,
    load_bot_accounts,
    load_library,
)
from hls_handler.engine.health import Health
from hls_handler.engine.job import BatchRuns, WorkerContext
from hls_handler.engine.library import load_checked
from hls_handler.engine.shown_check import CheckEnder
from hls_handler.engine.workers import Workers
from hls_handler.errors import DatabaseUnavailable, PromptError, SettingsError, StoreUnavailable
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
from hls_handler.github.labels import RepositoryLabels
from hls_handler.logs import LogRing
from hls_handler.prompting.prompt import Library
from hls_handler.queue.group_commit import AcceptQueue
from hls_handler.queue.leases import EXPIRY, Expiry, HeldLeases
from hls_handler.retrieval.vectors import connect_vectors
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.environment import proxy_passwords
from hls_handler.settings.load import collect_secrets
from hls_handler.settings.model import Limits, MirrorSettings, Settings
from hls_handler.settings.providers import ClaudeSettings
from hls_handler.store.storage import Storage

log = logging.getLogger(__name__)

GithubOf = CachedClient[Credentials, Github]
ClaudeOf = CachedClient[ClaudeSettings, Providers]


@dataclass(frozen=True, slots=True)
class Clients:
    """The clients of one thread."""

    github: GithubOf
    claude: ClaudeOf

    def close(self) -> None:
        self.github.close()
        self.claude.close()


@dataclass(frozen=True, slots=True)
class Opened:
    """The configuration and the store that a process opens at its start."""

    config: ActiveConfig
    store: Storage
    held: ExitStack  # closes the database and unlocks its file


Role = Literal["all", "web", "worker"]
"""Role of a process: `web` only receives webhooks, `worker` only processes deliveries, `all` does
both.
"""

GIT_REMEDY = (
    "see git's message in the log, the status of GitHub's Git operations, and the proxy or firewall"
)


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


class Processing:
    """The objects that process deliveries. The service adds what receives them; a command uses
    `working`.

    The constructor raises `SettingsError`, or its subclass `DatabaseUnavailable` if the only
    problem is that the database is unavailable. The argument `load` is a function that reads the
    prompt library. `on_end` is called after each delivery, `on_credentials` when one of several
    tokens stops or starts to work. With `only_batch`, only the deliveries of this batch are
    processed.
    """

    def __init__(
        self,
        settings: Settings,
        runs: BatchRuns,
        *,
        load: Callable[[Settings], Library] = load_checked,
        role: Role = "all",
        expiry: Expiry = EXPIRY,
        only_batch: int | None = None,
        on_end: Callable[[End], object] = lambda _: None,
        on_credentials: Callable[[], object] = lambda: None,
    ) -> None:
        self.role: Role = role
        self._runs = runs
        self._on_end = on_end
        self._on_credentials = on_credentials
        opened = _open(settings, load, role)
        self.config = opened.config
        """The configuration for the next deliveries; a reload replaces it."""
        self.store = opened.store
        self._held = opened.held
        self.health = Health(_utc_now)
        self.health.ok("store")  # it was opened, and settings and prompts were read
        self.health.ok("settings")
        self.health.ok("prompts")
        self.rates = RateLimitMonitor()
        self._breakers = Breakers(_utc_now)
        self._credentials: Credentials | None = None
        self._credentials_lock = threading.Lock()
        self._labels = RepositoryLabels(time.monotonic)
        self.mirrors = Mirrors(
            self._mirror_settings,
            most_waiting=max(settings.limits.concurrency // 2, 1),
            report=self._report_git_host,
        )
        self.vectors = connect_vectors(settings.retrieval)
        self.accepts = AcceptQueue(self.store.queue, on_commit=self.committed)
        self.leases = HeldLeases(self._renew_lease, expiry=expiry)
        self._worker_clients: list[Clients] = []
        self.workers: Workers | None = None
        if role != "web":
            queue = self.store.queue
            if only_batch is not None:
                queue = self.store.queue.of_batch(only_batch)
            self.workers = Workers(
                queue=queue,
                leases=self.leases,
                limits=self._limits,
                name=f"{socket.gethostname()}-{os.getpid()}",
                connect=self._connect_worker,
                finished=self._finished,
                health=self.health,
            )

    def settings(self) -> Settings:
        return self.config.settings

    def connect_github(self) -> Github:
        """Return a client for the calling thread."""
        return connect(
            self.credentials_of(self.settings()), observe=self.rates.observe, now=_utc_now
        )

    def make_clients(self, settings: Settings) -> Clients:
        """Return clients for one thread. Raises `SettingsError`."""
        clients = Clients(
            CachedClient(self._connect_github, close=Github.close),
            CachedClient(self._connect_claude, close=Providers.close),
        )
        # raises the error now, not at the first use
        clients.github.of(self.credentials_of(settings))
        clients.claude.of(settings.claude)
        return clients

    def credentials_of(self, settings: Settings) -> Credentials:
        """Return the credentials that all clients with these settings share."""
        with self._credentials_lock:
            if self._credentials is None or not uses_same_credentials(
                self._credentials.settings, settings.github
            ):
                self._credentials = make_credentials(
                    settings.github,
                    observe=self.rates.observe,
                    now=_utc_now,
                    changed=self._on_credentials,
                )
            return self._credentials

    def make_check_ender(
        self, wait: Callable[[float], bool], *, slowest_write_s: float
    ) -> CheckEnder:
        """`wait` sleeps for the given seconds, and returns True to stop. A check whose creation
        GitHub did not confirm is ended after `slowest_write_s`.
        """
        clients: GithubOf = CachedClient(lambda _: self.connect_github(), close=Github.close)
        return CheckEnder(
            self.store,
            lambda: clients.of(self.credentials_of(self.settings())).preferred(),
            settings=self.settings,
            wait=wait,
            slowest_write_s=slowest_write_s,
        )

    @contextmanager
    def working(self) -> Iterator[Health]:
        """Process deliveries without receiving any, for a command; yield the health."""
        assert self.workers is not None
        self.workers.start()
        try:
            yield self.health
        finally:
            self.workers.stop(self.settings().limits.shutdown_s)
            for clients in self._worker_clients:
                clients.close()

    def committed(self, accepted: Sequence[Accepted]) -> None:
        if any(outcome.outcome == "queued" for outcome in accepted):
            self.wake()

    def wake(self) -> None:
        if self.workers is not None:
            self.workers.wake()

    def close(self) -> None:
        self.accepts.close()
        if self.vectors is not None:
            self.vectors.close()
        self._held.close()

    def _limits(self) -> Limits:
        return self.settings().limits

    def _mirror_settings(self) -> MirrorSettings:
        return self.settings().mirror

    def _renew_lease(self, lease: Lease, lease_s: float) -> Lease:
        return self.store.queue.renew(lease, lease_s=lease_s)

    def _connect_github(self, credentials: Credentials) -> Github:
        return connect(
            credentials,
            observe=self.rates.observe,
            now=_utc_now,
            labels=self._labels,
            mirrors=self.mirrors,
        )

    def _connect_claude(self, settings: ClaudeSettings) -> Providers:
        return Providers(settings, clock=time.monotonic, now=_utc_now, breakers=self._breakers)

    def _connect_worker(self, stopping: threading.Event) -> Callable[[], WorkerContext]:
        clients = self.make_clients(self.settings())
        self._worker_clients.append(clients)

        def make_context() -> WorkerContext:
            config = self.config
            settings = config.settings
            github = clients.github.of(self.credentials_of(settings))
            return WorkerContext(
                store=self.store,
                leases=self.leases,
                github=github,
                claude=clients.claude.of(settings.claude),
                health=self.health,
                config=DeliveryConfig(settings, config.table, config.prompts.latest),
                runs=self._runs,
                choose_account=partial(self._choose_account, config, github),
                stopping=stopping.is_set,
                pause=stopping.wait,
                jitter=random.random,
                clock=time.monotonic,
                vectors=self.vectors,
            )

        return make_context

    def _choose_account(
        self, active: ActiveConfig, github: Github, repository_id: int | None, number: int | None
    ) -> ChosenAccount:
        credentials = self.credentials_of(active.settings)
        if isinstance(credentials, App) or len(credentials.all) == 1:
            return ChosenAccount(github, active.bot.get_or_fetch(github))
        wrote = frozenset[str]()
        if repository_id is not None and number is not None:
            wrote = self.store.conversations.list_accounts_that_wrote(repository_id, number)
        clients = [github.with_token(token) for token in credentials.all]
        return choose_account(
            clients, active.bots, wrote, credentials.all.index(credentials.preferred)
        )

    def _report_git_host(self, failure: str) -> None:
        if failure:
            message = f"{failure}: reviews go on without a mirror, and one fetch a minute tries it"
            self.health.report_problem("mirror", message, GIT_REMEDY)
        else:
            self.health.ok("mirror")

    def _finished(self, _guid: str, end: End) -> None:
        made = self.rates.take_request_count()
        if made:
            self.accepts.count({("github_requests", ""): made})
        self._on_end(end)


def _open(settings: Settings, load: Callable[[Settings], Library], role: Role) -> Opened:
    problems: list[str] = []
    prompts = store = bots = None
    with ExitStack() as held:
        try:
            prompts = load_library(settings, load)
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
