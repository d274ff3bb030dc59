"""The background probe: now and then it looks at what no delivery has used lately, so that /health need not ask."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hls_handler.errors import DependencyDown, HlsError, StoreUnavailable
from hls_handler.work.health import Component, Health, Severity

log = logging.getLogger(__name__)

EVERY_S, SOON_S = 60.0, 5.0


class ProblemFound(HlsError):
    """A check found something that the operator should know of. `remedy` says what to do about it."""

    def __init__(self, message: str, *, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Check:
    """One look. `look` raises one of our errors when there is trouble, with a message that says what to do.

    It may give figures to show beside the component's state. `proves` says whether a look that went well is as good as
    a use of the component. As long as nobody `wants` to know, nothing is looked at, and nothing is known.
    """

    component: Component
    look: Callable[[], Mapping[str, int] | None]
    proves: bool = False
    wants: Callable[[], bool] = _always


class Probe:
    """One thread that runs all checks at the start and every minute, and oftener while unhealthy."""

    def __init__(self, checks: Sequence[Check], health: Health, *, soon_s: float = SOON_S) -> None:
        self._checks, self._health, self._soon_s = tuple(checks), health, soon_s
        self._ended, self._wanted = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._loop, name="probe", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def look_soon(self) -> None:
        """Do not wait for the minute to end: something was mended, or is another."""
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
                self._say(check, str(exc), exc.remedy)
            except StoreUnavailable as exc:
                self._say(check, str(exc), "make the database writable", severity="unhealthy")
            except HlsError as exc:
                self._say(check, str(exc), "see the message")
            except Exception as exc:  # the edge of the probe's thread: it must not end over a defect of a check
                log.exception("defect in a probe")
                self._say(check, f"the probe failed: {type(exc).__name__}", "see the log")
            else:
                told = self._health.ok if check.proves else self._health.answers
                told(check.component)
                if figures is not None:
                    self._health.measured(check.component, figures)

    def _say(self, check: Check, message: str, remedy: str, *, severity: Severity = "degraded") -> None:
        self._health.report_problem(check.component, message, remedy, severity=severity, by_probe=True)

    @property
    def pause_s(self) -> float:
        """Until the next look. Who is answered 503 by `/health` may send nothing that would tell otherwise."""
        return self._soon_s if self._health.snapshot().overall == "unhealthy" else EVERY_S

    def _loop(self) -> None:
        while not self._ended.is_set():
            self._wanted.clear()
            self.look()
            waited_s = 0.0
            while not self._wanted.wait(self._soon_s):  # what was healthy at the look may not be so any more
                waited_s += self._soon_s
                if waited_s >= self.pause_s:
                    break
