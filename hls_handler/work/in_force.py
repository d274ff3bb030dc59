"""What is in force: the settings and what is made of them, replaced as a whole when their file changes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hls_handler.errors import SettingsError, StoreUnavailable
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.load import SettingsFile, SettingsReload, plan_reload
from hls_handler.settings.model import Settings
from hls_handler.work.health import Health
from hls_handler.work.identity import BotAccount

log = logging.getLogger(__name__)

SETTINGS_REMEDY = "mend the line that the message names; `hls check` names every problem"


@dataclass(frozen=True, slots=True)
class ActiveConfig:
    settings: Settings
    table: RepositoryTable
    prompts: ReloadingLibrary
    bot: BotAccount  # the account of the token in these settings


class ConfigReloader:
    """Keeps what is in force up to date with the settings' file; safe to be asked by many threads at once."""

    def __init__(
        self,
        file: SettingsFile,
        first: ActiveConfig,
        *,
        make: Callable[[Settings, ActiveConfig], ActiveConfig],
        follow: Callable[[ActiveConfig, SettingsReload], None],
        health: Health,
    ) -> None:
        """`first` is made of `file.first`.

        `make` gives what new settings lead to, from them and what was in force; it may raise `SettingsError` and
        `StoreUnavailable`. `follow` is told what is in force from now on.
        """
        self._file, self._latest = file, first
        self._make, self._follow, self._health = make, follow, health
        self._reading = threading.Lock()
        health.ok("settings")

    @property
    def latest(self) -> ActiveConfig:
        """What was in force at the last look: for the door, which has no time for files."""
        return self._latest

    def current(self) -> ActiveConfig:
        """What the files say now, or the last good of it. While one thread reads, the others do not wait.

        Raises `StoreUnavailable` if changed settings could not be put in force for that; the next look tries again.
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
            in_force = self._make(step.settings, self._latest)
        except SettingsError as exc:
            self._refuse(exc.problems)
            return
        except StoreUnavailable:
            self._file.forget()
            raise
        except Exception as exc:
            self._refuse([f"a defect in HLS, please report it: {type(exc).__name__}"])
            raise
        self._latest = in_force
        log.info("settings read again", extra={"changed": step.changed, "needs_restart": step.waiting})
        if step.waiting:
            message = f"needs a restart, and keeps its old value until then: {', '.join(step.waiting)}"
            self._health.report_problem("settings", message, "restart HLS, or take the change back")
        else:
            self._health.ok("settings")
        self._follow(in_force, step)

    def _refuse(self, problems: Sequence[str]) -> None:
        message = f"the changed settings cannot be used, the last good ones stay: {'; '.join(problems)}"
        self._health.report_problem("settings", message, SETTINGS_REMEDY)
        log.error("settings cannot be used, the last good ones stay", extra={"problems": list(problems)})
