"""The background probe: runs the health checks at intervals, so that /health returns without checking."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hls_handler.errors import DependencyDown, HlsError, StoreUnavailable
from hls_handler.work.health import Component, Health, Severity

log = logging.getLogger(__name__)

EVERY_S, SOON_S = 60.0, 5.0
"""Seconds between runs while healthy or degraded, and while unhealthy."""


class ProblemFound(HlsError):
    """A check found a problem. `remedy` is the operator's next step."""

    def __init__(self, message: str, *, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Check:
    """One health check. `look` raises an `HlsError` if there is a problem.

    `look` may return numbers that are shown with the component's state. `proves` means that a successful check clears
    a failed use. While `wants` returns False, the check is skipped and its component is unknown.
    """

    component: Component
    look: Callable[[], Mapping[str, int] | None]
    proves: bool = False
    wants: Callable[[], bool] = _always


class Probe:
    """A thread that runs all checks at the start and every `EVERY_S`, and every `soon_s` while unhealthy."""

    def __init__(self, checks: Sequence[Check], health: Health, *, soon_s: float = SOON_S) -> None:
        self._checks, self._health, self._soon_s = tuple(checks), health, soon_s
        self._ended, self._wanted = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._loop, name="probe", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def look_soon(self) -> None:
        """Run the checks now, because settings or prompts changed."""
        self._wanted.set()

    def stop(self) -> None:
        self._ended.set()
        self._wanted.set()
        self._thread.join(timeout=1.0)

    def look(self) -> None:
        """Run every check once."""
        for check in self._checks:
            if not check.wants():
                self._health.forget(check.component)
                continue
            try:
                figures = check.look()
            except (DependencyDown, ProblemFound) as exc:
                self._report(check, str(exc), exc.remedy)
            except StoreUnavailable as exc:
                self._report(check, str(exc), "make the database writable", severity="unhealthy")
            except HlsError as exc:
                self._report(check, str(exc), "see the message")
            except Exception as exc:  # a defect of a check must not end the thread
                log.exception("defect in a probe")
                self._report(check, f"the probe failed: {type(exc).__name__}", "see the log")
            else:
                record = self._health.ok if check.proves else self._health.answers
                record(check.component)
                if figures is not None:
                    self._health.measured(check.component, figures)

    def _report(self, check: Check, message: str, remedy: str, *, severity: Severity = "degraded") -> None:
        self._health.report_problem(check.component, message, remedy, severity=severity, by_probe=True)

    @property
    def pause_s(self) -> float:
        """Seconds until the next run; short while unhealthy, because 503 may keep traffic away that shows recovery."""
        return self._soon_s if self._health.snapshot().overall == "unhealthy" else EVERY_S

    def _loop(self) -> None:
        while not self._ended.is_set():
            self._wanted.clear()
            self.look()
            waited_s = 0.0
            while not self._wanted.wait(self._soon_s):  # pause_s is shorter once a use reports unhealthy
                waited_s += self._soon_s
                if waited_s >= self.pause_s:
                    break
