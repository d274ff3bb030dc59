"""The routes of the console."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.routing import BaseRoute

from hls_handler.console.access import Access, Attempts
from hls_handler.console.api import Api
from hls_handler.console.deliveries import DeliveryPages
from hls_handler.console.dry_runs import ConnectClaude, DryRunPages, DryRuns
from hls_handler.console.frame import Frame
from hls_handler.console.pages import STATIC
from hls_handler.console.sent_prompts import SentPromptPages
from hls_handler.console.sign_in import SignInPages
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.work.active_config import DeliveryConfig


@dataclass(frozen=True, slots=True)
class ConsolePorts:
    """Data and functions that the console uses; `hls_handler/app.py` passes them."""

    store: Storage
    now: Callable[[], float]  # seconds since 1970
    config: Callable[[], DeliveryConfig]  # settings and prompts in use; blocks
    connect_claude: ConnectClaude  # the caller closes the client


class Console:
    """The console of one process."""

    def __init__(self, ports: ConsolePorts) -> None:
        self._ports = ports
        self._own_key, self._attempts = secrets.token_bytes(32), Attempts()
        self._dry_runs = DryRuns(ports.store, ports.connect_claude, ports.now)

    def routes(self, settings: Settings) -> Sequence[BaseRoute]:
        """Return the routes for these settings."""
        store = self._ports.store
        frame = Frame(settings, Access(settings, self._own_key, self._attempts, self._ports.now))
        return [
            *DeliveryPages(frame, store).routes(),
            *SentPromptPages(frame, store, self._ports.config).routes(),
            *DryRunPages(frame, store, self._ports.config, self._dry_runs).routes(),
            *SignInPages(frame).routes(),
            *Api(frame, store).routes(),
            STATIC,
        ]

    def stop(self) -> None:
        """Begin nothing more in the background."""
        self._dry_runs.stop()
