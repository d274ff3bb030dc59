from __future__ import annotations

from hls_handler.backtest.agreement import (
    Agreement,
    Answer,
    Confusion,
    LabelAgreement,
    measure_agreement,
)
from hls_handler.backtest.intervals import Share

ANSWERS = [
    Answer("bug", 0.9, "bug"),
    Answer("bug", 0.8, "bug"),
    Answer("bug", 0.6, "question"),
    Answer("question", 0.7, "question"),
    Answer("bug", 0.4, None),
    Answer(None, 0.0, "bug"),
    Answer(None, 0.0, None),
]


def test_agreement_counts_each_label_and_each_pair_of_labels() -> None:
    assert measure_agreement(ANSWERS) == Agreement(
        threshold=0.0,
        accuracy=Share(4, 7),
        abstentions=Share(2, 7),
        labels=(
            LabelAgreement("bug", precision=Share(2, 4), recall=Share(2, 3)),
            LabelAgreement("question", precision=Share(1, 1), recall=Share(1, 2)),
        ),
        confusion=(
            Confusion("bug", "bug", 2),
            Confusion("bug", None, 1),
            Confusion("question", "bug", 1),
            Confusion("question", "question", 1),
            Confusion(None, "bug", 1),
            Confusion(None, None, 1),
        ),
    )


def test_a_confidence_below_the_threshold_is_an_abstention() -> None:
    agreement = measure_agreement(ANSWERS, threshold=0.8)

    assert agreement.abstentions == Share(5, 7)
    assert agreement.labels == (
        LabelAgreement("bug", precision=Share(2, 2), recall=Share(2, 3)),
        LabelAgreement("question", precision=Share(0, 0), recall=Share(0, 2)),
    )


def test_no_issues_have_no_labels() -> None:
    assert measure_agreement([]) == Agreement(0.0, Share(0, 0), Share(0, 0), (), ())
