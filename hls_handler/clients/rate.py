"""How much of GitHub's hourly quota is left, and how many requests this process has made."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class RateLimit:
    """GitHub's latest word on our quota; None where it has said nothing yet."""

    limit: int | None  # requests an hour
    remaining: int | None
    reset_at: datetime | None  # aware UTC


@dataclass(frozen=True, slots=True)
class GithubUse:
    """A snapshot for `/stats`."""

    requests_made: int
    rate_limit: RateLimit


class RateMeter:
    """Holds the latest word of all workers' clients. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._use = GithubUse(0, RateLimit(None, None, None))
        self._taken = 0

    def observe(self, rate_limit: RateLimit) -> None:
        """Count one request, and keep what was heard after it. A client that has heard nothing yet changes nothing."""
        with self._lock:
            known = self._use.rate_limit if rate_limit.remaining is None else rate_limit
            self._use = GithubUse(self._use.requests_made + 1, known)

    @property
    def use(self) -> GithubUse:
        return self._use

    def take_new(self) -> int:
        """How many requests were made since this was asked last: whoever asks keeps count of them."""
        with self._lock:
            new, self._taken = self._use.requests_made - self._taken, self._use.requests_made
            return new
