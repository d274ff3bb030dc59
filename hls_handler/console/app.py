"""The routes of the console."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic

from cachetools import TTLCache, cached
from starlette.routing import BaseRoute, Route

from hls_handler.console import openapi
from hls_handler.console.access import Access
from hls_handler.console.api import Api
from hls_handler.console.batches import BatchPages
from hls_handler.console.deliveries import DeliveryPages
from hls_handler.console.documentation import DocumentationPages
from hls_handler.console.figures import FiguresPages
from hls_handler.console.frame import Frame
from hls_handler.console.log import LogPages
from hls_handler.console.metrics import MAX_METRICS_AGE_S, read_metrics, show_metrics
from hls_handler.console.overview import OverviewPage
from hls_handler.console.pages import STATIC
from hls_handler.console.prompts import MAX_STATS_AGE_S, PromptPages
from hls_handler.console.sent_prompts import SentPromptPages
from hls_handler.console.sign_in import SignInPages
from hls_handler.engine.health import Health
from hls_handler.github.api import RateLimit
from hls_handler.log_ring import LogRing
from hls_handler.prompting.library import ReloadingLibrary
from hls_handler.reports.prompt_library import read_versions
from hls_handler.settings.model import Settings
from hls_handler.storage import Storage
from hls_handler.web.receiver import BODY_TIMEOUT_S


@dataclass(frozen=True, slots=True)
class ConsolePorts:
    """Data and functions that the console uses; `hls_handler/app.py` passes them."""

    store: Storage
    now: Callable[[], float]  # seconds since 1970
    health: Health
    rate_limit: Callable[[], RateLimit]  # GitHub's rate limit, from GitHub's last response
    log_ring: LogRing  # the newest log lines of this process
    prompts: Callable[[], ReloadingLibrary]  # the prompt library in use
    has_webhooks: bool = True  # False: only other processes receive webhooks
    clock: Callable[[], float] = monotonic  # seconds
    form_timeout_s: float = BODY_TIMEOUT_S


class Console:
    def __init__(self, ports: ConsolePorts) -> None:
        self._ports = ports
        self._own_key = secrets.token_bytes(32)
        self._process = secrets.token_hex(4)
        self._ending = threading.Event()  # of the routes in use
        # a condition: one reading at a time for all who wait for it
        self._versions = cached(
            TTLCache(1, MAX_STATS_AGE_S, timer=ports.clock), condition=threading.Condition()
        )(partial(read_versions, ports.store))
        self._metrics = cached(
            TTLCache(1, MAX_METRICS_AGE_S, timer=ports.clock), condition=threading.Condition()
        )(partial(read_metrics, ports.store))

    def routes(self, settings: Settings) -> Sequence[BaseRoute]:
        """Return the routes for these settings. Open streams end, so that the key of their clients
        is checked again.
        """
        self._ending.set()
        self._ending = threading.Event()
        ports = self._ports
        store = self._ports.store
        own_key = self._own_key
        if settings.server.trusted_proxy is not None:
            # a form of one machine may be sent to another
            own_key = store.database.secret("console")
        frame = Frame(settings, Access(settings, own_key, ports.now), ports.form_timeout_s)
        return [
            *OverviewPage(
                frame,
                store,
                ports.health,
                ports.rate_limit,
                ports.now,
                ports.clock,
                ports.has_webhooks,
            ).routes(),
            *DeliveryPages(frame, store).routes(),
            *SentPromptPages(frame, store).routes(),
            *FiguresPages(frame, store, ports.clock).routes(),
            *PromptPages(frame, store, ports.prompts, self._versions).routes(),
            *LogPages(
                frame,
                ports.log_ring,
                process=self._process,
                now=ports.now,
                is_ending=self._ending.is_set,
            ).routes(),
            *BatchPages(frame, store).routes(),
            *SignInPages(frame).routes(),
            *Api(frame, store).routes(),
            Route(
                "/metrics",
                partial(show_metrics, frame, self._metrics, ports.health, ports.rate_limit),
            ),
            *openapi.ROUTES,
            *DocumentationPages(frame).routes(),
            STATIC,
        ]

    def stop(self) -> None:
        """End the streams of the log. Thread-safe."""
        self._ending.set()
