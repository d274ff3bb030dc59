"""The active configuration (settings, prompts, bot account), its reload, and clients that follow
the settings.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from hls_handler.db.database import Database
from hls_handler.engine.health import Health
from hls_handler.errors import SettingsError, StoreUnavailable
from hls_handler.events import Account
from hls_handler.github.client import Github
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.prompting.prompt import Library
from hls_handler.routing import Router, RoutingResult, WebhookEnvelope, from_envelope
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import GithubSettings, Settings
from hls_handler.settings.reload import SettingsFile, plan_reload
from hls_handler.store.conversations import BotAccounts
from hls_handler.store.storage import Storage

log = logging.getLogger(__name__)

ClientSettings = TypeVar("ClientSettings")
Client = TypeVar("Client")


class CachedClient(Generic[ClientSettings, Client]):
    """Keeps one client and replaces it when its settings change. Not thread-safe: each thread has
    its own.
    """

    def __init__(
        self, make: Callable[[ClientSettings], Client], *, close: Callable[[Client], None]
    ) -> None:
        self._make = make
        self._close = close
        self._cached: tuple[ClientSettings, Client] | None = None

    def of(self, settings: ClientSettings) -> Client:
        """Return the client for these settings. If they changed, create a new client and close the
        previous one.
        """
        if self._cached is None or self._cached[0] != settings:
            client = self._make(settings)
            self.close()
            self._cached = (settings, client)
        return self._cached[1]

    def close(self) -> None:
        if self._cached is not None:
            self._close(self._cached[1])
            self._cached = None


FINGERPRINT_SECRET = "token-fingerprint"  # noqa: S105 (a name in the store)


class BotAccount:
    """The account of a token or of a GitHub App, stored so that the receiver needs no request to
    GitHub. Thread-safe.

    The constructor may raise `StoreUnavailable`. The history of labels and comments is stored under
    the account's login, so a renamed account has no history. Then its earlier labels count as set
    by a person, and a comment that a person deleted may be posted once more. Existing comments are
    still found, by the id of their author.
    """

    def __init__(
        self, settings: GithubSettings, accounts: BotAccounts, database: Database, *, index: int = 0
    ) -> None:
        """`index` is the position of the token in `github.tokens`."""
        self._accounts = accounts
        credential = f"app {settings.app.id}" if settings.app else settings.access_tokens[index]
        identity = f"{settings.base_url}\n{credential}".encode()
        self._fingerprint = hmac.new(
            database.secret(FINGERPRINT_SECRET), identity, hashlib.sha256
        ).hexdigest()
        self._lock = threading.Lock()
        self.cached = accounts.find(self._fingerprint)  # None before the first request to GitHub

    def get_or_fetch(self, github: Github) -> Account:
        """Return the account. If it is not stored, request it from GitHub. Raises
        `DependencyDown`.
        """
        if self.cached is not None:
            return self.cached
        with self._lock:  # another thread may have fetched it while this one waited
            return self.cached or self._fetch(github)

    def refresh(self, github: Github) -> None:
        """Request the bot's account from GitHub and store it: it may have been renamed. Raises
        `DependencyDown`.
        """
        with self._lock:
            self._fetch(github)

    def _fetch(self, github: Github) -> Account:
        account = github.fetch_bot_account()
        if account != self.cached:
            self._accounts.save(self._fingerprint, account)
            self.cached = account
        return account


def load_bot_accounts(settings: GithubSettings, store: Storage) -> tuple[BotAccount, ...]:
    """Return the account of the App, or that of each token. Raises `StoreUnavailable`."""
    count = max(len(settings.access_tokens), 1)
    return tuple(
        BotAccount(settings, store.bot_accounts, store.database, index=n) for n in range(count)
    )


def load_library(
    settings: Settings, load: Callable[[Settings], Library], *, before: Library | None = None
) -> ReloadingLibrary:
    """Raises `PromptError` if `before` is None and the library cannot be used."""
    folders = settings.prompts.folders.values()
    return ReloadingLibrary(lambda: load(settings), *folders, before=before)


SETTINGS_REMEDY = "fix the line that the message names; `hls check` names every problem"


@dataclass(frozen=True, slots=True)
class ActiveConfig:
    """The settings in use and the objects made from them. A reload replaces the whole
    `ActiveConfig`.
    """

    settings: Settings
    table: RepositoryTable
    prompts: ReloadingLibrary
    bots: tuple[BotAccount, ...]  # the account of the App, or that of each token in `settings`

    @property
    def bot(self) -> BotAccount:
        return self.bots[0]

    def router(self, catalogue: Library) -> Router:
        accounts = (
            ()
            if self.bot.cached is None
            else tuple(bot.cached for bot in self.bots if bot.cached is not None)
        )
        return Router(self.settings, self.table, catalogue, accounts)

    def route(self, event: str, envelope: WebhookEnvelope) -> RoutingResult:
        """Return the routing result with the prompts as they were read last."""
        return self.router(self.prompts.latest).route(from_envelope(event, envelope))


@dataclass(frozen=True, slots=True)
class DeliveryConfig:
    """The settings and prompts of one delivery. A reload during the delivery does not change
    them.
    """

    settings: Settings
    table: RepositoryTable
    library: Library


@dataclass(frozen=True, slots=True)
class ChosenAccount:
    github: Github
    bot: Account
    others: tuple[Account, ...] = ()  # HLS's other accounts: their events are ignored, too


def choose_account(
    clients: Sequence[Github], bots: Sequence[BotAccount], wrote: Collection[str], preferred: int
) -> ChosenAccount:
    """Return the account that wrote on the conversation; if there is none, that of the token at
    `preferred`.

    Another account would not find the comment of the first, and would post a second one beside it.
    `clients` and `bots` are those of each token; `wrote` has the logins that wrote on the
    conversation. Raises `DependencyDown` if GitHub does not return the account.
    """
    accounts = [bot.cached for bot in bots]
    index = next(
        (n for n, account in enumerate(accounts) if account is not None and account.login in wrote),
        preferred,
    )
    bot = bots[index].get_or_fetch(clients[index])
    return ChosenAccount(
        clients[index],
        bot,
        tuple(other for other in accounts if other is not None and other.id != bot.id),
    )


@dataclass(frozen=True, slots=True)
class NewConfig:
    """A configuration made from changed settings."""

    config: ActiveConfig
    changed: tuple[str, ...]  # keys with a new value
    waiting: tuple[str, ...]  # keys whose new value needs a restart


class ConfigReloader:
    """Makes a new active configuration when the settings file changes. For one thread."""

    def __init__(
        self,
        file: SettingsFile,
        *,
        make: Callable[[Settings, ActiveConfig], ActiveConfig],
        health: Health,
    ) -> None:
        """`make` gets new settings and the previous configuration, and returns the new one. It may
        raise `SettingsError` and `StoreUnavailable`.
        """
        self._file = file
        self._make = make
        self._health = health

    def reload(self, running: ActiveConfig) -> NewConfig | None:
        """Return the configuration of a changed settings file in place of the running one; None if
        the file has not changed or is invalid.

        Raises `StoreUnavailable` if new settings need the database while the database is
        unavailable. The next call tries again.
        """
        if not self._file.has_changed():
            return None
        try:
            step = plan_reload(running.settings, self._file.read())
            config = self._make(step.settings, running)
        except SettingsError as exc:
            self._reject(exc.problems)
            return None
        except StoreUnavailable:
            self._file.mark_as_changed()
            raise
        except Exception as exc:  # a defect: /health shows it, and the thread that called logs it
            self._reject([f"a defect in HLS, please report it: {type(exc).__name__}"])
            raise
        return NewConfig(config, step.changed, step.waiting)

    def report(self, new: NewConfig) -> None:
        """Show and log that the configuration is in use."""
        if new.waiting:
            message = f"changed settings take effect only after a restart: {', '.join(new.waiting)}"
            self._health.report_problem("settings", message, "restart HLS, or undo the change")
        else:
            self._health.ok("settings")
        log.info(
            "settings read again", extra={"changed": new.changed, "needs_restart": new.waiting}
        )

    def _reject(self, problems: Sequence[str]) -> None:
        message = (
            "the changed settings cannot be used, the last valid ones stay active:"
            f" {'; '.join(problems)}"
        )
        self._health.report_problem("settings", message, SETTINGS_REMEDY)
        log.error(
            "settings cannot be used, the last valid ones stay active",
            extra={"problems": list(problems)},
        )
