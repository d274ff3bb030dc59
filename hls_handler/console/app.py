"""The routes of the console."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.routing import BaseRoute

from hls_handler.clients.api import RateLimit
from hls_handler.console.access import Access, Attempts
from hls_handler.console.api import Api
from hls_handler.console.deliveries import DeliveryPages
from hls_handler.console.dry_runs import ConnectClaude, DryRunPages, DryRuns
from hls_handler.console.frame import Frame
from hls_handler.console.metrics import MetricsPage
from hls_handler.console.overview import OverviewPage, OverviewReader, ShowStart
from hls_handler.console.pages import STATIC
from hls_handler.console.sent_prompts import SentPromptPages
from hls_handler.console.sign_in import SignInPages
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.work.active_config import DeliveryConfig
from hls_handler.work.health import Health


@dataclass(frozen=True, slots=True)
class ConsolePorts:
    """Data and functions that the console uses; `hls_handler/app.py` passes them."""

    store: Storage
    now: Callable[[], float]  # seconds since 1970
    health: Health
    rate_limit: Callable[[], RateLimit]  # GitHub's rate limit, from GitHub's last response
    config: Callable[[], DeliveryConfig]  # settings and prompts in use; blocks
    connect_claude: ConnectClaude  # the caller closes the client


class Console:
    """The console of one process."""

    def __init__(self, ports: ConsolePorts) -> None:
        self._ports = ports
        self._own_key, self._attempts = secrets.token_bytes(32), Attempts()
        self._dry_runs = DryRuns(ports.store, ports.connect_claude, ports.now)
        self._overview = OverviewReader(ports.store, ports.now)

    def routes(self, settings: Settings, show_start: ShowStart) -> Sequence[BaseRoute]:
        """Return the routes for these settings. `show_start` answers `/` for people who may not use the console."""
        ports, store = self._ports, self._ports.store
        access = Access(settings, self._own_key, self._attempts, ports.now)
        frame = Frame(settings, access)
        return [
            *OverviewPage(frame, self._overview, self._ports.health, self._ports.rate_limit, show_start).routes(),
            *DeliveryPages(frame, store).routes(),
            *SentPromptPages(frame, store, self._ports.config).routes(),
            *DryRunPages(frame, store, self._ports.config, self._dry_runs).routes(),
            *SignInPages(frame).routes(),
            *Api(frame, store).routes(),
            *MetricsPage(settings, access, store, ports.health, ports.rate_limit).routes(),
            STATIC,
        ]

    def stop(self) -> None:
        """Begin nothing more in the background."""
        self._dry_runs.stop()
