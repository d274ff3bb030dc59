"""GitHub's hourly quota, and the number of requests that this process has sent."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The quota that GitHub reported last; None where it has not reported it yet."""

    limit: int | None  # requests an hour
    remaining: int | None
    reset_at: datetime | None  # aware UTC


@dataclass(frozen=True, slots=True)
class GithubUsage:
    """A snapshot for `/stats`."""

    requests_made: int
    rate_limit: RateLimit


class RateLimitMonitor:
    """Collects the quota and the request count of all workers' clients. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._use = GithubUsage(0, RateLimit(None, None, None))
        self._reported = 0

    def observe(self, rate_limit: RateLimit) -> None:
        """Count one request and store the quota reported after it. A quota without values replaces nothing."""
        with self._lock:
            latest = self._use.rate_limit if rate_limit.remaining is None else rate_limit
            self._use = GithubUsage(self._use.requests_made + 1, latest)

    @property
    def use(self) -> GithubUsage:
        return self._use

    def take_request_count(self) -> int:
        """Return the number of requests since the last call of this method; the caller adds them up."""
        with self._lock:
            new, self._reported = self._use.requests_made - self._reported, self._use.requests_made
            return new
