"""The check on the head commit of a pull request: what was reviewed, decided from the coverage and
the open findings.

`success` is proof: every file that needs a review was reviewed as a whole.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

from hls_handler.actions import TITLE_CHECK, Annotation, Conclusion, EnsureCheck
from hls_handler.analysis import NO_CALLS, Receipt, Reply, Severity
from hls_handler.review.coverage import Coverage, FileCoverage, count_reasons
from hls_handler.review.ledger import fails_check, leaves_open, sort_entries
from hls_handler.review.record import LedgerEntry
from hls_handler.settings.model import Review
from hls_handler.untrusted.cleaning import CodeText, clean, clean_title, truncate
from hls_handler.untrusted.markdown import sanitize_code_span, sanitize_inline
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


def plan_check(
    commit: str,
    coverage: Coverage,
    findings: Sequence[LedgerEntry],
    settings: Review,
    receipt: Receipt,
    *,
    notes: Sequence[str] = (),
    commented: Collection[str] = (),
    asked_for: str = "",
) -> EnsureCheck:
    """Return the check of a review that ended. Only people who may write can dismiss a finding for
    it.

    `notes` are sentences for the summary, `commented` are keys of the findings that a review
    comment shows, and the receipt is that of the commit `asked_for`.
    """
    opened = sort_entries(one for one in findings if one.counts)
    hangs = any(leaves_open(finding, settings.fail_on) for finding in opened)
    is_complete = coverage.is_complete and not hangs
    conclusion: Conclusion = "success" if is_complete else settings.incomplete
    if any(fails_check(finding, settings.fail_on) for finding in opened):
        conclusion = "failure"
    title = _title(coverage, opened)
    return EnsureCheck(
        commit=commit,
        conclusion=conclusion,
        title=title,
        summary="\n".join(_summary(commit, coverage, opened, receipt, notes, asked_for)),
        description=_describe(coverage, opened, receipt, title),
        annotations=tuple(_annotations(opened, commented)),
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

    Only the summary has `details`, such as what the operator should do.
    """
    summary = f"{title}: {sanitize_inline(f'{reason}; {details}' if details else reason)}"
    description = title
    if receipt.calls:
        summary = "\n".join([summary, *_table(_cost_rows(receipt))])
        description = f"{title} ({_cost(receipt)})"
    line = _plain_line(f"{title}: {reason}")
    return EnsureCheck(
        commit, conclusion, line, summary, description=_plain_line(f"{description}: {reason}")
    )


def plan_ignored_check(
    commit: str, reason: str, settings: Review, *, is_exempt: bool
) -> EnsureCheck:
    """Return the check of a commit if its event is ignored. `reason` is a sentence, with what to do
    after a semicolon.

    `is_exempt` means that the operator's settings exclude the commit, and that the author cannot
    cause this.
    """
    why, _, details = reason.partition("; ")
    conclusion: Conclusion = "neutral" if is_exempt else settings.incomplete
    check = plan_unreviewed_check(commit, conclusion, "Not reviewed", why, details=details)
    return replace(check, is_exempt=is_exempt)


def _title(coverage: Coverage, opened: Sequence[LedgerEntry]) -> str:
    """Return a title such as "10 open findings, 1 critical; 6 of 6 files reviewed"."""
    worst = opened[0].severity if opened else ""
    number = sum(finding.severity == worst for finding in opened)
    hanging = _describe_unseen(opened)
    found = f"{count(len(opened), 'open finding')}, {number} {worst}{hanging}; " if opened else ""
    if coverage.needed:
        return f"{found}{coverage.reviewed} of {count(coverage.needed, 'file')} reviewed"
    reasons = (
        count_reasons(file.reason or "reviewed" for file in coverage.files) or "no file was changed"
    )
    return (
        f"{found}nothing needs a review: {reasons}"
        if opened
        else f"Nothing needs a review: {reasons}"
    )


def _describe_unseen(opened: Sequence[LedgerEntry]) -> str:
    unseen = sum(bool(finding.unseen) for finding in opened)
    return f", {unseen} not proved" if unseen else ""


def _describe(
    coverage: Coverage, opened: Sequence[LedgerEntry], receipt: Receipt, title: str
) -> str:
    if not coverage.needed:
        return title
    found = f", {count(len(opened), 'open finding')}{_describe_unseen(opened)}" if opened else ""
    reasons = {file.reason for file in coverage.needing_review}
    has_one_reason = not coverage.reviewed and len(reasons) == 1 and not coverage.unlisted
    why = f": {_plain_line(reasons.pop() or '')}" if has_one_reason else ""
    return (
        f"{coverage.reviewed} of {count(coverage.needed, 'file')} reviewed{found};"
        f" {_cost(receipt)}{why}"
    )


def _cost(receipt: Receipt) -> str:
    if receipt.cost_usd is None:
        return "cost unknown"
    return f"{'at most ' if receipt.is_estimate else ''}{receipt.cost_usd:.4f} USD"


def _summary(
    commit: str,
    coverage: Coverage,
    opened: Sequence[LedgerEntry],
    receipt: Receipt,
    notes: Sequence[str],
    asked_for: str,
) -> Iterator[str]:
    """Yield the lines of the summary. The list of files is last, because the end is cut if the
    summary is too long.
    """
    done = coverage.reviewed
    needed = coverage.needed
    if needed:
        needing = f"{count(needed, 'file')} that {'needs' if needed == 1 else 'need'} a review"
        yield f"{done} of {needing} {was_or_were(done or needed)} reviewed as a whole."
    else:
        yield "No changed file needs a review."
    if opened:
        yield f"\nOpen findings: {', '.join(_list_numbers(opened))}."
    undecided = sum(finding.is_undecided for finding in opened)
    if undecided:
        found = count(undecided, "open finding")
        yield f"\nIt is undecided whether a change fixes {found}: `/review` asks Claude again."
    for finding in (one for one in opened if one.unseen):
        title = sanitize_inline(CodeText(finding.title))
        fact = sanitize_inline(CodeText(finding.unseen))
        yield f"\nFinding {finding.number}, {title}, hangs on a fact that was not shown: {fact}"
    yield from (f"\n{note}" for note in notes)
    yield from _table(_receipt_rows(commit, coverage, receipt, asked_for))
    missing = [file for file in coverage.files if not file.is_complete]
    if missing or coverage.unlisted:
        yield "\n### Not reviewed\n"
    if coverage.unlisted:
        yield f"- {count(coverage.unlisted, 'changed file')} beyond those that GitHub lists"
    yield from (f"- {_describe_missing(file)}" for file in missing)
    unneeded = [file for file in coverage.files if not file.needs_review]
    if unneeded:
        yield "\n### No review needed\n"
        yield from (
            f"- `{sanitize_code_span(file.path)}`: {sanitize_inline(file.reason or '')}"
            for file in unneeded
        )


def _list_numbers(opened: Sequence[LedgerEntry]) -> Iterator[str]:
    """Yield the numbers of the findings of each severity: "2 high (1 and 4)"."""
    by_severity = Counter(finding.severity for finding in opened)
    for severity, number in by_severity.items():
        numbers = [str(finding.number) for finding in opened if finding.severity == severity]
        yield f"{number} {severity} ({inflect(number, 'number')} {', '.join(numbers)})"


def _table(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield "\n| | |\n|---|---|"
    yield from (f"| {name} | {value} |" for name, value in rows)


def _receipt_rows(
    commit: str, coverage: Coverage, receipt: Receipt, asked_for: str
) -> Iterator[tuple[str, str]]:
    needing = coverage.needing_review
    yield "commit", f"`{sanitize_code_span(commit)}`"
    yield "files", f"{coverage.reviewed} of {coverage.needed}"
    yield (
        "changed lines",
        f"{sum(file.reviewed for file in needing)} of {sum(file.lines for file in needing)}",
    )
    if asked_for not in ("", commit):
        yield "Claude was last asked for commit", f"`{sanitize_code_span(asked_for)}`"
    yield from _cost_rows(receipt)


def _cost_rows(receipt: Receipt) -> Iterator[tuple[str, str]]:
    yield "calls to Claude", str(receipt.calls)
    yield "tokens", f"{receipt.input_tokens:,} in, {receipt.output_tokens:,} out"
    yield "cost", _cost(receipt)
    prompts = ", ".join(f"`{sanitize_code_span(prompt)}`" for prompt in receipt.prompt_ids)
    yield inflect(max(len(receipt.prompt_ids), 1), "prompt"), prompts or "none"
    if receipt.models:
        yield "answered by", ", ".join(f"`{sanitize_code_span(model)}`" for model in receipt.models)


def _describe_missing(file: FileCoverage) -> str:
    read = (
        f"{file.reviewed} of {count(file.lines, 'changed line')} reviewed; "
        if file.reviewed
        else ""
    )
    return f"`{sanitize_code_span(file.path)}`: {read}{sanitize_inline(file.reason or '')}"


def _annotations(opened: Sequence[LedgerEntry], commented: Collection[str]) -> Iterator[Annotation]:
    for finding in opened:
        # An annotation shows lines of the commit, not removed ones.
        if (
            finding.line is None
            or finding.side == "LEFT"
            or finding.comment_id
            or finding.key in commented
        ):
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
    found = TITLE.fullmatch(clean_title(title))
    if found is None:
        return "it does not have the form type: description"
    is_known = found["type"].lower() in types  # types of the settings are in lower case
    return None if is_known else f"its type is none of {', '.join(types)}"


def select_suggested_title(reply: Reply | None, types: Sequence[str], earlier: str) -> str:
    """Return the optional field `suggested_title` of a reply, else the earlier one; "" if the title
    does not fit.
    """
    title = clean_title(str(getattr(reply, "suggested_title", earlier)))
    return "" if len(title) > MAX_SUGGESTED_CHARS or find_title_problem(title, types) else title


def plan_title_check(commit: str, title: str, types: Sequence[str]) -> EnsureCheck:
    problem = find_title_problem(title, types)
    example = f"{types[0]}: add a total to the cart"
    if problem is None:
        fits = "The title has the form type: description"
        return EnsureCheck(commit, "success", fits, f"{fits}. Types: {', '.join(types)}.", fits)
    summary = (
        f"The title does not fit: {problem}.\n\nExample: `{example}`. Edit the title; the check"
        " follows."
    )
    return EnsureCheck(
        commit, "failure", f"The title does not fit: {problem}", summary, f"{problem}; {example}"
    )


def plan_group_title_check(commit: str) -> EnsureCheck:
    """Return the check on a commit of a merge queue; if the check is required, its pull requests
    have passed it.
    """
    checked = f"{TITLE_CHECK} is on the pull requests of the queue"
    return EnsureCheck(commit, "success", checked, checked, checked)
