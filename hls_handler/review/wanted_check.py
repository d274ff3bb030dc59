"""The check on the head commit of a pull request: what was reviewed, decided from the coverage and
the open findings.

`success` is proof: every file that needs a review was reviewed as a whole.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from hls_handler.actions import TITLE_CHECK, Annotation, Conclusion, EnsureCheck
from hls_handler.analysis import AT_LIMIT, NO_CALLS, Receipt, ReplyFields, Severity
from hls_handler.review.coverage import Coverage, FileCoverage, count_reasons
from hls_handler.review.ledger import fails_check, is_failing, leaves_open, sort_entries
from hls_handler.review.record import LedgerEntry
from hls_handler.settings.sections import ReviewSettings
from hls_handler.untrusted.cleaning import CodeText, clean, clean_title, truncate
from hls_handler.untrusted.markdown import format_code_span, sanitize_inline
from hls_handler.untrusted.redaction import redact, redact_code
from hls_handler.wording import count, inflect, was_or_were

MAX_TITLE_CHARS = 200
MAX_SUGGESTED_CHARS = 72
TITLE = re.compile(
    r'(?:(?:Revert|Reapply) ")*'  # by GitHub's button and git, before the title that is reverted
    r"(?P<type>[^\s():!]+)(?:\([^()]+\))?!?: +\S.*"
)
"""Matches a conventional title: `type(scope)!: description`. https://www.conventionalcommits.org"""

LEVELS: dict[Severity, Literal["notice", "warning", "failure"]] = {
    "critical": "failure",
    "high": "failure",
    "medium": "warning",
    "low": "notice",
}


@dataclass(frozen=True)
class EndedReview:
    """The contents of the check on a reviewed commit."""

    commit: str
    coverage: Coverage
    findings: Sequence[LedgerEntry]
    receipt: Receipt
    notes: Sequence[str] = ()  # sentences for the summary
    commented: Collection[str] = ()  # keys of the findings that a review comment shows
    urls: Mapping[str, str] = field(default_factory=dict)  # of the findings, by key
    is_at_limit: bool = False  # whether the limit on the cost of the pull request ended it

    @cached_property
    def opened(self) -> Sequence[LedgerEntry]:
        """The findings that count, most severe first."""
        return sort_entries(finding for finding in self.findings if finding.counts)

    def has_thread(self, finding: LedgerEntry) -> bool:
        """Return whether a comment on the lines shows the finding."""
        return bool(finding.comment_id) or finding.key in self.commented


def plan_check(review: EndedReview, settings: ReviewSettings) -> EnsureCheck:
    fail_on = settings.fail_on
    hangs = any(leaves_open(finding, fail_on) for finding in review.opened)
    conclusion: Conclusion = settings.incomplete
    if any(fails_check(finding, fail_on) for finding in review.opened):
        conclusion = "failure"
    elif review.coverage.is_complete and not hangs:
        conclusion = "success"
    dismissed = ""
    if conclusion == "success":
        dismissed = _describe_dismissed(review.findings, fail_on)
    title = _title(review, dismissed)
    return EnsureCheck(
        commit=review.commit,
        conclusion=conclusion,
        title=title,
        summary="\n".join(_summary(review, conclusion, settings)),
        description=_describe(review, title),
        annotations=tuple(_annotations(review)),
    )


def plan_unreviewed_check(
    commit: str,
    conclusion: Conclusion,
    title: str,
    reason: str,
    receipt: Receipt = NO_CALLS,
    *,
    details: str = "",
) -> EnsureCheck:
    """Return the check of a commit without a result of its review. `reason` is a sentence for
    people on GitHub.

    Only the summary has `details`, such as what a person can do.
    """
    detailed = reason
    if details:
        detailed = f"{reason}; {details}"
    summary = f"{title}: {sanitize_inline(detailed)}"
    description = title
    cost = _cost(receipt)
    if receipt.calls and cost:
        summary = f"{summary}\n\nCost: {cost}."
        description = f"{title} ({cost})"
    line = _plain_line(f"{title}: {reason}")
    described = _plain_line(f"{description}: {reason}")
    return EnsureCheck(commit, conclusion, line, summary, described)


ADVICE: Mapping[str, str] = {
    "draft": "mark it ready for review, or comment `/review` with write permission",
    "other bot": "comment `/review` with write permission to have it reviewed",
    "stopped": "`/resume` with write permission ends the stop",
    "too many runs": "comment `/review` with write permission to have it reviewed",
    "not requested": "comment `/review` with write permission to have it reviewed",
}
"""What people on GitHub can do about an ignored event, by its `IgnoredKind`."""

SELF_EXPLAINING = ("asked to skip",)
"""Kinds whose reason says itself what people on GitHub can do."""


def plan_ignored_check(
    commit: str, kind: str, reason: str, settings: ReviewSettings, *, is_exempt: bool
) -> EnsureCheck:
    """Return the check of a commit if its event is ignored. `reason` is a sentence, with what the
    operator can do after a semicolon, which is not shown.

    `is_exempt` means that the operator's settings exclude the commit, and that the author cannot
    cause this.
    """
    why, _, details = reason.partition("; ")
    if kind not in SELF_EXPLAINING:
        details = ADVICE.get(kind, "")
    conclusion: Conclusion = settings.incomplete
    if is_exempt:
        conclusion = "neutral"
    check = plan_unreviewed_check(commit, conclusion, "Not reviewed", why, details=details)
    return replace(check, is_exempt=is_exempt)


NO_RESULT = 6
"""Rank of a pull request that has left the commit."""


def rank(conclusion: Conclusion | None, *, is_exempt: bool = False) -> int:
    """Return the place of a check among those on a commit, the worst first. None: in progress. A
    decided failure is not hidden by a review that still runs.
    """
    if is_exempt:
        return NO_RESULT - 1
    return ("failure", "cancelled", None, "neutral", "success").index(conclusion)


ENDS: Mapping[Conclusion, str] = {
    "failure": "failed",
    "cancelled": "was not reviewed",
    "neutral": "was not reviewed as a whole",
    "success": "was reviewed",
}


def show_other(action: EnsureCheck, number: int, conclusion: Conclusion) -> EnsureCheck:
    """Return the check of a commit whose worst result is that of pull request `number`."""
    title = f"Pull request {number}, with the same commit, {ENDS[conclusion]}"
    cure = (
        f"A check belongs to a commit, so this one is as that of pull request {number}, until that"
        " one is closed, has another commit or another result."
    )
    return replace(
        action,
        conclusion=conclusion,
        title=_plain_line(f"{title}; {action.title}"),
        summary=f"**{title}.** {cure}\n\n{action.summary}",
        description=title,
        is_exempt=False,
    )


def name_others(action: EnsureCheck, numbers: Sequence[int]) -> EnsureCheck:
    """Return the check with the other pull requests that have its commit."""
    if not numbers:
        return action
    names = ", ".join(map(str, numbers))
    sentence = f"The commit is also that of {inflect(len(numbers), 'pull request')} {names}."
    return replace(action, summary=f"{action.summary}\n\n{sentence}")


def _describe_dismissed(findings: Iterable[LedgerEntry], fail_on: Severity | None) -> str:
    """Return "1 high finding dismissed by anna; " of the findings that would fail the check."""
    dismissed = [
        finding
        for finding in sort_entries(findings)
        if finding.state == "dismissed" and is_failing(finding.severity, fail_on)
    ]
    if not dismissed:
        return ""
    numbers = Counter(finding.severity for finding in dismissed)
    severities = " and ".join(f"{number} {severity}" for severity, number in numbers.items())
    people = " and ".join(sorted({finding.dismissed_by or "a person" for finding in dismissed}))
    return f"{severities} {inflect(len(dismissed), 'finding')} dismissed by {people}; "


def _title(review: EndedReview, dismissed: str) -> str:
    """Return a title such as "10 open findings, 1 critical; 6 of 6 files reviewed"."""
    coverage = review.coverage
    opened = review.opened
    prefix = ""
    if opened:
        worst = opened[0].severity
        number = sum(finding.severity == worst for finding in opened)
        prefix = (
            f"{count(len(opened), 'open finding')}, {number} {worst}{_describe_unseen(opened)}; "
        )
    prefix += dismissed
    if coverage.needed:
        return f"{prefix}{coverage.reviewed} of {count(coverage.needed, 'file')} reviewed"
    reasons = count_reasons(file.reason or "reviewed" for file in coverage.files)
    nothing = "Nothing"
    if prefix:
        nothing = f"{prefix}nothing"
    return f"{nothing} needs a review: {reasons or 'no file was changed'}"


def _describe_unseen(opened: Sequence[LedgerEntry]) -> str:
    unseen = sum(bool(finding.unseen) for finding in opened)
    if not unseen:
        return ""
    return f", {unseen} not proved"


def _describe(review: EndedReview, title: str) -> str:
    coverage = review.coverage
    described = title
    cost = _cost(review.receipt)
    if cost and coverage.needed:
        described = f"{title}; {cost}"
    if review.is_at_limit:
        return f"{described}: {AT_LIMIT}; /review continues"
    if not coverage.needed:
        return described
    reasons = {file.reason for file in coverage.needing_review}
    if not coverage.reviewed and len(reasons) == 1 and not coverage.unlisted:
        return f"{described}: {_plain_line(reasons.pop() or '')}"
    return described


def _cost(receipt: Receipt) -> str:
    """Return "0.0123 USD"; "" if the receipt shows no cost."""
    if receipt.cost_usd is None:
        return ""
    cost = f"{receipt.cost_usd:.4f} USD"
    if receipt.is_estimate:
        return f"at most {cost}"
    return cost


def _summary(
    review: EndedReview, conclusion: Conclusion, settings: ReviewSettings
) -> Iterator[str]:
    """Yield the lines of the summary. The list of files is last, because the end is cut if the
    summary is too long.
    """
    parts = [*_describe_opened(review), *_describe_cure(review, conclusion, settings)]
    parts += [_describe_files(review.coverage), *review.notes]
    if review.receipt.guidance:
        names = ", ".join(map(format_code_span, review.receipt.guidance))
        parts.append(f"Guidance: {names}.")
    cost = _cost(review.receipt)
    if cost:
        parts.append(f"Cost: {cost}.")
    yield "\n\n".join(parts)
    yield from _list_files(review.coverage)


def _describe_cure(
    review: EndedReview, conclusion: Conclusion, settings: ReviewSettings
) -> Iterator[str]:
    """Yield what turns a red check green."""
    if conclusion != "failure":
        return
    needs_whole = settings.incomplete == "failure"
    failing = [
        entry
        for entry in review.opened
        if fails_check(entry, settings.fail_on)
        or (needs_whole and leaves_open(entry, settings.fail_on))
    ]
    dismissed = "dismissed by a person with write permission"
    how = "because ...` in a comment"
    if any(review.has_thread(entry) for entry in failing):
        how += ", or *Resolve* in its thread"
    names = " and ".join(str(entry.number) for entry in failing)
    if len(failing) == 1:
        until = f"it is fixed by a push, or {dismissed}: `/dismiss {names} {how}"
        yield f"**Finding {names} fails this check** until {until}."
    elif failing:
        until = f"each is fixed by a push, or {dismissed}: `/dismiss NUMBER {how}"
        yield f"**Findings {names} fail this check** until {until}."
    if needs_whole and not review.coverage.is_complete:
        tries = "`/review` of a person with write permission tries again"
        yield f"**This check fails because the review is incomplete**: {tries}."


def _describe_files(coverage: Coverage) -> str:
    done = coverage.reviewed
    needed = coverage.needed
    if not needed:
        return "No changed file needs a review."
    files = f"{count(needed, 'file that needs', 'files that need')} a review"
    return f"{done} of {files} {was_or_were(done or needed)} reviewed as a whole."


def _describe_opened(review: EndedReview) -> Iterator[str]:
    opened = review.opened
    if opened:
        yield "\n".join(["Open findings:\n", *(_describe_open(review, one) for one in opened)])
    undecided = sum(finding.is_undecided for finding in opened)
    if undecided:
        findings = count(undecided, "open finding")
        cure = "`/review` of a person with write permission asks Claude again"
        yield f"It is undecided whether a change fixes {findings}: {cure}."
    for finding in opened:
        if finding.unseen:
            title = sanitize_inline(CodeText(finding.title))
            fact = sanitize_inline(CodeText(finding.unseen))
            yield f"Finding {finding.number}, {title}, hangs on a fact that was not shown: {fact}"


def _describe_open(review: EndedReview, finding: LedgerEntry) -> str:
    title = sanitize_inline(CodeText(finding.title))
    place = format_code_span(finding.path)
    if finding.line is not None:
        place = format_code_span(f"{finding.path}:{finding.line}")
    url = review.urls.get(finding.key)
    if url:
        place = f"[{place}]({url})"
    return f"- **{title}** (finding {finding.number}, {finding.severity}): {place}"


def _list_files(coverage: Coverage) -> Iterator[str]:
    missing = [file for file in coverage.files if not file.is_complete]
    if missing or coverage.unlisted:
        yield "\n### Not reviewed\n"
    if coverage.unlisted:
        yield f"- {count(coverage.unlisted, 'changed file')} beyond those that GitHub lists"
    yield from (f"- {_describe_missing(file)}" for file in missing)
    unneeded = [file for file in coverage.files if not file.needs_review]
    with_data = [file for file in coverage.files if file.data]
    if unneeded or with_data:
        yield "\n### No review needed\n"
    for file in unneeded:
        yield f"- {format_code_span(file.path)}: {sanitize_inline(file.reason or '')}"
    for file in with_data:
        yield f"- {format_code_span(file.path)}: {file.data:,} characters of data in long lines"


def _describe_missing(file: FileCoverage) -> str:
    read = ""
    if file.reviewed:
        read = f"{file.extent} reviewed; "
    return f"{format_code_span(file.path)}: {read}{sanitize_inline(file.reason or '')}"


def _annotations(review: EndedReview) -> Iterator[Annotation]:
    for finding in review.opened:
        # An annotation shows lines of the commit, not removed ones.
        if finding.line is None or finding.side == "LEFT" or review.has_thread(finding):
            continue
        title = _plain_line(f"{finding.title} (finding {finding.number})", redact_code)
        yield Annotation(
            path=finding.path,
            start_line=finding.line,
            end_line=finding.line,
            level=LEVELS[finding.severity],
            title=title,
            message=redact_code(clean(finding.body)).strip() or title,
        )


def _plain_line(text: str, hide: Callable[[str], str] = redact) -> str:
    return truncate(" ".join(hide(clean(text)).split()), MAX_TITLE_CHARS)


def find_title_problem(title: str, types: Sequence[str]) -> str | None:
    """Return why a title is not conventional: "its type is none of feat and fix"; None if it is.
    Quotes no title.
    """
    match = TITLE.fullmatch(clean_title(title))
    if match is None:
        return "it does not have the form type: description"
    if match["type"].lower() in types:  # types of the settings are in lower case
        return None
    return f"its type is none of {', '.join(types)}"


def select_suggested_title(reply: ReplyFields | None, types: Sequence[str], earlier: str) -> str:
    """Return the optional field `suggested_title` of a reply, else the earlier one; "" if the title
    does not fit.
    """
    title = clean_title(str(getattr(reply, "suggested_title", earlier)))
    if len(title) > MAX_SUGGESTED_CHARS or find_title_problem(title, types):
        return ""
    return title


def plan_title_check(
    commit: str, title: str, types: Sequence[str], *, other: int | None = None
) -> EnsureCheck:
    """Return the check of a title; `other` is the number of another pull request that has it."""
    problem = find_title_problem(title, types)
    example = f"{types[0]}: add a total to the cart"
    if problem is None:
        fits = "The title has the form type: description"
        return EnsureCheck(commit, "success", fits, f"{fits}. Types: {', '.join(types)}.", fits)
    whose = "" if other is None else f" of pull request {other}, with the same commit,"
    misfit = f"The title{whose} does not fit: {problem}"
    summary = f"{misfit}.\n\nExample: `{example}`. Edit the title; the check follows."
    return EnsureCheck(commit, "failure", misfit, summary, f"{problem}; {example}")


def plan_group_title_check(commit: str) -> EnsureCheck:
    """Return the check on a commit of a merge queue; if the check is required, its pull requests
    have passed it.
    """
    checked = f"{TITLE_CHECK} is on the pull requests of the queue"
    return EnsureCheck(commit, "success", checked, checked, checked)
