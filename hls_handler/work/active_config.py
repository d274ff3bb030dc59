"""Active configuration: the settings and the objects made from them, replaced together when the file changes."""

from __future__ import annotations

import hashlib
import hmac
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from hls_handler.errors import SettingsError, StoreUnavailable
from hls_handler.events import Account
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.load import SettingsFile, SettingsReload, plan_reload
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.work.health import Health
from hls_handler.work.ports import Github
from hls_handler.work.runner import report_store_problem

log = logging.getLogger(__name__)

ClientSettings = TypeVar("ClientSettings")
Client = TypeVar("Client")


class CachedClient(Generic[ClientSettings, Client]):
    """Caches the last client. Not thread-safe: each thread has its own."""

    def __init__(self, make: Callable[[ClientSettings], Client], *, close: Callable[[Client], None]) -> None:
        self._make, self._close = make, close
        self._cached: tuple[ClientSettings, Client] | None = None

    def of(self, settings: ClientSettings) -> Client:
        """Return the cached client; if the settings differ from its own, make a new one and close the old one."""
        if self._cached is not None and self._cached[0] == settings:
            return self._cached[1]
        client = self._make(settings)
        if self._cached is not None:
            self._close(self._cached[1])
        self._cached = (settings, client)
        return client

    def close(self) -> None:
        """Close the cached client, if there is one."""
        if self._cached is not None:
            self._close(self._cached[1])
            self._cached = None


FINGERPRINT_SECRET = "token-fingerprint"  # noqa: S105 (the name of a secret in the store, not a secret)


class BotAccount:
    """The account of one token at one API address, stored so that the receiver needs no request. Thread-safe.

    The history of conversations is stored under the bot's login. After the account is renamed, its comments are found
    by marker and author and edited, but its earlier labels count as set by a person, and a comment that a person
    deleted may be posted once more. Raises `StoreUnavailable` when created.
    """

    def __init__(self, store: Storage, *, token: str, base_url: str) -> None:
        self._store = store
        self._fingerprint = hmac.new(
            store.database.secret(FINGERPRINT_SECRET), f"{base_url}\n{token}".encode(), hashlib.sha256
        ).hexdigest()
        self._lock = threading.Lock()
        self._account = store.bot_accounts.find(self._fingerprint)

    @property
    def known(self) -> Account | None:
        """The stored account; None before the first request to GitHub. Makes no request."""
        return self._account

    def ask(self, github: Github) -> Account:
        """Return the account; requests it from GitHub if none is stored. Raises `DependencyDown`."""
        return self._account or self._fetch_once(github)

    def _fetch_once(self, github: Github) -> Account:
        with self._lock:  # another thread may have fetched it while this one waited
            return self._account or self._fetch(github)

    def refresh(self, github: Github) -> None:
        """Request the account again, because it may have been renamed. Raises `DependencyDown`."""
        with self._lock:
            self._fetch(github)

    def _fetch(self, github: Github) -> Account:
        found = github.fetch_bot_account()
        if found != self._account:
            self._store.bot_accounts.save(self._fingerprint, found)
            self._account = found
        return found


SETTINGS_REMEDY = "fix the line that the message names; `hls check` names every problem"


@dataclass(frozen=True, slots=True)
class ActiveConfig:
    """Settings in use and the objects made from them."""

    settings: Settings
    table: RepositoryTable
    prompts: ReloadingLibrary
    bot: BotAccount  # the account of the token in these settings


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
        """`first` is made from `file.initial`.

        `make` returns the configuration for new settings, given the previous one; it may raise `SettingsError` and
        `StoreUnavailable`. `follow` is called with each new configuration.
        """
        self._file, self._latest = file, first
        self._make, self._follow, self._health = make, follow, health
        self._reading = threading.Lock()
        health.ok("settings")

    @property
    def latest(self) -> ActiveConfig:
        """The configuration of the last check, without reading files: for the receiver."""
        return self._latest

    def current(self) -> ActiveConfig:
        """Return the configuration after reloading a changed file; the last valid one if the file is invalid.

        While one thread reloads, the others get the previous configuration. Raises `StoreUnavailable` if the changed
        settings could not be applied for that reason; the next call tries again.
        """
        if self._file.has_changed() and self._reading.acquire(blocking=False):
            try:
                self._read()
            finally:
                self._reading.release()
        return self._latest

    def _read(self) -> None:
        try:
            step = plan_reload(self._latest.settings, self._file.read())
            config = self._make(step.settings, self._latest)
        except SettingsError as exc:
            self._reject(exc.problems)
            return
        except StoreUnavailable:
            self._file.mark_as_changed()
            raise
        except Exception as exc:
            self._reject([f"a defect in HLS, please report it: {type(exc).__name__}"])
            raise
        self._latest = config
        log.info("settings read again", extra={"changed": step.changed, "needs_restart": step.waiting})
        if step.waiting:
            message = f"needs a restart, and keeps its old value until then: {', '.join(step.waiting)}"
            self._health.report_problem("settings", message, "restart HLS, or take the change back")
        else:
            self._health.ok("settings")
        self._follow(config, step)

    def _reject(self, problems: Sequence[str]) -> None:
        message = f"the changed settings cannot be used, the last good ones stay: {'; '.join(problems)}"
        self._health.report_problem("settings", message, SETTINGS_REMEDY)
        log.error("settings cannot be used, the last good ones stay", extra={"problems": list(problems)})


WATCH_EVERY_S = 1.0
"""Seconds between checks for changed files."""


class Watcher:
    """A thread that calls `look` every `every_s`. Polling also works on mounts and for symbolic links."""

    def __init__(self, look: Callable[[], object], health: Health, *, every_s: float = WATCH_EVERY_S) -> None:
        self._look, self._health, self._every_s = look, health, every_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="watcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join(timeout=1.0)

    def _loop(self) -> None:
        while not self._ended.wait(self._every_s):
            try:
                self._look()
            except StoreUnavailable as exc:
                report_store_problem(self._health, exc)
            except Exception:  # a defect must not end the thread
                log.exception("defect while looking after settings and prompts")
