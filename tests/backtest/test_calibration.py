from __future__ import annotations

import random

import pytest

from hls_handler.backtest.agreement import Answer
from hls_handler.backtest.calibration import (
    Band,
    choose_threshold,
    measure_calibration,
)
from hls_handler.backtest.intervals import Share
from tests.backtest.simulated import OVERCONFIDENT


def test_calibration_has_five_bands_of_the_labels_that_were_given() -> None:
    answers = [
        Answer("bug", 0.5, "bug"),
        Answer("bug", 0.625, "question"),
        Answer("bug", 0.75, "bug"),
        Answer("bug", 0.9, "bug"),
        Answer("bug", 1.0, None),
        Answer(None, 0.3, "bug"),
    ]

    assert measure_calibration(answers) == (
        Band(0.0, 0.5, None, Share(0, 0)),
        Band(0.5, 0.7, 0.5625, Share(1, 2)),
        Band(0.7, 0.8, 0.75, Share(1, 1)),
        Band(0.8, 0.9, None, Share(0, 0)),
        Band(0.9, 1.0, 0.95, Share(1, 2)),
    )


def test_the_band_of_an_overconfident_answerer_lies_below_its_confidence() -> None:
    band = measure_calibration(OVERCONFIDENT.answer(random.Random(67), 400))[-1]

    assert band.stated == pytest.approx(0.95, abs=0.01)
    assert band.right.high < 0.8


def answer_bugs(confidence: float, right: int, wrong: int) -> list[Answer]:
    return [
        *[Answer("bug", confidence, "bug")] * right,
        *[Answer("bug", confidence, "question")] * wrong,
    ]


def test_the_lowest_threshold_that_reaches_the_wanted_precision_is_chosen() -> None:
    answers = [*answer_bugs(0.92, 99, 1), *answer_bugs(0.75, 96, 4), *answer_bugs(0.55, 50, 50)]
    choice = choose_threshold(answers, wanted=0.9)

    assert (choice.threshold, choice.more_issues) == (0.6, 0)
    chosen = choice.thresholds[1]
    assert (chosen.threshold, chosen.right) == (0.6, Share(195, 200))
    assert chosen.lower_bound == pytest.approx(0.9395, abs=0.0001)


def test_without_a_threshold_the_number_of_further_issues_is_estimated() -> None:
    answers = [*answer_bugs(0.92, 38, 2), *answer_bugs(0.55, 20, 20)]
    choice = choose_threshold(answers, wanted=0.9)
    assert (choice.threshold, choice.more_issues) == (None, 197)

    more = answers * 4
    assert choose_threshold(more, wanted=0.9).threshold == 0.6


def test_an_observed_precision_below_the_wanted_one_is_not_reached_by_more_issues() -> None:
    choice = choose_threshold(answer_bugs(0.92, 80, 20), wanted=0.9)

    assert (choice.threshold, choice.more_issues) == (None, None)
    assert choose_threshold([], wanted=0.9).more_issues is None
