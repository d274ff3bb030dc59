"""Compares the labels that Claude gave with those that people left. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hls_handler.backtest.intervals import Share


@dataclass(frozen=True, slots=True)
class Answer:
    """Claude's answer about an issue whose label is known."""

    given: str | None  # None: Claude gave none of the compared labels
    confidence: float  # from 0 to 1; ignored without a label
    left: str | None  # None: people left none of the compared labels

    def label_at(self, threshold: float) -> str | None:
        """The label that is set if `threshold` is the lowest confidence at which one is set."""
        if self.confidence < threshold:
            return None
        return self.given


@dataclass(frozen=True, slots=True)
class Confusion:
    """A cell of the confusion table."""

    left: str | None
    given: str | None
    issues: int  # at least 1

    @property
    def is_right(self) -> bool:
        return self.given == self.left


@dataclass(frozen=True, slots=True)
class LabelAgreement:
    label: str
    precision: Share  # of the issues to which Claude gave it, those on which people left it
    recall: Share  # of the issues on which people left it, those to which Claude gave it


@dataclass(frozen=True, slots=True)
class Agreement:
    threshold: float
    accuracy: Share  # the issues with the label that people left, or without one if they left none
    abstentions: Share  # the issues without a label, or with a confidence below the threshold
    labels: tuple[LabelAgreement, ...]  # by name
    confusion: tuple[Confusion, ...]  # by the left and the given label; no label is last


def measure_agreement(answers: Iterable[Answer], threshold: float = 0.0) -> Agreement:
    """Count the labels at a threshold of confidence. Leave out issues whose label is unknown, such
    as those that a bot labelled.
    """
    pairs = Counter((answer.left, answer.label_at(threshold)) for answer in answers)
    cells = [Confusion(left, given, issues) for (left, given), issues in pairs.items()]
    issues = pairs.total()
    right = _count_issues(cell for cell in cells if cell.is_right)
    without_label = _count_issues(cell for cell in cells if cell.given is None)
    labels = {cell.left for cell in cells} | {cell.given for cell in cells}
    names = sorted(label for label in labels if label is not None)
    return Agreement(
        threshold=threshold,
        accuracy=Share(right, issues),
        abstentions=Share(without_label, issues),
        labels=tuple(_measure_label(cells, name) for name in names),
        confusion=tuple(sorted(cells, key=_table_order)),
    )


def _count_issues(cells: Iterable[Confusion]) -> int:
    return sum(cell.issues for cell in cells)


def _measure_label(cells: Sequence[Confusion], label: str) -> LabelAgreement:
    given = [cell for cell in cells if cell.given == label]
    left = [cell for cell in cells if cell.left == label]
    right = _count_issues(cell for cell in given if cell.is_right)
    return LabelAgreement(
        label=label,
        precision=Share(right, _count_issues(given)),
        recall=Share(right, _count_issues(left)),
    )


def _table_order(cell: Confusion) -> list[tuple[bool, str]]:
    return [(label is None, label or "") for label in (cell.left, cell.given)]
