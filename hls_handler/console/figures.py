"""The figures that teams report: as a page, as CSV, and as JSON (`/api/stats`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import NamedTuple

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from hls_handler.console.delivery_search import InvalidFilter, parse_time, read_filters
from hls_handler.console.endpoints import SHOW_FIGURES
from hls_handler.console.frame import Frame, send_json
from hls_handler.console.numbers import NOTHING, format_duration, format_percent, format_sum_usd
from hls_handler.console.overview import PERIOD_TITLES
from hls_handler.console.plots import draw
from hls_handler.reports.figures_documents import report_to_document, to_csv
from hls_handler.storage import Storage
from hls_handler.store.figures import MAX_DELIVERIES, TOTAL, DailyScore, Figures, FiguresReport
from hls_handler.store.periods import PERIODS, PeriodName
from hls_handler.web.single_flight import SingleFlightCache

MAX_AGE_S, TIMEOUT_S = 60.0, 30.0  # of reports; each may read 100,000 rows
MAX_ROWS = 20  # of each table of the page
PLOTTED, MAX_PLOTS = 3, 3
"""Dimensions of score cards in one plot, because it has three colours, and plots of the page."""

DEFAULT_PERIOD: PeriodName = "7d"


@dataclass(frozen=True, slots=True)
class FiguresQuery:
    """The filters in the address. `period` is None if they name dates."""

    period: PeriodName | None
    since: datetime | None
    until: datetime | None
    repository: str | None


def parse_figures_query(query: Mapping[str, str]) -> FiguresQuery:
    """Return the query of an address such as `/figures?period=30d`; dates replace it. Raises `InvalidFilter`."""
    given = read_filters(query, ("period", "since", "until", "repository"))
    name = given.get("period", DEFAULT_PERIOD)
    period = next((one for one in PERIODS if one == name), None)
    if period is None:
        raise InvalidFilter(f"period: found {name!r}, expected one of {', '.join(PERIODS)}")
    since, until = parse_time("since", given.get("since")), parse_time("until", given.get("until"))
    if until is not None and since is None:
        raise InvalidFilter("until: expected since, too")
    if since is not None and until is not None and until <= since:
        raise InvalidFilter("until: expected a time after since")
    return FiguresQuery(None if since else period, since, until, given.get("repository"))


@dataclass(frozen=True, slots=True)
class DrawnReport:
    report: FiguresReport
    groups: tuple[Group, ...]
    scores: ScoreTable
    plots: tuple[Markup, ...]  # of the scores
    csv: str


def read_report(store: Storage, query: FiguresQuery, *, has_authors: bool) -> DrawnReport:
    """Read the database and draw the plots. Blocks; raises `InvalidFilter` if the period has not begun."""
    now = store.now()
    since = query.since or now - PERIODS[query.period or DEFAULT_PERIOD][0]
    if since >= now:
        raise InvalidFilter("since: expected a time in the past")
    report = store.figures.read(
        since, min(query.until or now, now), repository=query.repository, has_authors=has_authors
    )
    return DrawnReport(
        report,
        tuple(_groups(query, report)),
        _arrange_scores(report.scores),
        tuple(_draw_scores(report.scores)),
        to_csv(report),
    )


class FiguresPages:
    """The page, its download, and the same as JSON, for one set of settings."""

    def __init__(self, frame: Frame, store: Storage, now: Callable[[], float]) -> None:
        self._frame = frame
        self._reports = SingleFlightCache(
            partial(read_report, store, has_authors=frame.settings.metrics.authors),
            now,
            max_age_s=MAX_AGE_S,
            timeout_s=TIMEOUT_S,
        )

    def routes(self) -> Sequence[BaseRoute]:
        return [
            self._frame.page("/figures", self._show),
            self._frame.page("/figures.csv", self._download),
            *self._frame.endpoint(SHOW_FIGURES, self._send_stats),
        ]

    async def _read(self, request: Request) -> tuple[FiguresQuery, DrawnReport]:
        query = parse_figures_query(request.query_params)
        return query, await self._reports.get(query)

    async def _show(self, request: Request) -> Response:
        query, drawn = await self._read(request)
        report = drawn.report
        return self._frame.render(
            request,
            "figures.html",
            report=report,
            query=query,
            given=dict(request.query_params),
            download=f"/figures.csv?{request.url.query}",
            periods=PERIOD_TITLES,
            groups=drawn.groups,
            max_rows=MAX_ROWS,
            max_deliveries=f"{MAX_DELIVERIES:,}",
            keep_days=f"{self._frame.settings.storage.keep_days:g}",
            has_authors=self._frame.settings.metrics.authors,
            scores=drawn.scores,
            plots=drawn.plots,
        )

    async def _download(self, request: Request) -> Response:
        _, drawn = await self._read(request)
        report = drawn.report
        name = f"hls-figures-{report.since:%Y-%m-%d}-{report.until:%Y-%m-%d}.csv"
        headers = {"content-disposition": f'attachment; filename="{name}"', "x-content-type-options": "nosniff"}
        return Response(drawn.csv, headers=headers, media_type="text/csv")

    async def _send_stats(self, request: Request) -> Response:
        query, drawn = await self._read(request)
        return send_json(request, report_to_document(drawn.report, repository=query.repository))


class Row(NamedTuple):
    name: str
    cells: tuple[str, ...]


class TableOfFigures(NamedTuple):
    title: str  # "Reviews"
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


class Group(NamedTuple):
    """The tables about all repositories, or about all authors."""

    title: str  # "Repositories"
    column: str  # the heading of the names: "Repository"
    tables: tuple[TableOfFigures, ...]
    is_cut: bool  # True: there are more than `MAX_ROWS`


def _groups(query: FiguresQuery, report: FiguresReport) -> Iterator[Group]:
    total = (report.total,) if query.repository is None else ()
    yield _make_group("Repositories", "Repository", total, report.repositories)
    if report.authors is not None:
        yield _make_group("Authors", "Author", (), report.authors)


def _make_group(title: str, column: str, total: tuple[Figures, ...], others: Sequence[Figures]) -> Group:
    most = sorted(others, key=lambda one: (-one.processed, one.name))[:MAX_ROWS]
    tables = tuple(
        TableOfFigures(
            name,
            columns,
            tuple(Row("All" if one.name == TOTAL else one.name, cells(one)) for one in (*total, *most)),
        )
        for name, columns, cells in TABLES
    )
    return Group(title, column, tables, len(others) > MAX_ROWS)


def _review_cells(one: Figures) -> tuple[str, ...]:
    counts = (one.pull_requests, one.findings_raised, one.findings_accepted, one.findings_fixed, one.findings_dismissed)
    replied = one.first_reply
    times = (None, None) if replied is None else (replied.p50, replied.p95)
    return (
        *(f"{number:,}" for number in counts),
        format_percent(one.false_positive_rate),
        *map(format_duration, times),
    )


def _processing_cells(one: Figures) -> tuple[str, ...]:
    took = one.processing
    times = (None, None, None) if took is None else (took.p50, took.p95, took.p99)
    shares = (format_percent(one.success_rate), format_percent(one.recovery_rate))
    return (f"{one.processed:,}", f"{one.per_minute:.4f}", *shares, *map(format_duration, times))


def _cost_cells(one: Figures) -> tuple[str, ...]:
    costs = (format_sum_usd(one.cost_usd), format_sum_usd(one.cost_per_pull_request_usd))
    return (*costs, f"{one.replies:,}", format_percent(one.cache_hit_rate), format_sum_usd(one.cache_saved_usd))


TABLES: tuple[tuple[str, tuple[str, ...], Callable[[Figures], tuple[str, ...]]], ...] = (
    (
        "Reviews",
        (
            "Pull requests",
            "Findings",
            "Accepted",
            "Fixed",
            "Dismissed",
            "False positives",
            "First reply, p50",
            "First reply, p95",
        ),
        _review_cells,
    ),
    ("Processing", ("Processed", "Per minute", "Success", "Recovered", "p50", "p95", "p99"), _processing_cells),
    ("Cost", ("Cost", "Per pull request", "Replies", "From the cache", "Saved"), _cost_cells),
)


class ScoreTable(NamedTuple):
    dimensions: tuple[str, ...]
    rows: tuple[Row, ...]  # the name is the day


def _arrange_scores(scores: Iterable[DailyScore]) -> ScoreTable:
    """Return a table with a row for each day, the newest first."""
    given = {(one.day, one.dimension): f"{one.average:.1f}" for one in scores}
    dimensions = tuple(sorted({dimension for _, dimension in given}))
    days = sorted({day for day, _ in given}, reverse=True)
    rows = (Row(day.isoformat(), tuple(given.get((day, one), NOTHING) for one in dimensions)) for day in days)
    return ScoreTable(dimensions, tuple(rows))


def _draw_scores(scores: Sequence[DailyScore]) -> Iterator[Markup]:
    """Draw the scores of the first dimensions over the days that have some. One day is no line."""
    days = sorted({one.day for one in scores})
    dimensions = sorted({one.dimension for one in scores})[: PLOTTED * MAX_PLOTS]
    given = {(one.day, one.dimension): one.average for one in scores}
    labels = [f"{day:%m-%d}" for day in days]
    for first in range(0, len(dimensions) if len(days) > 1 else 0, PLOTTED):
        names = dimensions[first : first + PLOTTED]
        series = {name: [given.get((day, name)) for day in days] for name in names}
        title = f"Scores by day: {', '.join(names)}"
        yield draw("lines", title, labels, series, unit="{:.1f}".format, shown_labels=labels[:: len(days) // 6 + 1])
