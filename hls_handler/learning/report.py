"""Drafted rules as lines for people, and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

from hls_handler.learning.run import Plan, describe_issue_labels
from hls_handler.reports.estimate import format_cost
from hls_handler.review.guidance import HLS_PATH
from hls_handler.review.rules import (
    Case,
    ComparedRule,
    ComparedRules,
    RaisedFinding,
    describe_hidden,
    format_guidance,
)
from hls_handler.wording import count

READ_FIRST = (
    "Read the rules before you paste them: they are drafted from what others wrote, and reviews"
    f" follow them; HLS does not write {HLS_PATH}"
)
NO_RULE = "no rule is offered"


def describe_case(case: Case) -> str:
    """Return a case in one line, without its number."""
    about = [case.about, " ".join(case.text.split())]
    text = ": ".join(filter(None, about))
    return ", ".join(filter(None, [case.kind, case.where, case.path])) + f": {text}"


def describe_plan(plan: Plan) -> Iterator[str]:
    """Yield sentences about what is shown to Claude, and the cost."""
    history = plan.history
    shown = count(len(history.cases), "case")
    compared = count(len(history.findings), "stored finding")
    yield f"{shown} of {history.repository}; rules are compared with {compared}"
    left_out = describe_issue_labels(history.issue_labels)
    if left_out:
        yield left_out
    questions = count(plan.cost.questions, "question")
    yield f"cost: {questions} to {', '.join(plan.cost.models)}, {format_cost(plan.cost)}"


def describe_rule(one: ComparedRule, checked: int) -> str:
    """Return "for api/**, from cases 1 and 4: would have hidden 3 of 64 stored findings: ..."."""
    globs = ", ".join(one.rule.globs) or "all files"
    numbers = ", ".join(map(str, one.rule.cases))
    noun = "case" if len(one.rule.cases) == 1 else "cases"
    return f"for {globs}, from {noun} {numbers}; {describe_hidden(one, checked)}"


def to_document(plan: Plan, compared: ComparedRules | None) -> dict[str, object]:
    """Return the document of --json; without rules, Claude was not asked."""
    rules = left_out = text = checked = None
    if compared is not None:
        checked = compared.checked
        rules = [_rule_to_dict(one) for one in compared.rules]
        left_out = [asdict(one) for one in compared.left_out]
        text = format_guidance(compared.rules)
    return {
        "repository": plan.history.repository,
        "cases": [asdict(case) for case in plan.history.cases],
        "issue_labels": plan.history.issue_labels,
        "estimate_usd": plan.cost.max_usd,
        "rules": rules,
        "left_out": left_out,
        "checked": checked,
        "text": text,
    }


def _rule_to_dict(one: ComparedRule) -> dict[str, object]:
    return {
        "globs": one.rule.globs,
        "text": one.rule.text,
        "cases": one.rule.cases,
        "hidden": [_finding_to_dict(finding) for finding in one.hidden],
    }


def _finding_to_dict(finding: RaisedFinding) -> dict[str, object]:
    entry = finding.entry
    return {
        "pull_request": finding.pull_request,
        "finding": entry.number,
        "title": entry.title,
        "state": entry.state,
        "is_true": finding.is_true,
    }
