"""Threads that run a function at intervals, and two such functions: the probe and the retention."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from hls_handler.engine.health import Component, Health
from hls_handler.errors import DependencyDown, HlsError, StoreUnavailable
from hls_handler.settings.model import Settings
from hls_handler.store.retention import RetentionStore

log = logging.getLogger(__name__)

WATCH_EVERY_S = 1.0
"""Seconds between checks for changed files. Polling also works on network mounts and for symbolic
links.
"""
PROBE_EVERY_S = 60.0
PROBE_UNHEALTHY_EVERY_S = 5.0
"""Seconds between probes, normally and while unhealthy. After a 503 of `/health`, proxies may hold
back webhooks.
"""
RETENTION_EVERY_S = 600.0

BATCH = 20
"""Deliveries deleted in one transaction. It takes a few milliseconds, during which SQLite blocks
other writes.
"""
REST_S = 0.5
"""Pause after a batch, which leaves the database to the receiver and the workers."""
COUNTER_HOURS_DAYS = 400
"""Days for which the counters by hour are kept: a year, and its first month once more."""


class PeriodicThread:
    """A daemon thread that calls `run` at the start, and again `every_s()` seconds after each call.
    Errors are logged.

    Between two calls, `every_s` is called again every `poll_s` seconds, so that a shorter interval
    takes effect soon.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[], object],
        every_s: Callable[[], float],
        *,
        poll_s: float = PROBE_UNHEALTHY_EVERY_S,
    ) -> None:
        self._run = run
        self._every_s = every_s
        self._poll_s = poll_s
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def run_soon(self) -> None:
        """Make the thread call `run` now, or again at the end of a call in progress."""
        self._woken.set()

    def stop(self) -> None:
        self._stopping.set()
        self._woken.set()
        self._thread.join(timeout=1.0)

    def wait(self, seconds: float) -> bool:
        """Sleep for `seconds`, then return False. Return True as soon as `stop` is called. Call it
        only in `run`.
        """
        return self._stopping.wait(seconds)

    def _loop(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                self._run()
            except Exception:  # a defect must not end the thread
                log.exception(
                    "defect in a background thread", extra={"thread_name": self._thread.name}
                )
            waited_s = 0.0
            left_s = self._every_s()
            while left_s > 0:
                pause_s = min(left_s, self._poll_s)
                if self._woken.wait(pause_s):
                    break
                waited_s += pause_s
                left_s = self._every_s() - waited_s


class ProblemFound(HlsError):
    """One of the probe's checks found a problem. `remedy` is the operator's next step."""

    def __init__(
        self, message: str, *, remedy: str, metrics: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(message)
        self.remedy = remedy
        self.metrics = metrics


@dataclass(frozen=True, slots=True)
class Check:
    """A health check of one component. `run` raises an `HlsError` if there is a problem.

    `run` may return metrics, such as {"database_bytes": 81920}, and `ProblemFound` may have some.
    If `proves_use` is true, a successful check clears problems that workers or the receiver
    reported.
    """

    component: Component
    run: Callable[[], Mapping[str, object] | None]
    proves_use: bool = False


def run_checks(checks: Sequence[Check], health: Health) -> None:
    for check in checks:
        report = partial(health.report_problem, check.component, by_probe=True)
        try:
            metrics = check.run()
        except (DependencyDown, ProblemFound) as exc:
            report(str(exc), exc.remedy, is_lasting=isinstance(exc, ProblemFound))
            if isinstance(exc, ProblemFound) and exc.metrics is not None:
                health.set_metrics(check.component, exc.metrics)
        except StoreUnavailable as exc:
            report(str(exc), "make the database writable", severity="unhealthy")
        except HlsError as exc:
            report(str(exc), "see the message")
        except Exception as exc:  # a defect of a check must not prevent the other checks
            log.exception("defect in a check of the probe")
            report(f"the probe failed: {type(exc).__name__}", "see the log")
        else:
            if check.proves_use:
                health.ok(check.component)
            health.probe_ok(check.component)
            if metrics is not None:
                health.set_metrics(check.component, metrics)


def probe_every_s(health: Health) -> float:
    if health.snapshot().overall == "unhealthy":
        return PROBE_UNHEALTHY_EVERY_S
    return PROBE_EVERY_S


def delete_old(store: RetentionStore, settings: Settings, wait: Callable[[float], bool]) -> None:
    """Delete deliveries and bodies that are older than the settings allow, in batches.

    `wait` sleeps for the given seconds, and returns True to stop.
    """
    days = timedelta(days=settings.storage.keep_days)
    cached_for = timedelta(hours=settings.claude.cache_ttl_h)
    delete_deliveries = partial(store.delete_deliveries, cached_for=cached_for)
    try:
        store.delete_counter_hours(after=timedelta(days=COUNTER_HOURS_DAYS))
        store.mark_ignored_findings()  # first, because it reads deliveries
        bodies = _delete_all(store.delete_bodies, timedelta(days=settings.storage.body_days), wait)
        deliveries = _delete_all(delete_deliveries, days, wait)
        store.delete_system_texts()  # last: deleted deliveries referred to them
    except StoreUnavailable as exc:  # receiver and workers report the problem to /health
        log.warning("old deliveries could not be deleted", extra={"error": str(exc)})
        return
    if bodies or deliveries:
        log.info("old deliveries deleted", extra={"deliveries": deliveries, "bodies": bodies})


def _delete_all(delete: Callable[..., int], after: timedelta, wait: Callable[[float], bool]) -> int:
    total = 0
    while True:
        deleted = delete(after=after, limit=BATCH)
        total += deleted
        if deleted < BATCH or wait(REST_S):
            return total


def make_retention(store: RetentionStore, settings: Callable[[], Settings]) -> PeriodicThread:
    thread = PeriodicThread(
        "retention", lambda: delete_old(store, settings(), thread.wait), lambda: RETENTION_EVERY_S
    )
    return thread
