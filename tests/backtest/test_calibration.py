from __future__ import annotations

import random

import pytest

from hls_handler.backtest.agreement import Answer
from hls_handler.backtest.calibration import Band, measure_calibration
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
