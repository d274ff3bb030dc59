"""Compares Claude's reply about a golden case with what a good reply contains. Pure.

Without a judge, a finding describes a planted defect if it names the same file and side, is at most
`MAX_DISTANCE` lines away, and has one of the defect's categories; of a finding without a line, file
and category count. A judge decides instead about the findings that `find_candidates` returns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from hls_handler.analysis import IssueAnalysis, PullRequestAnalysis, ReplyFields, WorkflowAnalysis
from hls_handler.handlers.failed_steps import find_quoted_line
from hls_handler.handlers.pull_request_facts import PullRequestFacts
from hls_handler.handlers.workflow_facts import WorkflowFacts
from hls_handler.replies import is_worth_saying
from hls_handler.review.positions import RANK, Located, letters_of, locate
from tests.golden.cases import Case, Defect, IssueCase, Place, PullRequestCase, WorkflowCase

MAX_DISTANCE = 3
MAX_CANDIDATE_DISTANCE = 10  # lines; only for a judge, who reads what the finding says

Match = tuple[int, int]
"""(index of the defect, index of the finding in `Posted.findings`)"""


@dataclass(frozen=True, slots=True)
class Posted:
    """The findings of a review as the service would post them: moved, merged, without refuted
    ones.
    """

    findings: tuple[Located, ...]
    reported: int = 0  # findings of the reply above the thresholds of the settings
    exact: int = 0  # of these, at the very line that they quote
    type: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """The result of one case. For issues and workflows, a check of the reply counts as an expected
    defect.
    """

    found: tuple[str, ...]  # what was expected and found
    missed: tuple[str, ...]
    # findings that describe no planted defect, or texts that must not occur
    invented: tuple[str, ...]
    understated: tuple[str, ...] = ()  # found, with a lower severity than expected
    reported: int = 0
    exact: int = 0
    unanchored: int = 0  # posted without a line
    wrong_type: str = ""  # of a review: the type and the expected ones; "" if it is right
    has_type: bool = False  # whether the case expects a type
    stated: tuple[
        tuple[float, bool], ...
    ] = ()  # Claude's confidence in each expected field of an issue; is it right?


def find_posted(reply: PullRequestAnalysis, facts: PullRequestFacts) -> Posted:
    """Return the findings that the service would post. `facts` are those after the second look at
    the reply.
    """
    found, patches = facts.with_reply(reply).findings, facts.selection.shown_patches
    reported = [
        finding
        for finding in reply.findings
        if RANK[finding.severity] <= RANK[facts.shown.min_severity]
        and finding.confidence >= facts.shown.min_confidence
    ]
    lines = [locate(finding, patches).line for finding in reported]
    exact = sum(
        line is not None and (line.side, line.number) == (finding.side, finding.line)
        for finding, line in zip(reported, lines, strict=True)
    )
    without_file = (Located(finding, None, is_shown=False) for finding in found.unlocated)
    return Posted(
        (*(located for _, located in found.raised), *without_file), len(reported), exact, reply.type
    )


def find_matches(case: PullRequestCase, findings: Sequence[Located]) -> frozenset[Match]:
    """Return the findings that describe a planted defect, without a judge."""
    return frozenset(
        (number, index)
        for number, defect in enumerate(case.defects)
        for index, one in enumerate(findings)
        if _is_near(defect.places, one, MAX_DISTANCE)
        and (not defect.categories or one.finding.category in defect.categories)
    )


def find_candidates(case: PullRequestCase, findings: Sequence[Located]) -> frozenset[Match]:
    """Return the findings that a judge compares with a planted defect."""
    return frozenset(
        (number, index)
        for number, defect in enumerate(case.defects)
        for index, one in enumerate(findings)
        if not defect.places or _is_near(defect.places, one, MAX_CANDIDATE_DISTANCE)
    )


def _is_near(places: Iterable[Place], located: Located, most: int) -> bool:
    """Return whether a finding is at most so many lines from a place; without a line, whether it is
    in its file.
    """
    if located.line is None:
        return any(place.path == located.finding.path for place in places)
    return _distance(places, located) <= most


def _distance(places: Iterable[Place], located: Located) -> float:
    """Return the lines between a finding and the nearest place; infinity without a line, or a place
    in its file.
    """
    finding = located.finding
    first = finding.start_line or finding.line
    return min(
        (
            max(first - place.line, (place.start_line or place.line) - finding.line, 0)
            for place in places
            if located.line is not None and (place.path, place.side) == (finding.path, finding.side)
        ),
        default=float("inf"),
    )


def score_review(case: PullRequestCase, posted: Posted, matches: Collection[Match]) -> Score:
    """Score the findings of a review. One finding counts as one defect; a second one about it is
    not invented.
    """
    findings = posted.findings
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
            _describe(finding, case)
            for index, finding in enumerate(findings)
            if index not in described | tolerated
        ),
        understated=tuple(
            case.defects[number].about
            for number, index in found.items()
            if number in expected
            and RANK[findings[index].finding.severity] > RANK[case.defects[number].severity]
        ),
        reported=posted.reported,
        exact=posted.exact,
        unanchored=sum(one.line is None for one in findings),
        wrong_type=_describe_wrong_type(case, posted.type),
        has_type=bool(case.types),
    )


def _describe_wrong_type(case: PullRequestCase, given: str) -> str:
    if not case.types or given in case.types:
        return ""
    return f"{given} in place of {' or '.join(case.types)}"


def _pair(
    defects: Sequence[Defect], findings: Sequence[Located], matches: Collection[Match]
) -> dict[int, int]:
    """Return {defect: finding}, the nearest first, so that no finding counts twice."""
    pairs: dict[int, int] = {}
    nearest_first = sorted(
        matches, key=lambda match: (_distance(defects[match[0]].places, findings[match[1]]), match)
    )
    for number, index in nearest_first:
        if number not in pairs and index not in pairs.values():
            pairs[number] = index
    return pairs


def _describe(located: Located, case: PullRequestCase) -> str:
    trap = next(
        (trap for trap in case.traps if _distance([trap.place], located) <= MAX_DISTANCE), None
    )
    place = (
        located.finding.path
        if located.line is None
        else f"{located.finding.path}:{located.finding.line}"
    )
    return f"{place} {located.finding.title}{'' if trap is None else f' (trap: {trap.about})'}"


def score_issue(case: IssueCase, reply: IssueAnalysis) -> Score:
    checks: dict[str, bool] = {}
    stated: list[tuple[float, bool]] = []
    for name, value, allowed in (
        ("kind", reply.kind, case.kinds),
        ("priority", reply.priority, case.priorities),
        ("component", reply.component, case.components),
    ):
        if allowed:
            checks[f"{name} is {' or '.join(allowed)}"] = value in allowed
            if reply.field_confidence is not None:
                stated.append((getattr(reply.field_confidence, name), value in allowed))
    checks |= _worth_saying_check(case.worth_saying, reply)
    checks |= {
        f"missing: {' or '.join(words)}": _has_any(reply.missing, words) for words in case.missing
    }
    checks[f"at most {case.missing_at_most} requests"] = len(reply.missing) <= case.missing_at_most
    checks |= {
        f"answer: {' or '.join(words)}": _has_any([reply.recommended_response], words)
        for words in case.answer
    }
    quotes = [source.quote for source in reply.sources]
    checks |= {f"quotes: {' or '.join(words)}": _has_any(quotes, words) for words in case.quotes}
    texts = [reply.summary, *reply.missing, reply.recommended_response]
    return replace(
        _score_checks(checks, _find_forbidden(texts, case.must_not)), stated=tuple(stated)
    )


def score_workflow(case: WorkflowCase, reply: WorkflowAnalysis, facts: WorkflowFacts) -> Score:
    checks = _worth_saying_check(case.worth_saying, reply)
    if case.quotes:
        quoted = find_quoted_line(facts.steps, reply.quote)
        expected = {letters_of(quote) for quote in case.quotes}
        checks["quotes the line with the cause"] = (
            quoted is not None and letters_of(quoted.text) in expected
        )
    checks |= {
        f"cause: {' or '.join(words)}": _has_any([reply.cause, reply.advice], words)
        for words in case.cause
    }
    if case.where:
        named = [place.path for place in reply.where]
        checks[f"where: {' or '.join(case.where)}"] = any(path in case.where for path in named)
    texts = [reply.cause, reply.advice, *(place.why for place in reply.where)]
    return _score_checks(checks, _find_forbidden(texts, case.must_not))


def _worth_saying_check(expected: bool | None, reply: ReplyFields) -> dict[str, bool]:
    return (
        {}
        if expected is None
        else {f"worth_saying is {str(expected).lower()}": is_worth_saying(reply) == expected}
    )


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


def score_look(case: PullRequestCase, facts: PullRequestFacts) -> Score:
    """Score the second look: a true finding is to be kept, a false one dropped. `understated` has
    unproved ones.
    """
    assert case.reported is not None
    raised = [entry for entry, _ in facts.findings.raised]
    about = (f"{case.reported.path}:{case.reported.line} {case.reported.title}",)
    unproved = about if any(entry.unseen for entry in raised) else ()
    if case.is_true:
        return Score(about if raised else (), () if raised else about, (), understated=unproved)
    return Score(() if raised else about, (), about if raised else (), understated=unproved)


def expected_of(case: Case) -> tuple[str, ...]:
    """Return what counts as missed if Claude gives no usable reply: the planted defects; for others
    one entry.
    """
    if isinstance(case, PullRequestCase) and case.reported is None:
        return tuple(defect.about for defect in case.defects if defect.expected)
    return ("a usable reply",)
