"""The routes of the console."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from functools import partial

from starlette.routing import BaseRoute, Route

from hls_handler.console import openapi
from hls_handler.console.access import Access
from hls_handler.console.api import ConsoleApi
from hls_handler.console.batches import BatchPages
from hls_handler.console.deliveries import DeliveryPages
from hls_handler.console.documentation import DocumentationPages
from hls_handler.console.figures import FiguresPages
from hls_handler.console.frame import ConsolePorts, Frame
from hls_handler.console.log import LogPages
from hls_handler.console.metrics import MAX_METRICS_AGE_S, read_metrics, show_metrics
from hls_handler.console.overview import OverviewPage
from hls_handler.console.pages import STATIC
from hls_handler.console.prompts import MAX_STATS_AGE_S, PromptPages
from hls_handler.console.sent_prompts import SentPromptPages
from hls_handler.console.sign_in import SignInPages
from hls_handler.reports.prompt_library import read_versions
from hls_handler.settings.model import Settings


class Console:
    def __init__(self, ports: ConsolePorts) -> None:
        self._ports = ports
        self._own_key = secrets.token_bytes(32)
        self._process = secrets.token_hex(4)
        self._ending = threading.Event()  # of the routes in use
        self._versions = ports.cache(partial(read_versions, ports.store), max_age_s=MAX_STATS_AGE_S)
        self._metrics = ports.cache(partial(read_metrics, ports.store), max_age_s=MAX_METRICS_AGE_S)

    def routes(self, settings: Settings) -> Sequence[BaseRoute]:
        """Return the routes for these settings. Open streams end, so that the key of their clients
        is checked again.
        """
        self._ending.set()
        self._ending = threading.Event()
        own_key = self._own_key
        if settings.server.trusted_proxy is not None:
            # a form of one machine may be sent to another
            own_key = self._ports.store.database.secret("console")
        access = Access(settings, own_key, self._ports.now)
        frame = Frame(settings, access, self._ports)
        return [
            *OverviewPage(frame).routes(),
            *DeliveryPages(frame).routes(),
            *SentPromptPages(frame).routes(),
            *FiguresPages(frame).routes(),
            *PromptPages(frame, self._versions).routes(),
            *LogPages(frame, process=self._process, is_ending=self._ending.is_set).routes(),
            *BatchPages(frame).routes(),
            *SignInPages(frame).routes(),
            *ConsoleApi(frame).routes(),
            Route("/metrics", partial(show_metrics, frame, self._metrics)),
            *openapi.ROUTES,
            *DocumentationPages(frame).routes(),
            STATIC,
        ]

    def stop(self) -> None:
        """End the streams of the log. Thread-safe."""
        self._ending.set()
