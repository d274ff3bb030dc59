"""The figures that teams report: as a page, as CSV, and as JSON (`/api/stats`)."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from hls_handler.console.delivery_search import InvalidFilter, parse_time, read_filters
from hls_handler.console.endpoints import SHOW_FIGURES, FiguresDocument, FiguresPageDocument, PercentilesDocument
from hls_handler.console.frame import Frame, Problem, send_json
from hls_handler.console.numbers import NOTHING, format_duration, format_percent, format_sum_usd
from hls_handler.console.overview import PERIOD_TITLES
from hls_handler.console.plots import draw
from hls_handler.history.figures import MAX_DELIVERIES, TOTAL, DailyScore, Figures, FiguresReport, Percentiles
from hls_handler.history.periods import PERIODS, PeriodName
from hls_handler.storage import Storage
from hls_handler.untrusted.cleaning import escape_unprintable

CACHED_S = 60.0
MAX_CACHED = 32  # reports in memory
MAX_ROWS = 20  # of each table of the page
PLOTTED, MAX_PLOTS = 3, 3
"""Dimensions of score cards in one plot, because it has three colours, and plots of the page."""

FORMULA = ("=", "+", "-", "@")
"""Beginnings of cells that spreadsheets take for a formula. https://owasp.org/www-community/attacks/CSV_Injection"""

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
    if until is not None and (since is None or until <= since):
        raise InvalidFilter("until: expected a time after since")
    return FiguresQuery(None if since else period, since, until, given.get("repository"))


@dataclass(frozen=True, slots=True)
class DrawnReport:
    report: FiguresReport
    plots: tuple[Markup, ...]  # of the scores


class FiguresCache:
    """Reads reports one after the other, and keeps each for `CACHED_S`, because a report may read 100,000 rows."""

    def __init__(self, store: Storage, now: Callable[[], float], *, has_authors: bool) -> None:
        """`now` returns seconds since 1970."""
        self._store, self._now, self._has_authors = store, now, has_authors
        self._lock = asyncio.Lock()
        self._reports: dict[FiguresQuery, tuple[float, DrawnReport]] = {}

    async def read(self, query: FiguresQuery) -> DrawnReport:
        """Raises `StoreUnavailable`, and `InvalidFilter` if the period has not begun."""
        async with self._lock:
            now = self._now()
            self._reports = {one: kept for one, kept in self._reports.items() if 0 <= now - kept[0] < CACHED_S}
            if query not in self._reports:
                drawn = await asyncio.to_thread(self._read, query)
                if len(self._reports) == MAX_CACHED:
                    self._reports.pop(next(iter(self._reports)))
                self._reports[query] = (now, drawn)
            return self._reports[query][1]

    def _read(self, query: FiguresQuery) -> DrawnReport:
        now = self._store.now()
        since = query.since or now - PERIODS[query.period or DEFAULT_PERIOD][0]
        if since >= now:
            raise InvalidFilter("since: expected a time in the past")
        until = min(query.until or now, now)
        report = self._store.figures.read(since, until, repository=query.repository, has_authors=self._has_authors)
        return DrawnReport(report, tuple(_draw_scores(report.scores)))


class FiguresPages:
    """The page, its download, and the same as JSON, for one set of settings."""

    def __init__(self, frame: Frame, store: Storage, now: Callable[[], float]) -> None:
        self._frame = frame
        self._cache = FiguresCache(store, now, has_authors=frame.settings.metrics.authors)

    def routes(self) -> Sequence[BaseRoute]:
        return [
            self._frame.page("/figures", self._show),
            self._frame.page("/figures.csv", self._download),
            *self._frame.endpoint(SHOW_FIGURES, self._send_stats),
        ]

    async def _read(self, request: Request) -> tuple[FiguresQuery, DrawnReport]:
        query = parse_figures_query(request.query_params)
        return query, await self._cache.read(query)

    async def _show(self, request: Request) -> Response:
        try:
            query, drawn = await self._read(request)
        except InvalidFilter as exc:
            return self._frame.message(request, f"{exc}.", status=400)
        report = drawn.report
        return self._frame.render(
            request,
            "figures.html",
            report=report,
            query=query,
            given=dict(request.query_params),
            download=f"/figures.csv?{request.url.query}",
            periods=PERIOD_TITLES,
            groups=tuple(_groups(query, report)),
            max_rows=MAX_ROWS,
            max_deliveries=f"{MAX_DELIVERIES:,}",
            keep_days=f"{self._frame.settings.storage.keep_days:g}",
            has_authors=self._frame.settings.metrics.authors,
            scores=_arrange_scores(report.scores),
            plots=drawn.plots,
        )

    async def _download(self, request: Request) -> Response:
        try:
            _, drawn = await self._read(request)
        except InvalidFilter as exc:
            return self._frame.message(request, f"{exc}.", status=400)
        report = drawn.report
        name = f"hls-figures-{report.since:%Y-%m-%d}-{report.until:%Y-%m-%d}.csv"
        headers = {"content-disposition": f'attachment; filename="{name}"', "x-content-type-options": "nosniff"}
        return Response(to_csv(report), headers=headers, media_type="text/csv")

    async def _send_stats(self, request: Request) -> Response:
        try:
            query, drawn = await self._read(request)
        except InvalidFilter as exc:
            raise Problem(400, str(exc)) from None
        return send_json(request, report_to_document(query, drawn.report))


def report_to_document(query: FiguresQuery, report: FiguresReport) -> FiguresPageDocument:
    return {
        "since": report.since.isoformat(),
        "until": report.until.isoformat(),
        "is_complete": report.is_complete,
        "repository": query.repository,
        "total": _figures_to_document(report.total),
        "repositories": [_figures_to_document(one) for one in report.repositories],
        "authors": None if report.authors is None else [_figures_to_document(one) for one in report.authors],
        "scores": [
            {
                "day": one.day.isoformat(),
                "dimension": one.dimension,
                "average": round(one.average, 2),
                "replies": one.replies,
            }
            for one in report.scores
        ],
    }


def _figures_to_document(figures: Figures) -> FiguresDocument:
    return {
        "name": figures.name,
        "processed": figures.processed,
        "done": figures.done,
        "dead": figures.dead,
        "per_minute": round(figures.per_minute, 4),
        "success_percent": _to_percent(figures.success_rate),
        "recovered": figures.recovered,
        "recovery_percent": _to_percent(figures.recovery_rate),
        "processing_seconds": _percentiles_to_document(figures.processing),
        "first_reply_seconds": _percentiles_to_document(figures.first_reply),
        "pull_requests_analysed": figures.pull_requests,
        "findings": {
            "raised": figures.findings_raised,
            "accepted": figures.findings_accepted,
            "fixed": figures.findings_fixed,
            "dismissed": figures.findings_dismissed,
            "false_positive_percent": _to_percent(figures.false_positive_rate),
        },
        "cost_usd": figures.cost_usd,
        "cost_per_pull_request_usd": _round_usd(figures.cost_per_pull_request_usd),
        "reply_cache": {
            "replies": figures.replies,
            "hits": figures.cached_replies,
            "hit_percent": _to_percent(figures.cache_hit_rate),
            "saved_usd": figures.cache_saved_usd,
        },
    }


def _percentiles_to_document(times: Percentiles | None) -> PercentilesDocument:
    if times is None:
        return {"count": 0, "p50": None, "p95": None, "p99": None}
    return {"count": times.size, "p50": times.p50, "p95": times.p95, "p99": times.p99}


def _to_percent(share: float | None) -> float | None:
    return None if share is None else round(share * 100, 2)


def _round_usd(usd: float | None) -> float | None:
    return None if usd is None else round(usd, 6)


def to_csv(report: FiguresReport) -> str:
    """Return a line for each repository and each author, with the numbers of `/api/stats`; empty cells for None."""
    columns = ["kind", "since", "until", *_flatten(_figures_to_document(report.total))]
    lines = io.StringIO(newline="")
    writer = csv.writer(lines)
    writer.writerow(columns)
    for kind, group in (("repository", report.repositories), ("author", report.authors or ())):
        for figures in group:
            values = {**_flatten(_figures_to_document(figures)), "kind": kind}
            values |= {"since": report.since.isoformat(), "until": report.until.isoformat()}
            writer.writerow([_escape_formula(values.get(column)) for column in columns])
    return lines.getvalue()


def _flatten(document: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Return {"findings_raised": 5} for {"findings": {"raised": 5}}."""
    flat: dict[str, object] = {}
    for key, value in document.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}_")
        else:
            flat[prefix + key] = value
    return flat


def _escape_formula(value: object) -> object:
    if not isinstance(value, str):
        return value
    printable = escape_unprintable(value)
    return f"'{printable}" if printable.startswith(FORMULA) else printable


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
