"""The figures that teams report: as a page, and as JSON (`/api/stats`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from hls_handler.console.endpoints import SHOW_FIGURES
from hls_handler.console.frame import Frame, Pages, send_json
from hls_handler.console.overview import PERIOD_TITLES, format_count
from hls_handler.console.pages import format_duration, format_percent, format_sum_usd
from hls_handler.console.queries import FiguresQuery, InvalidFilter
from hls_handler.db.values import EPOCH
from hls_handler.store.figures import Figures, FiguresReport, latest_period
from hls_handler.store.storage import Storage

MAX_AGE_S = 60.0  # of reports
MAX_REPORTS = 32
MAX_ROWS = 20  # of each table of the page


def read_report(store: Storage, query: FiguresQuery) -> FiguresReport:
    """Read the database. Blocks; raises `InvalidFilter` if the period has not begun."""
    now = store.now()
    until = min(query.until or now, now)
    if until < EPOCH:
        raise InvalidFilter("until: expected a time after 1970")
    # as on the overview, if the period ends now
    since = query.since or latest_period(query.period, until - timedelta.resolution).since
    if since >= now:
        raise InvalidFilter("since: expected a time in the past")
    return store.statistics.report(since, until, repository=query.repository)


class FiguresPages(Pages):
    """The page, and the same as JSON, for one set of settings."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame)
        self._read = frame.ports.cache(
            partial(read_report, self._store),
            max_age_s=MAX_AGE_S,
            max_entries=MAX_REPORTS,
        )

    def routes(self) -> Sequence[BaseRoute]:
        return [
            self._frame.page("/figures", self._show),
            *self._frame.endpoint(SHOW_FIGURES, self._send_stats),
        ]

    def _show(self, request: Request) -> Response:
        query = FiguresQuery.parse(request.query_params)
        report = self._read(query)
        return self._frame.render(
            request,
            "figures.html",
            report=report,
            query=query,
            form=dict(request.query_params),
            download=f"{SHOW_FIGURES.path}?{request.url.query}",
            periods=PERIOD_TITLES,
            tables=list(_list_tables(report)),
            max_rows=MAX_ROWS,
            keep_days=f"{self._frame.settings.storage.keep_days:g}",
        )

    def _send_stats(self, request: Request, query: FiguresQuery) -> Response:
        return send_json(request, self._read(query))


Cell = tuple[str, Callable[[Any], str]]
"""The name of a figure, such as "findings.raised", and its format."""

TABLES: Mapping[str, Mapping[str, Cell]] = {
    "Reviews": {
        "Pull requests": ("pull_requests_analysed", format_count),
        "Findings": ("findings.raised", format_count),
        "Accepted": ("findings.accepted", format_count),
        "Fixed": ("findings.fixed", format_count),
        "Dismissed": ("findings.dismissed", format_count),
        "Ignored": ("findings.ignored", format_count),
        "Acted on": ("findings.acted_on_percent", format_percent),
        "False positives": ("findings.false_positive_percent", format_percent),
        "First reply, p50": ("first_reply_seconds.p50", format_duration),
        "First reply, p95": ("first_reply_seconds.p95", format_duration),
        "Labels kept": ("labels.kept", format_count),
        "Labels corrected": ("labels.corrected", format_count),
    },
    "Processing": {
        "Processed": ("processed", format_count),
        "Success": ("success_percent", format_percent),
        "Recovered": ("recovery_percent", format_percent),
        "p50": ("processing_seconds.p50", format_duration),
        "p95": ("processing_seconds.p95", format_duration),
    },
    "Cost": {
        "Cost": ("cost_usd", format_sum_usd),
        "Of batches": ("batches_cost_usd", format_sum_usd),
        "Per pull request": ("cost_per_pull_request_usd", format_sum_usd),
        "Replies": ("reply_cache.replies", format_count),
        "From the cache": ("reply_cache.hit_percent", format_percent),
        "Saved": ("reply_cache.saved_usd", format_sum_usd),
    },
}
"""The tables of the page: title -> heading of each column -> its cells."""


class Table(NamedTuple):
    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, str, Sequence[str]]]  # name, no address, and the other cells


def _list_tables(report: FiguresReport) -> Iterator[Table]:
    rows = sorted(report.repositories, key=lambda row: (-row.processed, row.name))[:MAX_ROWS]
    if report.repository is None:
        rows.insert(0, replace(report.total, name="All"))
    for title, cells in TABLES.items():
        yield Table(title, ["Repository", *cells], [_make_row(row, cells) for row in rows])


def _make_row(figures: Figures, cells: Mapping[str, Cell]) -> tuple[str, str, Sequence[str]]:
    return figures.name, "", [form(attrgetter(name)(figures)) for name, form in cells.values()]
