"""The routes of the console."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.routing import BaseRoute

from hls_handler.console.access import Access, Attempts
from hls_handler.console.api import Api
from hls_handler.console.deliveries import DeliveryPages
from hls_handler.console.frame import Frame
from hls_handler.console.openapi import ApiDescription
from hls_handler.console.pages import STATIC
from hls_handler.console.sign_in import SignInPages
from hls_handler.log_ring import LogRing
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage


@dataclass(frozen=True, slots=True)
class ConsolePorts:
    """Data and functions that the console uses; `hls_handler/app.py` passes them."""

    store: Storage
    log_ring: LogRing  # the newest log lines of this process
    now: Callable[[], float]  # seconds since 1970


class Console:
    """The console of one process."""

    def __init__(self, ports: ConsolePorts) -> None:
        self._ports = ports
        self._own_key, self._attempts = secrets.token_bytes(32), Attempts()

    def routes(self, settings: Settings) -> Sequence[BaseRoute]:
        """Return the routes for these settings."""
        store = self._ports.store
        frame = Frame(settings, Access(settings, self._own_key, self._attempts, self._ports.now))
        return [
            *DeliveryPages(frame, store, self._ports.log_ring).routes(),
            *SignInPages(frame).routes(),
            *Api(frame, store).routes(),
            *ApiDescription(frame).routes(),
            STATIC,
        ]
