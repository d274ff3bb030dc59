"""The figures of a period as JSON, for the API, and as CSV for spreadsheets. docs/http.md describes the keys."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

from typing_extensions import TypedDict  # pydantic accepts that of `typing` from Python 3.12 on

from hls_handler.store.figures import Figures, FiguresReport, Percentiles
from hls_handler.untrusted.cleaning import escape_unprintable

SCORE_COLUMNS = ("score_average", "score_replies")

FORMULA = ("=", "+", "-", "@")
"""Beginnings of cells that spreadsheets take for a formula. https://owasp.org/www-community/attacks/CSV_Injection"""


class PercentilesDocument(TypedDict):
    count: int
    p50: float | None
    p95: float | None
    p99: float | None


class FindingsDocument(TypedDict):
    raised: int
    accepted: int
    fixed: int
    dismissed: int
    false_positive_percent: float | None


class CacheDocument(TypedDict):
    replies: int
    hits: int
    hit_percent: float | None
    saved_usd: float


class FiguresDocument(TypedDict):
    """The figures of one repository, of one author, or of all. A value is None if there is nothing to divide by."""

    name: str
    processed: int
    done: int
    dead: int
    per_minute: float
    success_percent: float | None
    recovered: int
    recovery_percent: float | None
    processing_seconds: PercentilesDocument
    first_reply_seconds: PercentilesDocument
    pull_requests_analysed: int
    findings: FindingsDocument
    cost_usd: float
    cost_per_pull_request_usd: float | None
    reply_cache: CacheDocument


class ScoreDocument(TypedDict):
    day: str
    dimension: str
    average: float
    replies: int


class FiguresPageDocument(TypedDict):
    since: str
    until: str
    is_complete: bool
    repository: str | None
    total: FiguresDocument
    repositories: list[FiguresDocument]
    authors: list[FiguresDocument] | None
    scores: list[ScoreDocument]


def report_to_document(report: FiguresReport, *, repository: str | None) -> FiguresPageDocument:
    """Return the document. `repository` is the filter; None stands for all."""
    return {
        "since": report.since.isoformat(),
        "until": report.until.isoformat(),
        "is_complete": report.is_complete,
        "repository": repository,
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
    """Return a line for the total, each repository, each author and each score of a day; empty cells for None.

    The numbers are those of `/api/stats`. The name of a score is its dimension, and `since` and `until` are its day.
    """
    columns = ["kind", "since", "until", *_flatten(_figures_to_document(report.total)), *SCORE_COLUMNS]
    lines = io.StringIO(newline="")
    writer = csv.writer(lines)
    writer.writerow(columns)
    groups = (("total", (report.total,)), ("repository", report.repositories), ("author", report.authors or ()))
    for kind, group in groups:
        for figures in group:
            values = {**_flatten(_figures_to_document(figures)), "kind": kind}
            values |= {"since": report.since.isoformat(), "until": report.until.isoformat()}
            writer.writerow([_escape_formula(values.get(column)) for column in columns])
    for score in report.scores:
        day = score.day.isoformat()
        averages = dict(zip(SCORE_COLUMNS, (round(score.average, 2), score.replies), strict=True))
        values = {"kind": "score", "since": day, "until": day, "name": score.dimension, **averages}
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
