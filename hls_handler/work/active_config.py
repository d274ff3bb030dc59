"""The active configuration (settings, prompts, bot account), its reload, and the clients of a worker."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar

from hls_handler.actions import EnsureComment, EnsureLabels, Outcome
from hls_handler.analysis import UnusableReply, ValidReply
from hls_handler.db.database import Database
from hls_handler.deliveries import Lease
from hls_handler.errors import SettingsError, StoreUnavailable
from hls_handler.events import Account
from hls_handler.handlers.labels import LabelState
from hls_handler.handlers.reader import Reader
from hls_handler.history.conversations import BotAccounts, ConversationHistory
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.prompting.prompt import Library
from hls_handler.prompting.render import RenderedPrompt
from hls_handler.routing import Ignored, LabelCorrection, Rule, WebhookEnvelope, from_envelope, route
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.load import SettingsFile, SettingsReload, plan_reload
from hls_handler.settings.model import EffectiveLabels, Settings
from hls_handler.settings.model import Github as GithubSettings
from hls_handler.storage import Storage
from hls_handler.work.health import Health

log = logging.getLogger(__name__)


class Writer(Protocol):
    """Idempotent writes to one repository; `clients.writer.GithubWriter` implements it."""

    def ensure_labels(
        self, number: int, action: EnsureLabels, *, labels: EffectiveLabels, before: Mapping[str, LabelState]
    ) -> Outcome:
        """Set and remove labels. `before` has the stored label states from before the delivery's first write."""
        ...

    def ensure_comment(self, number: int, action: EnsureComment) -> Outcome: ...


class Github(Protocol):
    """Client that uses GitHub as the bot account, one per worker thread; `clients.github.Github` implements it."""

    def fetch_bot_account(self) -> Account: ...

    def reader(self, repository: str) -> Reader: ...

    def writer(
        self,
        repository: str,
        *,
        bot: Account,
        history: ConversationHistory,
        wait_for_slot: Callable[[], None],
        check_lease: Callable[[], None],
        dry_run: bool,
    ) -> Writer:
        """Return a writer, which calls `wait_for_slot` and `check_lease` before each write; both may raise.

        `history` is the stored history of the bot's labels and comments on the conversation.
        """
        ...


class Claude(Protocol):
    """Client that requests one typed reply from Claude. One per worker thread."""

    def model_for(self, rendered: RenderedPrompt) -> str: ...

    def ask(
        self, rendered: RenderedPrompt, *, correction: UnusableReply | None = None
    ) -> ValidReply | UnusableReply: ...


class LeaseCheck(Protocol):
    """Checks that the worker still holds its lease, by the local clock. Both methods raise `LeaseLost` if not."""

    def require(self, lease: Lease, *, least: float = 0.0) -> None:
        """Require that more than the share `least` (0 to 1) of the lease's time is left."""
        ...

    def secure(self, lease: Lease) -> None:
        """Require enough time for a write to GitHub, after renewing the lease if needed."""
        ...


ClientSettings = TypeVar("ClientSettings")
Client = TypeVar("Client")


class CachedClient(Generic[ClientSettings, Client]):
    """Caches one client until its settings change. Not thread-safe: each thread has its own."""

    def __init__(self, make: Callable[[ClientSettings], Client], *, close: Callable[[Client], None]) -> None:
        self._make, self._close = make, close
        self._cached: tuple[ClientSettings, Client] | None = None

    def of(self, settings: ClientSettings) -> Client:
        """Return the cached client. If it was made with other settings, close it and make a new one."""
        if self._cached is None or self._cached[0] != settings:
            client = self._make(settings)
            self.close()
            self._cached = (settings, client)
        return self._cached[1]

    def close(self) -> None:
        if self._cached is not None:
            self._close(self._cached[1])
            self._cached = None


FINGERPRINT_SECRET = "token-fingerprint"  # noqa: S105 (the name of a secret in the store, not a secret)


class BotAccount:
    """The account of one token at one API address, stored so that the receiver needs no request. Thread-safe.

    The history of conversations is stored under the bot's login. After the account is renamed, its comments are still
    edited (they are found by author), but its earlier labels count as set by a person, and a comment that a person
    deleted may be posted once more. Creating the object may raise `StoreUnavailable`.
    """

    def __init__(self, settings: GithubSettings, accounts: BotAccounts, database: Database) -> None:
        self._accounts = accounts
        identity = f"{settings.base_url}\n{settings.token.get_secret_value()}".encode()
        self._fingerprint = hmac.new(database.secret(FINGERPRINT_SECRET), identity, hashlib.sha256).hexdigest()
        self._lock = threading.Lock()
        self.cached = accounts.find(self._fingerprint)  # None before the first request to GitHub

    def get_or_fetch(self, github: Github) -> Account:
        """Return the account; requests it from GitHub if none is stored. Raises `DependencyDown`."""
        if self.cached is not None:
            return self.cached
        with self._lock:  # another thread may have fetched it while this one waited
            return self.cached or self._fetch(github)

    def refresh(self, github: Github) -> None:
        """Request the account again, because it may have been renamed. Raises `DependencyDown`."""
        with self._lock:
            self._fetch(github)

    def _fetch(self, github: Github) -> Account:
        found = github.fetch_bot_account()
        if found != self.cached:
            self._accounts.save(self._fingerprint, found)
            self.cached = found
        return found


SETTINGS_REMEDY = "fix the line that the message names; `hls check` names every problem"


@dataclass(frozen=True, slots=True)
class ActiveConfig:
    """The settings in use and the objects made from them. A reload replaces the whole `ActiveConfig`."""

    settings: Settings
    table: RepositoryTable
    prompts: ReloadingLibrary
    bot: BotAccount  # the account of the token in `settings`


@dataclass(frozen=True, slots=True)
class DeliveryConfig:
    """Settings and prompts that one delivery uses to its end, even if they are reloaded meanwhile."""

    settings: Settings
    table: RepositoryTable
    library: Library


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """Clients and functions that a worker uses for one delivery."""

    store: Storage
    leases: LeaseCheck
    github: Github
    claude: Claude
    health: Health
    config: DeliveryConfig
    fetch_bot_account: Callable[[], Account]  # requests it from GitHub only if it is not stored
    stopping: Callable[[], bool]  # whether the service is stopping
    pause: Callable[[float], object]  # wait this many seconds, or until the service is stopping
    jitter: Callable[[], float]  # in [0, 1)
    clock: Callable[[], float]  # seconds, monotonic; measures the duration of steps


async def route_envelope(
    active: ActiveConfig, event: str, envelope: WebhookEnvelope
) -> Rule | LabelCorrection | Ignored:
    """Route an event with the loaded prompts. If none or several fit, reload changed prompt files and route again."""
    decide = partial(
        route, from_envelope(event, envelope), settings=active.settings, table=active.table, bot=active.bot.cached
    )
    rule = decide(catalogue=active.prompts.latest)
    if isinstance(rule, Ignored) and rule.kind in ("no prompt", "several prompts"):
        return decide(catalogue=await asyncio.to_thread(active.prompts.current))
    return rule


class ConfigReloader:
    """Reloads the active configuration when the settings file changes. Thread-safe."""

    def __init__(
        self,
        file: SettingsFile,
        first: ActiveConfig,
        *,
        make: Callable[[Settings, ActiveConfig], ActiveConfig],
        follow: Callable[[ActiveConfig, SettingsReload], None],
        health: Health,
    ) -> None:
        """`first` is the configuration for the settings with which `file` was opened (`file.initial`).

        `make` returns the configuration for new settings, given the previous one; it may raise `SettingsError` and
        `StoreUnavailable`. `follow` is called after each reload with the new configuration and the changed settings.
        """
        self._file = file
        self.latest = first  # the last valid one
        self._make, self._follow, self._health = make, follow, health
        self._reading = threading.Lock()
        health.ok("settings")

    def current(self) -> ActiveConfig:
        """Reload the settings file if it has changed. Return the configuration from its last valid version.

        While one thread reloads, the others get the previous configuration. Raises `StoreUnavailable` if changed
        settings were not applied because the database is unavailable; the next call tries again.
        """
        if self._file.has_changed() and self._reading.acquire(blocking=False):
            try:
                self._read()
            finally:
                self._reading.release()
        return self.latest

    def _read(self) -> None:
        try:
            step = plan_reload(self.latest.settings, self._file.read())
            config = self._make(step.settings, self.latest)
        except SettingsError as exc:
            self._reject(exc.problems)
            return
        except StoreUnavailable:
            self._file.mark_as_changed()
            raise
        except Exception as exc:  # a defect: /health shows it, and the thread that called logs it
            self._reject([f"a defect in HLS, please report it: {type(exc).__name__}"])
            raise
        self.latest = config
        log.info("settings read again", extra={"changed": step.changed, "needs_restart": step.waiting})
        if step.waiting:
            message = f"changed settings take effect only after a restart: {', '.join(step.waiting)}"
            self._health.report_problem("settings", message, "restart HLS, or undo the change")
        else:
            self._health.ok("settings")
        self._follow(config, step)

    def _reject(self, problems: Sequence[str]) -> None:
        message = f"the changed settings cannot be used, the last valid ones stay active: {'; '.join(problems)}"
        self._health.report_problem("settings", message, SETTINGS_REMEDY)
        log.error("settings cannot be used, the last valid ones stay active", extra={"problems": list(problems)})
