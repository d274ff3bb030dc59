"""The result of a backtest, as one document for the terminal, the console and `--json`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hls_handler.actions import field_of
from hls_handler.analysis import Usage, find_label, possible_values
from hls_handler.backtest.agreement import Agreement, Answer, measure_agreement
from hls_handler.backtest.calibration import Band, measure_calibration
from hls_handler.backtest.compare import Group, compare_issue, list_answers
from hls_handler.backtest.decision import ComparedIssue, Decision, decide
from hls_handler.backtest.first_text import PastIssue
from hls_handler.backtest.intervals import Share
from hls_handler.backtest.plan import Plan, Side
from hls_handler.backtest.run import decode_replies
from hls_handler.reports.backtests import (
    BacktestDocument,
    BandDocument,
    ChoiceDocument,
    DecisionDocument,
    FieldDocument,
    ShareDocument,
    SideDocument,
)
from hls_handler.settings.yaml_parser import format_yaml
from hls_handler.store.backtests import NOT_ASKED, AskedSide
from hls_handler.wording import add_usd

FEWEST_ISSUES = 30
"""Labelled issues below which the shares say little."""


@dataclass(frozen=True, slots=True)
class AnsweredIssue:
    issue: PastIssue
    asked: tuple[AskedSide, ...]  # by side


@dataclass(frozen=True, slots=True)
class Judged:
    """A side with what is compared of it."""

    side: Side
    groups: tuple[Group, ...]
    answers: Mapping[int, Mapping[str, Answer]]  # by number of the issue and group
    failed: Mapping[int, Mapping[str, Answer]]  # of issues without a usable reply: no label


def judge(
    side: Side, number: int, groups: tuple[Group, ...], issues: Iterable[AnsweredIssue]
) -> Judged:
    answers: dict[int, Mapping[str, Answer]] = {}
    failed: dict[int, Mapping[str, Answer]] = {}
    for one in issues:
        asked = one.asked[number]
        issue = one.issue.first.number
        if asked.problem is None:
            continue
        if asked.problem:
            failed[issue] = list_answers(groups, one.issue, ())
            continue
        replies = decode_replies(asked, side.library)
        fields = [reply.fields for reply in replies.values()]
        answers[issue] = list_answers(groups, one.issue, fields)
    return Judged(side, groups, answers, failed)


def make_document(
    plan: Plan,
    issues: Sequence[AnsweredIssue],
    judged: Sequence[Judged],
    thresholds: Mapping[str, float],
    *,
    ended_at: str,
    stopped: str | None,
) -> BacktestDocument:
    """Return the result. `thresholds` are those of the settings, by field."""
    decision = None
    if len(judged) > 1:
        compared = list(_compare(issues, judged[0], judged[1], thresholds))
        decision = _decision_to_dict(decide(compared, plan.planned))
    sides = [_side_to_dict(one, n, issues, thresholds) for n, one in enumerate(judged)]
    return {
        "repository": plan.repository,
        "ended_at": ended_at,
        "read": plan.read,
        "skipped": {str(reason): number for reason, number in plan.skipped.items()},
        "planned": plan.planned,
        "labelled": len(issues),
        "cost_usd": add_usd(side["cost_usd"] for side in sides),
        "sides": sides,
        "decision": decision,
        "stopped": stopped,
    }


def _compare(
    issues: Iterable[AnsweredIssue],
    current: Judged,
    candidate: Judged,
    thresholds: Mapping[str, float],
) -> Iterable[ComparedIssue]:
    """Yield the comparisons in the order of the issues, which does not depend on the answers. An
    issue without a usable reply gets no label, as from the service, and counts as asked.
    """
    of_current = {**current.answers, **current.failed}
    of_candidate = {**candidate.answers, **candidate.failed}
    for one in issues:
        number = one.issue.first.number
        if number in of_current and number in of_candidate:
            compared = compare_issue(of_current[number], of_candidate[number], thresholds)
            if compared is not None:
                yield compared


def _decision_to_dict(decision: Decision) -> DecisionDocument:
    test = None
    if decision.ending is not None:
        test = f"{decision.ending.test}, after {decision.ending.issues} issues"
    return {
        "conclusion": decision.conclusion,
        "test": test,
        "planned": decision.planned,
        "compared": decision.current.of,
        "missing": decision.missing,
        "fixed": decision.fixed,
        "broken": decision.broken,
        "current": _share_to_dict(decision.current),
        "candidate": _share_to_dict(decision.candidate),
    }


def _side_to_dict(
    judged: Judged,
    number: int,
    issues: Sequence[AnsweredIssue],
    thresholds: Mapping[str, float],
) -> SideDocument:
    asked = [one.asked[number] for one in issues]
    usages: list[Usage] = [usage for one in asked for usage in one.usages]
    cost = add_usd(usage.cost_usd for usage in usages)
    failed: dict[str, int] = {}
    for one in asked:
        if one.problem:
            failed[one.problem] = failed.get(one.problem, 0) + 1
    with_result = len(judged.answers)
    per_issue = None
    if cost is not None and with_result:
        per_issue = cost / with_result
    return {
        "title": judged.side.title,
        "asked": with_result,
        "failed": failed,
        "calls": sum(one.calls for one in asked),
        "cost_usd": cost,
        "usd_per_issue": per_issue,
        "fields": [_field_to_dict(one, thresholds) for one in _answers_by_field(judged)],
        "front_matter": _format_front_matter(judged),
    }


@dataclass(frozen=True, slots=True)
class _FieldAnswers:
    field: str
    issues: int
    answers: Sequence[Answer]  # of a list: one for each of its labels
    is_list: bool


def _answers_by_field(judged: Judged) -> Iterable[_FieldAnswers]:
    for field in dict.fromkeys(group.field for group in judged.groups):
        is_list = any(group.name != field for group in judged.groups if group.field == field)
        found: list[Answer] = []
        issues = 0
        for answers in judged.answers.values():
            of_field = [answer for name, answer in answers.items() if field_of(name) == field]
            found += of_field
            issues += bool(of_field)
        if found:
            yield _FieldAnswers(field, issues, found, is_list)


def _field_to_dict(found: _FieldAnswers, thresholds: Mapping[str, float]) -> FieldDocument:
    field = found.field
    agreement: Agreement = measure_agreement(found.answers, thresholds.get(field, 0.0))
    document: FieldDocument = {
        "field": field,
        "issues": found.issues,
        "is_enough": found.issues >= FEWEST_ISSUES,
        "labels": [
            {
                "label": one.label,
                "precision": _share_to_dict(one.precision),
                "recall": _share_to_dict(one.recall),
            }
            for one in agreement.labels
        ],
        "confusion": [
            {"left": cell.left, "given": cell.given, "issues": cell.issues}
            for cell in agreement.confusion
        ],
        "choice": None,
    }
    if not found.is_list:  # answers about one issue depend on each other
        document["choice"] = _choice_to_dict(found.answers, agreement)
    return document


def _choice_to_dict(answers: Sequence[Answer], agreement: Agreement) -> ChoiceDocument:
    return {
        "right": _share_to_dict(agreement.accuracy),
        "without_label": _share_to_dict(agreement.abstentions),
        "calibration": [_band_to_dict(band) for band in measure_calibration(answers)],
    }


def _band_to_dict(band: Band) -> BandDocument:
    right = _share_to_dict(band.right)
    return {"low": band.low, "high": band.high, "stated": band.stated, "right": right}


def _share_to_dict(share: Share) -> ShareDocument:
    return {
        "part": share.part,
        "of": share.of,
        "value": share.value,
        "low": share.low,
        "high": share.high,
    }


def _format_front_matter(judged: Judged) -> str:
    """Return the label rules with the repository's own names, as YAML; "" if all have the same."""
    own = {asked: name for group in judged.groups for asked, name in group.labels.items()}
    rules: dict[str, Mapping[str, str]] = {}
    for model in judged.side.models:
        for field, rule in model.label_rules.items():
            values = possible_values(model.model_fields[field].annotation)
            labels = {value: find_label(rule, value) for value in values}
            given = {value: label for value, label in labels.items() if label is not None}
            renamed = {value: own.get(label, label) for value, label in given.items()}
            if renamed != given:
                rules[field] = renamed
    if not rules:
        return ""
    return format_yaml({"labels": rules})


def list_answered(
    issues: Iterable[PastIssue], asked: Mapping[tuple[int, int], AskedSide], sides: int
) -> tuple[AnsweredIssue, ...]:
    return tuple(
        AnsweredIssue(
            issue,
            tuple(asked.get((issue.first.number, side), NOT_ASKED) for side in range(sides)),
        )
        for issue in issues
    )
