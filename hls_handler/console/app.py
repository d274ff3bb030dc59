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
from hls_handler.console.figures import FiguresPages
from hls_handler.console.frame import Frame
from hls_handler.console.overview import OverviewPage, OverviewReader, ShowStart
from hls_handler.console.pages import STATIC
from hls_handler.console.sign_in import SignInPages
from hls_handler.log_ring import LogRing
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.work.health import Health


@dataclass(frozen=True, slots=True)
class ConsolePorts:
    """Data and functions that the console uses; `hls_handler/app.py` passes them."""

    store: Storage
    log_ring: LogRing  # the newest log lines of this process
    now: Callable[[], float]  # seconds since 1970
    health: Health
    rate_limit: Callable[[], RateLimit]  # GitHub's rate limit, from GitHub's last response


class Console:
    """The console of one process."""

    def __init__(self, ports: ConsolePorts) -> None:
        self._ports = ports
        self._own_key, self._attempts = secrets.token_bytes(32), Attempts()
        self._overview = OverviewReader(ports.store, ports.now)

    def routes(self, settings: Settings, show_start: ShowStart) -> Sequence[BaseRoute]:
        """Return the routes for these settings. `show_start` answers `/` for people who may not use the console."""
        store = self._ports.store
        frame = Frame(settings, Access(settings, self._own_key, self._attempts, self._ports.now))
        return [
            *OverviewPage(frame, self._overview, self._ports.health, self._ports.rate_limit, show_start).routes(),
            *DeliveryPages(frame, store).routes(),
            *FiguresPages(frame, store, self._ports.now).routes(),
            *SignInPages(frame).routes(),
            *Api(frame, store).routes(),
            STATIC,
        ]
