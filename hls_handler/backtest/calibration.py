"""Compares the confidence that Claude states with the share of right labels. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from hls_handler.backtest.agreement import Answer
from hls_handler.backtest.intervals import Share

BAND_EDGES = (0.0, 0.5, 0.7, 0.8, 0.9, 1.0)
"""Claude seldom states a confidence below 50%, so bands of equal width would be empty."""


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
