"""Compares what the service makes of a golden case with what is right. Pure.

Without a judge, a finding describes a planted defect if it is in the same file on the same side, at
most `MAX_DISTANCE` lines away, and has one of the defect's categories; of a finding without a line,
file and category count. A judge decides instead about the findings that `find_candidates` returns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from hls_handler.analysis import (
    IssueAnalysis,
    PullRequestAnalysis,
    Reply,
    ReplyFields,
    WorkflowAnalysis,
    is_worth_saying,
)
from hls_handler.review.positions import RANK, letters_of
from hls_handler.review.record import LedgerEntry
from tests.golden.asking import Judgement, Outcome
from tests.golden.cases import (
    Case,
    CaseError,
    IssueCase,
    Place,
    PullRequestCase,
    WorkflowCase,
)

MAX_DISTANCE = 3
MAX_CANDIDATE_DISTANCE = 10  # lines; only for a judge, who reads what the finding says

Match = tuple[int, int]
"""(index of the defect, index of the finding)"""


@dataclass(frozen=True, slots=True)
class Score:
    """The result of one case. For issues and workflows, a check of the reply counts as an expected
    defect.
    """

    found: tuple[str, ...]  # what was expected and found
    missed: tuple[str, ...]
    # findings that describe no planted defect, or texts that must not occur
    invented: tuple[str, ...] = ()
    understated: tuple[str, ...] = ()  # found with too low a severity; by a second look, not proved
    wrong_type: str = ""  # of a review: "docs in place of feature"


def find_candidates(
    case: Case, outcome: Outcome, most: int = MAX_CANDIDATE_DISTANCE
) -> frozenset[Match]:
    """Return the findings that are at most so many lines from a planted defect; without a line, in
    its file.
    """
    return frozenset(
        (number, index)
        for number, defect in enumerate(getattr(case, "defects", ()))
        for index, finding in enumerate(outcome.findings)
        if any(_distance(place, finding, outcome) <= most for place in defect.places)
    )


def find_matches(case: PullRequestCase, outcome: Outcome) -> frozenset[Match]:
    """Return the findings that describe a planted defect, as the judge decided if there is one."""
    for answer in outcome.answers:
        if isinstance(answer, Reply) and isinstance(answer.fields, Judgement):
            pairs = {(pair.defect, pair.finding) for pair in answer.fields.matches}
            return find_candidates(case, outcome) & pairs
    return frozenset(
        (number, index)
        for number, index in find_candidates(case, outcome, MAX_DISTANCE)
        if outcome.findings[index].category in case.defects[number].categories
    )


def _distance(place: Place, finding: LedgerEntry, outcome: Outcome) -> float:
    """Return the lines between a finding and a place, infinity in another file. A finding without
    a line is as near as one may be.
    """
    if finding.path != place.path:
        return float("inf")
    if finding.line is None:
        return MAX_DISTANCE
    if finding.side != place.side:
        return float("inf")
    first = outcome.ranges.get(finding.comment_id or 0, finding.line)
    return max(first - place.line, place.line - finding.line, 0)


def score(case: Case, outcome: Outcome) -> Score:
    """Score a case. Without a usable reply everything is missed.

    Raises `CaseError` for a prompt whose reply type cannot be scored.
    """
    reply = outcome.reply
    match case, reply:
        case _, None:
            return Score((), expected_of(case))
        case PullRequestCase(reported=None), PullRequestAnalysis():
            return _score_review(case, outcome, find_matches(case, outcome))
        case PullRequestCase(), _:
            return _score_look(case, outcome)
        case IssueCase(), IssueAnalysis():
            return _score_issue(case, reply)
        case WorkflowCase(), WorkflowAnalysis():
            return _score_workflow(case, reply)
        case _:
            name = outcome.prompts[0].prompt.name
            raise CaseError([f"the replies of {name} ({type(reply).__name__}) cannot be scored"])


def expected_of(case: Case) -> tuple[str, ...]:
    """Return what counts as missed if Claude gives no usable reply: the planted defects; for others
    one entry.
    """
    if isinstance(case, PullRequestCase) and case.reported is None:
        return tuple(defect.about for defect in case.defects)
    return ("a usable reply",)


def _score_review(case: PullRequestCase, outcome: Outcome, matches: Collection[Match]) -> Score:
    """Score the findings of a review. One finding counts as one defect; a second one about it is
    not invented.
    """
    findings = outcome.findings
    pairs = _pair(case, outcome, matches)
    described = {index for _, index in matches}
    tolerated = {
        index
        for index, finding in enumerate(findings)
        if _is_at([remark.place for remark in case.tolerated], finding, outcome)
    }
    found = {number: case.defects[number] for number in sorted(pairs)}
    wrong_type = ""
    if case.types and outcome.review.kind not in case.types:
        wrong_type = f"{outcome.review.kind} in place of {' or '.join(case.types)}"
    return Score(
        found=tuple(defect.about for defect in found.values()),
        missed=tuple(
            defect.about for number, defect in enumerate(case.defects) if number not in found
        ),
        invented=tuple(
            _describe(finding, case, outcome)
            for index, finding in enumerate(findings)
            if index not in described | tolerated
        ),
        understated=tuple(
            defect.about
            for number, defect in found.items()
            if RANK[findings[pairs[number]].severity] > RANK[defect.severity]
        ),
        wrong_type=wrong_type,
    )


def _pair(case: PullRequestCase, outcome: Outcome, matches: Collection[Match]) -> Mapping[int, int]:
    """Return {defect: finding}, the nearest first, so that no finding counts twice."""

    def distance(match: Match) -> float:
        finding = outcome.findings[match[1]]
        return min(_distance(place, finding, outcome) for place in case.defects[match[0]].places)

    pairs: dict[int, int] = {}
    for number, index in sorted(matches, key=lambda match: (distance(match), match)):
        if number not in pairs and index not in pairs.values():
            pairs[number] = index
    return pairs


def _is_at(places: Iterable[Place], finding: LedgerEntry, outcome: Outcome) -> bool:
    near = (_distance(place, finding, outcome) <= MAX_DISTANCE for place in places)
    return finding.line is not None and any(near)


def _describe(finding: LedgerEntry, case: PullRequestCase, outcome: Outcome) -> str:
    traps = [trap for trap in case.traps if _is_at([trap.place], finding, outcome)]
    place = finding.path if finding.line is None else f"{finding.path}:{finding.line}"
    trap = f" (trap: {traps[0].about})" if traps else ""
    return f"{place} {finding.title}{trap}"


def _score_look(case: PullRequestCase, outcome: Outcome) -> Score:
    """Score the second look: a true finding is to be kept, a false one dropped."""
    assert case.reported is not None
    about = (f"{case.reported.path}:{case.reported.line} {case.reported.title}",)
    unproved = about if any(finding.unseen for finding in outcome.findings) else ()
    is_kept = bool(outcome.findings)
    if is_kept == case.is_true:
        return Score(about, (), understated=unproved)
    if case.is_true:
        return Score((), about)
    return Score((), (), about, unproved)


def _score_issue(case: IssueCase, reply: IssueAnalysis) -> Score:
    checks: dict[str, bool] = {}
    for name, value, allowed in (
        ("kind", reply.kind, case.kinds),
        ("priority", reply.priority, case.priorities),
        ("component", reply.component, case.components),
    ):
        if allowed:
            checks[f"{name} is {' or '.join(allowed)}"] = value in allowed
    checks |= _check_words("missing", case.missing, reply.missing)
    checks[f"at most {case.missing_at_most} requests"] = len(reply.missing) <= case.missing_at_most
    checks |= _check_words("answer", case.answer, [reply.recommended_response])
    checks |= _check_words("quotes", case.quotes, [source.quote for source in reply.sources])
    texts = [reply.summary, *reply.missing, reply.recommended_response]
    return _score_checks(case, reply, checks, texts)


def _score_workflow(case: WorkflowCase, reply: WorkflowAnalysis) -> Score:
    checks: dict[str, bool] = {}
    if case.quotes:
        quotes = {letters_of(quote) for quote in case.quotes}
        checks["quotes the line with the cause"] = letters_of(reply.quote) in quotes
    checks |= _check_words("cause", case.cause, [reply.cause, reply.advice])
    if case.where:
        named = [place.path for place in reply.where]
        checks[f"where: {' or '.join(case.where)}"] = any(path in case.where for path in named)
    texts = [reply.cause, reply.advice, *(place.why for place in reply.where)]
    return _score_checks(case, reply, checks, texts)


def _check_words(
    name: str, alternatives: Iterable[Sequence[str]], texts: Sequence[str]
) -> Mapping[str, bool]:
    return {f"{name}: {' or '.join(words)}": _has_any(texts, words) for words in alternatives}


def _score_checks(
    case: IssueCase | WorkflowCase,
    reply: ReplyFields,
    checks: dict[str, bool],
    texts: Sequence[str],
) -> Score:
    expected = case.worth_saying
    if expected is not None:
        checks[f"worth_saying is {str(expected).lower()}"] = is_worth_saying(reply) == expected
    return Score(
        found=tuple(name for name, is_passed in checks.items() if is_passed),
        missed=tuple(name for name, is_passed in checks.items() if not is_passed),
        invented=tuple(f"says {word!r}" for word in case.must_not if _has_any(texts, [word])),
    )


def _has_any(texts: Iterable[str], words: Iterable[str]) -> bool:
    normalized = [_normalize(word) for word in words]
    return any(word in _normalize(text) for text in texts for word in normalized)


def _normalize(text: str) -> str:
    return " ".join(text.casefold().split())
