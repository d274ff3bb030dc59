"""The loop that runs catch-up at intervals, and shows the result in `/health`."""

from __future__ import annotations

import logging
from collections.abc import Callable

from hls_handler.background.catch_up import CatchUp, Problem, Report
from hls_handler.engine.health import Health
from hls_handler.errors import StoreUnavailable
from hls_handler.settings.model import CatchUp as CatchUpSettings

log = logging.getLogger(__name__)

NOTHING_TO_READ = Problem(
    "no webhook is read, because `repositories` has only patterns and no event was received yet",
    "name each repository under `repositories` as owner/repo",
)
BUSY_RETRY_S = 15.0
"""Pause before the next run while another process is catching up."""


class CatchUpLoop:
    """Runs catch-up at intervals, and shows the result in `/health`."""

    def __init__(
        self,
        catch_up: CatchUp,
        *,
        settings: Callable[[], CatchUpSettings],
        health: Health,
        every_s: float | None = None,
    ) -> None:
        """With `every_s`, the settings `enabled` and `interval_m` have no effect."""
        self._catch_up, self._settings, self._health, self._fixed_every_s = catch_up, settings, health, every_s
        self._lost = 0  # since the start
        self._logged = list[Problem]()
        self._next_in_s: float | None = None  # None: the interval

    def run(self) -> None:
        self._next_in_s = None
        if self._fixed_every_s is None and not self._settings().enabled:
            self._health.set_metrics("catch_up", {"is_enabled": False})
            self._health.ok("catch_up")
            return
        try:
            report = self._catch_up.run(on_progress=self._show_progress)
        except StoreUnavailable as exc:
            self._health.report_store_problem(exc)
            return
        except Exception as exc:  # a defect, which the thread logs
            self._health.report_problem("catch_up", f"catch-up failed: {type(exc).__name__}", "see the log")
            raise
        if report.is_busy:
            self._health.ok("catch_up")
            self._next_in_s = BUSY_RETRY_S
            return
        self._lost += report.lost
        if self._fixed_every_s is not None and not report.hooks and not report.problems:
            report.problems.append(NOTHING_TO_READ)
        self._show(report, lost=self._lost)
        if report.is_cut:
            self._next_in_s = 0.0

    def every_s(self) -> float:
        regular = self._fixed_every_s or self._settings().interval_m * 60
        return regular if self._next_in_s is None else min(regular, self._next_in_s)

    def _show_progress(self) -> None:
        report = self._catch_up.report
        self._health.set_metrics("catch_up", _metrics(report, lost=self._lost + report.lost))

    def _show(self, report: Report, *, lost: int) -> None:
        last_run = self._health.clock().isoformat(timespec="seconds")
        self._health.set_metrics("catch_up", {"last_run": last_run, **_metrics(report, lost=lost)})
        if report.problems:
            message = "; ".join(problem.message for problem in report.problems)
            remedy = "; ".join(dict.fromkeys(problem.remedy for problem in report.problems))
            self._health.report_problem("catch_up", message, remedy)
        else:
            self._health.ok("catch_up")
        for problem in report.problems:
            if problem not in self._logged:
                log.warning("catch-up is incomplete", extra={"why": problem.message, "remedy": problem.remedy})
        self._logged = report.problems
        if report.fetched:
            log.info("caught up", extra=_metrics(report, lost=report.lost))


def _metrics(report: Report, *, lost: int) -> dict[str, int]:
    return {
        "hooks": report.hooks,
        "looked_at": report.looked_at,
        "fetched": report.fetched,
        "accepted": report.accepted,
        "unread": report.unread,
        "lost": lost,
        "remaining": report.remaining,
    }
