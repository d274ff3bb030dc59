"""The check on the head commit of a pull request: what was reviewed, decided from the coverage and the open findings.

`success` is proof: every file that needs a review was reviewed as a whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from hls_handler.actions import Annotation, Conclusion, EnsureCheck
from hls_handler.analysis import NO_CALLS, Receipt, Severity
from hls_handler.review.coverage import Coverage, FileCoverage
from hls_handler.review.patches import Side
from hls_handler.review.positions import RANK
from hls_handler.settings.model import Review
from hls_handler.untrusted.cleaning import clean, truncate
from hls_handler.untrusted.markdown import sanitize_code_span, sanitize_inline
from hls_handler.untrusted.redaction import redact
from hls_handler.wording import count, inflect, was_or_were

MAX_TITLE_CHARS = 200
LEVELS: dict[Severity, Literal["notice", "warning", "failure"]] = {
    "critical": "failure",
    "high": "failure",
    "medium": "warning",
    "low": "notice",
}


@dataclass(frozen=True, slots=True)
class CheckedFinding:
    """A finding that the pull request still has."""

    path: str
    side: Side
    start_line: int | None  # None: a single line
    line: int | None  # None: the finding has no position in the patch
    severity: Severity
    title: str
    body: str  # untrusted Markdown; "" if it is not stored
    has_comment: bool = False  # True: a review comment shows it on its lines
    dismissed_by: Literal["writer", "other"] | None = None  # "writer": a person with write permission

    @property
    def is_open(self) -> bool:
        """True unless a person with write permission dismissed the finding (SECURITY.md rule 18)."""
        return self.dismissed_by != "writer"


@dataclass(frozen=True, slots=True)
class ReviewNotes:
    """Notes for the summary of a review, beside its coverage and findings."""

    unverified: str = ""  # why its findings were not verified
    left_out: str = ""  # a follow-up prompt, with the reason why it has no reply
    not_read_again: str = ""  # why a review of everything did not read all again
    undecided: int = 0  # open findings that may be corrected
    asked_for: str = ""  # SHA of the commit that the receipt is of; "" if it is that of the check


NO_NOTES = ReviewNotes()


def plan_check(
    commit: str,
    coverage: Coverage,
    findings: Sequence[CheckedFinding],
    settings: Review,
    receipt: Receipt,
    notes: ReviewNotes = NO_NOTES,
) -> EnsureCheck:
    """Return the check of a review that ended."""
    opened = sorted((finding for finding in findings if finding.is_open), key=lambda finding: RANK[finding.severity])
    failing = [f for f in opened if settings.fail_on is not None and RANK[f.severity] <= RANK[settings.fail_on]]
    conclusion: Conclusion = "failure" if failing else "success" if coverage.is_complete else settings.incomplete
    title = _title(coverage, opened, failing, settings)
    return EnsureCheck(
        commit=commit,
        conclusion=conclusion,
        title=title,
        summary="\n".join(_summary(commit, coverage, opened, receipt, notes)),
        description=_describe(coverage, opened, receipt, title),
        annotations=tuple(_annotations(opened)),
    )


def plan_unreviewed_check(
    commit: str, conclusion: Conclusion, title: str, reason: str, receipt: Receipt = NO_CALLS, *, details: str = ""
) -> EnsureCheck:
    """Return the check of a commit whose review has no result. `reason` is a sentence for the people on GitHub.

    Only the summary has `details`, such as what the operator should do.
    """
    summary = f"{title}: {sanitize_inline(f'{reason}; {details}' if details else reason)}"
    description = title
    if receipt.calls:
        summary = "\n".join([summary, *_table(_cost_rows(receipt))])
        description = f"{title} ({_cost(receipt)})"
    line = _plain_line(f"{title}: {reason}")
    return EnsureCheck(commit, conclusion, line, summary, description=_plain_line(f"{description}: {reason}"))


def _title(
    coverage: Coverage,
    opened: Sequence[CheckedFinding],
    failing: Sequence[CheckedFinding],
    settings: Review,
) -> str:
    if failing:
        return f"{count(len(failing), 'open finding')} of severity {settings.fail_on} or above; {_files(coverage)}"
    if not coverage.needing_review and not coverage.unlisted:
        return f"Nothing needs a review: {_reasons(coverage.files) or 'no file was changed'}"
    title = _files(coverage)
    return f"{title[0].upper()}{title[1:]}" + (f"; {count(len(opened), 'open finding')}" if opened else "")


def _files(coverage: Coverage) -> str:
    done, needed = _count_files(coverage)
    return f"reviewed {done} of {count(needed, 'file')}"


def _count_files(coverage: Coverage) -> tuple[int, int]:
    """Return the number of files reviewed as a whole, and of those that need a review."""
    needing = coverage.needing_review
    return sum(file.is_complete for file in needing), len(needing) + coverage.unlisted


def _reasons(files: Sequence[FileCoverage]) -> str:
    counts = Counter(file.reason or "reviewed" for file in files)
    return ", ".join(
        count(number, reason) if reason == "lock file" else f"{number} {reason}" for reason, number in counts.items()
    )


def _describe(coverage: Coverage, opened: Sequence[CheckedFinding], receipt: Receipt, title: str) -> str:
    done, needed = _count_files(coverage)
    if not needed:
        return title
    found = f", {count(len(opened), 'open finding')}" if opened else ""
    reasons = {file.reason for file in coverage.needing_review}
    why = f": {_plain_line(reasons.pop() or '')}" if not done and len(reasons) == 1 and not coverage.unlisted else ""
    return f"{done} of {count(needed, 'file')} reviewed{found}; {_cost(receipt)}{why}"


def _cost(receipt: Receipt) -> str:
    if receipt.cost_usd is None:
        return "cost unknown"
    return f"{'at most ' if receipt.is_estimate else ''}{receipt.cost_usd:.4f} USD"


def _describe_undecided(number: int) -> str:
    whose, them = ("1 open finding", "it") if number == 1 else (f"{number} open findings", "them")
    undecided = f"it is not decided whether that corrects {them}"
    return f"Lines of {whose} have changed, and {undecided}: `/review full` asks Claude."


def _summary(
    commit: str,
    coverage: Coverage,
    opened: Sequence[CheckedFinding],
    receipt: Receipt,
    notes: ReviewNotes,
) -> Iterator[str]:
    """Yield the lines of the summary. The list of files is last, because the end is cut if the summary is too long."""
    done, needed = _count_files(coverage)
    if needed:
        needing = f"{count(needed, 'file')} that {'needs' if needed == 1 else 'need'} a review"
        yield f"{done} of {needing} {was_or_were(done)} reviewed as a whole."
    else:
        yield "No changed file needs a review."
    if opened:
        by_severity = Counter(finding.severity for finding in opened)
        yield f"\nOpen findings: {', '.join(f'{number} {severity}' for severity, number in by_severity.items())}."
    if notes.unverified:
        yield f"\nThe findings were not verified: {notes.unverified}."
    if notes.undecided:
        yield f"\n{_describe_undecided(notes.undecided)}"
    if notes.left_out:
        yield f"\nA follow-up prompt was left out: {notes.left_out}."
    if notes.not_read_again:
        yield f"\nNot everything was read again, so earlier reviews count: {notes.not_read_again}."
    yield from _table(_receipt_rows(commit, coverage, receipt, notes.asked_for))
    missing = [file for file in coverage.files if not file.is_complete]
    if missing or coverage.unlisted:
        yield "\n### Not reviewed\n"
    if coverage.unlisted:
        yield f"- {count(coverage.unlisted, 'changed file')} beyond those that GitHub lists"
    yield from (f"- {_describe_missing(file)}" for file in missing)
    unneeded = [file for file in coverage.files if not file.needs_review]
    if unneeded:
        yield "\n### No review needed\n"
        yield from (f"- `{sanitize_code_span(file.path)}`: {sanitize_inline(file.reason or '')}" for file in unneeded)


def _table(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield "\n| | |\n|---|---|"
    yield from (f"| {name} | {value} |" for name, value in rows)


def _receipt_rows(commit: str, coverage: Coverage, receipt: Receipt, asked_for: str) -> Iterator[tuple[str, str]]:
    done, needed = _count_files(coverage)
    needing = coverage.needing_review
    yield "commit", f"`{sanitize_code_span(commit)}`"
    yield "files", f"{done} of {needed}"
    yield "hunks", f"{sum(file.reviewed for file in needing)} of {sum(file.hunks for file in needing)}"
    if asked_for not in ("", commit):
        yield "Claude was last asked for commit", f"`{sanitize_code_span(asked_for)}`"
    yield from _cost_rows(receipt)


def _cost_rows(receipt: Receipt) -> Iterator[tuple[str, str]]:
    yield "calls to Claude", str(receipt.calls)
    yield "tokens", f"{receipt.input_tokens:,} in, {receipt.output_tokens:,} out"
    yield "cost", _cost(receipt)
    prompts = ", ".join(f"`{sanitize_code_span(prompt)}`" for prompt in receipt.prompt_ids)
    yield inflect(max(len(receipt.prompt_ids), 1), "prompt"), prompts or "none"


def _describe_missing(file: FileCoverage) -> str:
    parts = [f"{file.reviewed} of {count(file.hunks, 'hunk')} reviewed"] if file.reviewed else []
    if file.reviewed_in_part:
        lines = f"{file.reviewed_in_part} of {count(file.lines_in_part, 'changed line')}"
        parts.append(f"partly reviewed: {lines}" if not parts else f"of the others {lines}")
    return f"`{sanitize_code_span(file.path)}`: {'; '.join([*parts, sanitize_inline(file.reason or '')])}"


def _annotations(opened: Sequence[CheckedFinding]) -> Iterator[Annotation]:
    for finding in opened:
        # An annotation shows lines of the commit, not removed ones.
        if finding.line is None or finding.side == "LEFT" or finding.has_comment:
            continue
        title = _plain_line(finding.title)
        yield Annotation(
            path=finding.path,
            start_line=finding.start_line or finding.line,
            end_line=finding.line,
            level=LEVELS[finding.severity],
            title=title,
            message=redact(clean(finding.body)).strip() or title,
        )


def _plain_line(text: str) -> str:
    return truncate(" ".join(redact(clean(text)).split()), MAX_TITLE_CHARS)
