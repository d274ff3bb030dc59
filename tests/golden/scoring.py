"""Compares Claude's reply about a golden case with what a good reply contains. Pure.

Without a judge, a finding describes a planted defect if it names the same file and side, is at most `MAX_DISTANCE`
lines away, and has one of the defect's categories. A judge decides instead about the findings that `find_candidates`
returns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hls_handler.analysis import Finding, IssueAnalysis, PullRequestAnalysis, Reply, WorkflowAnalysis, is_worth_saying
from hls_handler.handlers.failed_steps import find_quoted_line
from hls_handler.handlers.pull_request_facts import PullRequestFacts
from hls_handler.handlers.pull_requests import PullRequestHandler
from hls_handler.handlers.workflows import WorkflowFacts
from hls_handler.review.patches import Patch, parse_numbered
from hls_handler.review.positions import RANK, letters_of, merge_located
from hls_handler.review.positions import locate as find_place
from hls_handler.settings.model import Findings
from tests.golden.cases import Defect, IssueCase, Place, PullRequestCase, WorkflowCase

MAX_DISTANCE = 3
MAX_CANDIDATE_DISTANCE = 10  # lines; only for a judge, who reads what the finding says

Match = tuple[int, int]
"""(index of the defect, index of the finding in `Located.findings`)"""


@dataclass(frozen=True, slots=True)
class Located:
    """The findings of a reply above the thresholds of the settings, at the lines that they quote."""

    findings: tuple[Finding, ...]  # as the service would post them: moved and merged
    reported: int  # before merging, those without a line included
    exact: int  # reported at the very line that they quote
    unanchored: int  # their quote is nowhere, or at several lines


@dataclass(frozen=True, slots=True)
class Score:
    """The result of one case. For issues and workflows, a check of the reply counts as an expected defect."""

    found: tuple[str, ...]  # what was expected and found
    missed: tuple[str, ...]
    invented: tuple[str, ...]  # findings that describe no planted defect, or texts that must not occur
    understated: tuple[str, ...] = ()  # found, with a lower severity than expected
    reported: int = 0
    exact: int = 0
    unanchored: int = 0


def locate(reply: PullRequestAnalysis, facts: PullRequestFacts, thresholds: Findings) -> Located:
    """Return the findings that the service would post. Those that `facts` has as refuted are left out."""
    patches = {file.path: parse_numbered(file.numbered) for file in facts.files}
    reported = [
        finding
        for finding in reply.findings
        if RANK[finding.severity] <= RANK[thresholds.min_severity] and finding.confidence >= thresholds.min_confidence
    ]
    located = [find_place(finding, patches) for finding in reported]
    shown = PullRequestHandler().comment_variables(facts, reply)["findings"]
    assert isinstance(shown, tuple)
    posted = {(finding.path, finding.side, finding.line, finding.category) for finding in shown}
    merged = (one.finding for one in merge_located(located) if one.line is not None)
    findings = tuple(one for one in merged if (one.path, one.side, one.line, one.category) in posted)
    exact = sum(_is_exact(finding, patches) for finding in reported)
    return Located(findings, len(reported), exact, sum(one.line is None for one in located))


def _is_exact(finding: Finding, patches: Mapping[str, Patch]) -> bool:
    line = find_place(finding, patches).line
    return line is not None and (line.side, line.number) == (finding.side, finding.line)


def find_matches(case: PullRequestCase, findings: Sequence[Finding]) -> frozenset[Match]:
    """Return the findings that describe a planted defect, without a judge."""
    return frozenset(
        (number, index)
        for number, defect in enumerate(case.defects)
        for index, finding in enumerate(findings)
        if _distance(defect.places, finding) <= MAX_DISTANCE
        and (not defect.categories or finding.category in defect.categories)
    )


def find_candidates(case: PullRequestCase, findings: Sequence[Finding]) -> frozenset[Match]:
    """Return the findings that a judge compares with a planted defect."""
    return frozenset(
        (number, index)
        for number, defect in enumerate(case.defects)
        for index, finding in enumerate(findings)
        if not defect.places or _distance(defect.places, finding) <= MAX_CANDIDATE_DISTANCE
    )


def _distance(places: Iterable[Place], finding: Finding) -> float:
    """Return the number of lines between a finding and the nearest place; infinity without one in this file."""
    first = finding.start_line or finding.line
    return min(
        (
            max(first - place.line, (place.start_line or place.line) - finding.line, 0)
            for place in places
            if (place.path, place.side) == (finding.path, finding.side)
        ),
        default=float("inf"),
    )


def score_review(case: PullRequestCase, located: Located, matches: Collection[Match]) -> Score:
    """Score the findings of a review. One finding counts as one defect; a second one about it is not invented."""
    findings = located.findings
    found = _pair(case.defects, findings, matches)
    expected = {number: defect for number, defect in enumerate(case.defects) if defect.expected}
    described = {index for _, index in matches}
    tolerated = {
        index
        for index, finding in enumerate(findings)
        if any(_distance([remark.place], finding) <= MAX_DISTANCE for remark in case.tolerated)
    }
    return Score(
        found=tuple(defect.about for number, defect in expected.items() if number in found),
        missed=tuple(defect.about for number, defect in expected.items() if number not in found),
        invented=tuple(
            _describe(finding, case) for index, finding in enumerate(findings) if index not in described | tolerated
        ),
        understated=tuple(
            case.defects[number].about
            for number, index in found.items()
            if number in expected and RANK[findings[index].severity] > RANK[case.defects[number].severity]
        ),
        reported=located.reported,
        exact=located.exact,
        unanchored=located.unanchored,
    )


def _pair(defects: Sequence[Defect], findings: Sequence[Finding], matches: Collection[Match]) -> dict[int, int]:
    """Return {defect: finding}, the nearest first, so that no finding counts twice."""
    pairs: dict[int, int] = {}
    nearest_first = sorted(matches, key=lambda match: (_distance(defects[match[0]].places, findings[match[1]]), match))
    for number, index in nearest_first:
        if number not in pairs and index not in pairs.values():
            pairs[number] = index
    return pairs


def _describe(finding: Finding, case: PullRequestCase) -> str:
    trap = next((trap for trap in case.traps if _distance([trap.place], finding) <= MAX_DISTANCE), None)
    return f"{finding.path}:{finding.line} {finding.title}{'' if trap is None else f' (trap: {trap.about})'}"


def score_issue(case: IssueCase, reply: IssueAnalysis) -> Score:
    checks: dict[str, bool] = {}
    for name, value, allowed in (
        ("kind", reply.kind, case.kinds),
        ("priority", reply.priority, case.priorities),
        ("component", reply.component, case.components),
    ):
        if allowed:
            checks[f"{name} is {' or '.join(allowed)}"] = value in allowed
    checks |= _worth_saying_check(case.worth_saying, reply)
    checks |= {f"missing: {' or '.join(words)}": _has_any(reply.missing, words) for words in case.missing}
    checks[f"at most {case.missing_at_most} requests"] = len(reply.missing) <= case.missing_at_most
    checks |= {f"answer: {' or '.join(words)}": _has_any([reply.recommended_response], words) for words in case.answer}
    texts = [reply.summary, *reply.missing, reply.recommended_response]
    return _score_checks(checks, _find_forbidden(texts, case.must_not))


def score_workflow(case: WorkflowCase, reply: WorkflowAnalysis, facts: WorkflowFacts) -> Score:
    checks = _worth_saying_check(case.worth_saying, reply)
    if case.quotes:
        quoted = find_quoted_line(facts.steps, reply.quote)
        expected = {letters_of(quote) for quote in case.quotes}
        checks["quotes the line with the cause"] = quoted is not None and letters_of(quoted.text) in expected
    checks |= {f"cause: {' or '.join(words)}": _has_any([reply.cause, reply.advice], words) for words in case.cause}
    if case.where:
        named = [place.path for place in reply.where]
        checks[f"where: {' or '.join(case.where)}"] = any(path in case.where for path in named)
    texts = [reply.cause, reply.advice, *(place.why for place in reply.where)]
    return _score_checks(checks, _find_forbidden(texts, case.must_not))


def _worth_saying_check(expected: bool | None, reply: Reply) -> dict[str, bool]:
    return {} if expected is None else {f"worth_saying is {str(expected).lower()}": is_worth_saying(reply) == expected}


def _score_checks(checks: Mapping[str, bool], forbidden: Iterable[str]) -> Score:
    return Score(
        found=tuple(name for name, passed in checks.items() if passed),
        missed=tuple(name for name, passed in checks.items() if not passed),
        invented=tuple(forbidden),
    )


def _find_forbidden(texts: Iterable[str], words: Iterable[str]) -> Iterator[str]:
    shown = list(texts)
    return (f"says {word!r}" for word in words if _has_any(shown, [word]))


def _has_any(texts: Iterable[str], words: Iterable[str]) -> bool:
    wanted = [_normalize(word) for word in words]
    return any(word in _normalize(text) for text in texts for word in wanted)


def _normalize(text: str) -> str:
    return " ".join(text.casefold().split())


def expected_of(case: PullRequestCase | IssueCase | WorkflowCase) -> tuple[str, ...]:
    """Return what counts as missed if Claude gives no usable reply: the planted defects; for others one entry."""
    if isinstance(case, PullRequestCase):
        return tuple(defect.about for defect in case.defects if defect.expected)
    return ("a usable reply",)
