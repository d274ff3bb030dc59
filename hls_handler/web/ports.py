"""What HTTP needs of the other rooms; the composition root fills it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from hls_handler.clients.rate import RateLimit
from hls_handler.deliveries import Accepted, Finished, NewDelivery
from hls_handler.events import Sip
from hls_handler.routing import Feedback, Ignored, Rule
from hls_handler.web.stats import Counters
from hls_handler.work.health import Health


@dataclass(frozen=True, slots=True)
class Ports:
    route: Callable[[str, Sip], Awaitable[Rule | Feedback | Ignored]]  # never blocks the event loop
    accept: Callable[[NewDelivery], Awaitable[Accepted]]  # committed when it returns; raises StoreUnavailable
    count_pong: Callable[[], None]  # a ping is answered, but not kept; returns at once
    outcome: Callable[[str], asyncio.Future[Finished]]  # how the delivery of this GUID ends; cancelled to stop waiting
    counters: Callable[[], Counters]  # blocks; raises StoreUnavailable
    queue: Callable[[], Mapping[str, object]]  # figures such as "queued" -> 3; blocks, raises likewise
    rate_limit: Callable[[], RateLimit]  # GitHub's, from its last answer
    health: Health
    clock: Callable[[], float]  # seconds, monotonic
