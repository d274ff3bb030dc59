"""Compares the confidence that Claude states with the share of right labels, and chooses the
threshold of confidence for a wanted precision. Pure.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from statistics import NormalDist, fmean

from hls_handler.backtest.agreement import Answer
from hls_handler.backtest.intervals import INTERVAL_ERROR, Share, lower_bound

BAND_EDGES = (0.0, 0.5, 0.7, 0.8, 0.9, 1.0)
"""Claude seldom states a confidence below 50%, so bands of equal width would be empty."""
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


@dataclass(frozen=True, slots=True)
class Band:
    """The labels that were given with a confidence from `low` to below `high` (the last: to 1)."""

    low: float
    high: float
    stated: float | None  # mean confidence; None without labels
    right: Share


def measure_calibration(answers: Iterable[Answer]) -> tuple[Band, ...]:
    """Return five bands, the lowest first. Issues without a label are in none."""
    bands: list[list[Answer]] = [[] for _ in BAND_EDGES[1:]]
    for answer in answers:
        if answer.given is not None:
            number = bisect_right(BAND_EDGES[1:-1], answer.confidence)
            bands[number].append(answer)
    edges = pairwise(BAND_EDGES)
    return tuple(
        _measure_band(low, high, band) for (low, high), band in zip(edges, bands, strict=True)
    )


def _measure_band(low: float, high: float, answers: Sequence[Answer]) -> Band:
    stated = None
    if answers:
        stated = fmean(answer.confidence for answer in answers)
    return Band(low, high, stated, _share_right(answers))


def _share_right(answers: Sequence[Answer]) -> Share:
    return Share(sum(answer.given == answer.left for answer in answers), len(answers))


@dataclass(frozen=True, slots=True)
class ThresholdPrecision:
    """The labels that were given with a confidence of at least `threshold`."""

    threshold: float
    right: Share
    lower_bound: float  # of the precision; see `choose_threshold`


@dataclass(frozen=True, slots=True)
class ThresholdChoice:
    wanted: float  # precision
    threshold: float | None  # the lowest that reaches it
    # Estimate of the further issues after which a threshold reaches it; 0 if one does now, None if
    # no number of issues helps, because no observed precision is above the wanted one.
    more_issues: int | None
    thresholds: tuple[ThresholdPrecision, ...]  # the lowest first


def choose_threshold(answers: Sequence[Answer], wanted: float) -> ThresholdChoice:
    """Return the lowest of `THRESHOLDS` whose lower bound of precision is at least `wanted`
    (above 0 and below 1).

    With a probability of at least 95%, no lower bound is above its true precision. So the chosen
    one may be the best looking: the error of 5% is divided by the number of thresholds (Bonferroni,
    as in Dunn, Multiple comparisons among means, JASA 56, 1961). Thresholds that select the same
    issues count once; which do depends on the stated confidence alone.
    """
    given = [answer for answer in answers if answer.given is not None]
    selections = [[one for one in given if one.confidence >= limit] for limit in THRESHOLDS]
    shares = [_share_right(selected) for selected in selections]
    different = {share.of for share in shares} - {0}
    error = INTERVAL_ERROR / max(1, len(different))
    rows = tuple(
        ThresholdPrecision(threshold, share, lower_bound(share.part, share.of, error))
        for threshold, share in zip(THRESHOLDS, shares, strict=True)
    )
    for row in rows:
        if row.lower_bound >= wanted:
            return ThresholdChoice(wanted, row.threshold, 0, rows)
    needed = [_estimate_issues(share, len(answers), wanted, error) for share in shares]
    more = [max(1, issues - len(answers)) for issues in needed if issues is not None]
    return ThresholdChoice(wanted, None, min(more, default=None), rows)


def _estimate_issues(right: Share, issues: int, wanted: float, error: float) -> int | None:
    """Return how many issues move the bound to `wanted` if the observed shares stay the same, by
    the score test (Wilson, Probable inference, JASA 22, 1927).
    """
    if right.value is None or right.value <= wanted:
        return None
    deviation = NormalDist().inv_cdf(1 - error)
    labels = deviation**2 * wanted * (1 - wanted) / (right.value - wanted) ** 2
    return ceil(labels * issues / right.of)
