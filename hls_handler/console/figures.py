"""The figures that teams report: as a page, and as JSON (`/api/stats`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from threading import Condition
from typing import NamedTuple

from cachetools import TTLCache, cached
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from hls_handler.console.endpoints import SHOW_FIGURES
from hls_handler.console.frame import Frame, send_json
from hls_handler.console.overview import PERIOD_TITLES
from hls_handler.console.pages import NOTHING, format_duration, format_percent, format_sum_usd
from hls_handler.console.queries import FiguresQuery, InvalidFilter
from hls_handler.db.values import EPOCH
from hls_handler.storage import Storage
from hls_handler.store.figures import DailyScore, Figures, FiguresReport
from hls_handler.store.periods import PERIODS, latest_period

MAX_AGE_S = 60.0  # of reports
MAX_REPORTS = 32
MAX_ROWS = 20  # of each table of the page


def read_report(store: Storage, query: FiguresQuery, *, has_authors: bool) -> FiguresReport:
    """Read the database. Blocks; raises `InvalidFilter` if the period has not begun."""
    now = store.now()
    until = min(query.until or now, now)
    since = query.since
    if since is None and until < EPOCH:
        raise InvalidFilter("until: expected a time after 1970")
    if since is None and query.until is None:
        since = latest_period(query.period, now).since  # as on the overview
    elif since is None:
        since = until - PERIODS[query.period][0]
    if since >= now:
        raise InvalidFilter("since: expected a time in the past")
    return store.figures.read(since, until, repository=query.repository, has_authors=has_authors)


class FiguresPages:
    """The page, and the same as JSON, for one set of settings."""

    def __init__(self, frame: Frame, store: Storage, clock: Callable[[], float]) -> None:
        self._frame = frame
        self._read = cached(TTLCache(MAX_REPORTS, MAX_AGE_S, timer=clock), condition=Condition())(
            partial(read_report, store, has_authors=frame.settings.metrics.authors)
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
            given=dict(request.query_params),
            download=f"{SHOW_FIGURES.path}?{request.url.query}",
            periods=PERIOD_TITLES,
            groups=list(_group(report)),
            max_rows=MAX_ROWS,
            keep_days=f"{self._frame.settings.storage.keep_days:g}",
            has_authors=self._frame.settings.metrics.authors,
            scores=_arrange_scores(report.scores),
        )

    def _send_stats(self, request: Request, query: FiguresQuery) -> Response:
        return send_json(request, self._read(query))


TABLES: Mapping[str, Mapping[str, Callable[[Figures], str]]] = {
    "Reviews": {
        "Pull requests": lambda one: f"{one.pull_requests_analysed:,}",
        "Findings": lambda one: f"{one.findings.raised:,}",
        "Accepted": lambda one: f"{one.findings.accepted:,}",
        "Fixed": lambda one: f"{one.findings.fixed:,}",
        "Dismissed": lambda one: f"{one.findings.dismissed:,}",
        "Ignored": lambda one: f"{one.findings.ignored:,}",
        "Acted on": lambda one: format_percent(one.findings.acted_on_percent),
        "False positives": lambda one: format_percent(one.findings.false_positive_percent),
        "First reply, p50": lambda one: format_duration(one.first_reply_seconds.p50),
        "First reply, p95": lambda one: format_duration(one.first_reply_seconds.p95),
        "Labels kept": lambda one: f"{one.labels.kept:,}",
        "Labels corrected": lambda one: f"{one.labels.corrected:,}",
    },
    "Processing": {
        "Processed": lambda one: f"{one.processed:,}",
        "Per minute": lambda one: f"{one.per_minute:.4f}",
        "Success": lambda one: format_percent(one.success_percent),
        "Recovered": lambda one: format_percent(one.recovery_percent),
        "p50": lambda one: format_duration(one.processing_seconds.p50),
        "p95": lambda one: format_duration(one.processing_seconds.p95),
        "p99": lambda one: format_duration(one.processing_seconds.p99),
    },
    "Cost": {
        "Cost": lambda one: format_sum_usd(one.cost_usd),
        "Of batches": lambda one: format_sum_usd(one.batches_cost_usd),
        "Per pull request": lambda one: format_sum_usd(one.cost_per_pull_request_usd),
        "Replies": lambda one: f"{one.reply_cache.replies:,}",
        "From the cache": lambda one: format_percent(one.reply_cache.hit_percent),
        "Saved": lambda one: format_sum_usd(one.reply_cache.saved_usd),
    },
}
"""The tables of the page: title -> heading of each column -> its cells."""


class Table(NamedTuple):
    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, str, Sequence[str]]]  # name, no address, and the other cells


def _group(report: FiguresReport) -> Iterator[tuple[str, Sequence[Table], bool]]:
    """Yield title and tables about repositories and authors, and True if some are left out."""
    groups = (
        ("Repositories", "Repository", report.repositories),
        ("Authors", "Author", report.authors or ()),
    )
    for title, column, figures in groups:
        shown = sorted(figures, key=lambda one: (-one.processed, one.name))[:MAX_ROWS]
        if figures is report.repositories and report.repository is None:
            shown.insert(0, replace(report.total, name="All"))
        tables = [
            Table(
                name,
                [column, *columns],
                [(one.name, "", [cell(one) for cell in columns.values()]) for one in shown],
            )
            for name, columns in TABLES.items()
        ]
        if shown:
            yield title, tables, len(figures) > MAX_ROWS


def _arrange_scores(scores: Iterable[DailyScore]) -> Table:
    """Return a table with a row for each day, the newest first."""
    given = {(one.day, one.dimension): f"{one.average:.1f}" for one in scores}
    dimensions = sorted({dimension for _, dimension in given})
    days = sorted({day for day, _ in given}, reverse=True)
    rows = [(f"{day}", "", [given.get((day, one), NOTHING) for one in dimensions]) for day in days]
    return Table("Average score by day, from 1 (poor) to 5 (good)", ["Day", *dimensions], rows)
