"""The findings of a review: which of them are raised and where, and what became of the earlier ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from hls_handler.analysis import Category, Finding, PullRequestAnalysis, Reply, Severity
from hls_handler.handlers.changed_files import (
    PatchedFile,
    Selection,
    find_read,
    is_shortened,
    list_hidden_lines,
    redact_patch,
)
from hls_handler.handlers.check import CheckedFinding
from hls_handler.handlers.handler import permalink
from hls_handler.handlers.pull_request_facts import Candidate, PullRequestFacts
from hls_handler.handlers.reader import ChangedFile, Reader
from hls_handler.handlers.skipped_files import EMPTY_BLOBS
from hls_handler.prompting.render import estimate_tokens
from hls_handler.review.changes import find_changed_lines
from hls_handler.review.dismissals import FIXED, find_dismissals
from hls_handler.review.ledger import (
    add,
    apply_threads,
    find_new,
    follow_up,
    list_hidden,
    list_merged,
    raise_severities,
    settle_hidden,
)
from hls_handler.review.patches import Hunk, Line, Patch, Side, number_line, numbered, parse_patch
from hls_handler.review.places import PresentFiles, identify
from hls_handler.review.positions import RANK, find_lines, group_findings, merge_findings, sort_findings
from hls_handler.review.quotes import EXCERPT_LINES, find_within, list_compared, list_tokens, list_within
from hls_handler.review.record import LedgerEntry, ReviewRecord, ReviewThread
from hls_handler.review.verdicts import settle_quotes
from hls_handler.untrusted.cleaning import show_name

MAX_CANDIDATES = 40  # findings of one review that are verified and shown
MAX_UNDECIDED = 10  # earlier findings that are verified with them
QUOTE_TOKENS = 2_000  # of the lines that a finding quotes; an earlier one with more is not verified
EXCERPT_TOKENS = 20_000  # of all findings of a review together
NEAR_LINES = 10  # above and below a finding: one there with its category may be the same in other words
MAX_LINE_CHARS = 1_000  # of a line in an excerpt


@dataclass(frozen=True, slots=True)
class ShownFinding:
    """A finding as the comment shows it. The fields of an earlier finding that are not stored are empty."""

    path: str
    side: Side
    start_line: int | None
    line: int | None
    severity: Severity
    category: Category | None
    confidence: float | None
    title: str
    body: str
    quote: str
    suggestion: str | None
    url: str  # permanent address of the lines on GitHub; "" if unknown
    is_inline: bool  # True if a review comment has the text


@dataclass(frozen=True, slots=True)
class ReviewFindings:
    raised: tuple[tuple[LedgerEntry, Finding], ...]  # new findings, most severe first
    inline: tuple[tuple[LedgerEntry, Finding], ...]  # those of `raised` that get a review comment
    unlocated: tuple[Finding, ...]
    held_back: int  # findings below the thresholds in the settings
    left_out: tuple[tuple[LedgerEntry, Finding], ...]  # new findings beyond `MAX_CANDIDATES`, which are not verified
    ledger: tuple[LedgerEntry, ...]  # the earlier findings with their present state
    open: tuple[LedgerEntry, ...]  # those of `ledger` that are open, most severe first
    undecided: tuple[LedgerEntry, ...]  # those of `ledger` about which Claude is asked, because their quote changed


@dataclass(frozen=True, slots=True)
class Discussion:
    """The review threads of a pull request, with the people who may dismiss findings."""

    threads: tuple[ReviewThread, ...] = ()
    writers: tuple[str, ...] = ()  # logins of those who dismissed a finding and may write to the repository
    replied: tuple[str, ...] = ()  # keys of findings that get no reply: their thread has one, or a person deleted it


def read_discussion(number: int, reader: Reader, ledger: Sequence[LedgerEntry]) -> Discussion:
    """Read the review threads, unless no finding has one."""
    if not any(entry.comment_id for entry in ledger):
        return Discussion()
    threads = reader.review_threads(number)
    people = dict.fromkeys(login for thread in threads for login in find_dismissals(thread).values())
    writers = (login for login in people if login and reader.permission(login) in ("admin", "write"))
    unreplied = {thread.key for thread in threads if FIXED not in thread.own_replies}
    return Discussion(threads, tuple(writers), tuple(entry.key for entry in ledger if entry.key not in unreplied))


def follow_findings(
    record: ReviewRecord,
    listed: Sequence[ChangedFile],
    selection: Selection,
    discussion: Discussion,
    *,
    unread: Collection[str],
    unlisted: int,
    head: str,
    read_files: Callable[[str, Sequence[str]], Mapping[str, str]],
) -> ReviewRecord:
    """Return the record with the present state of each finding.

    `listed` are the changed files that GitHub lists, and `unlisted` is the number of the others. `unread` are those of
    `find_unread`. `read_files` returns the text of files at a commit; it is called if the patches do not show what
    became of the line of a finding. `head` is the SHA of the head commit.
    """
    if not record.ledger:
        return record
    files = PresentFiles(
        patches={**_parse_left_out(listed, selection), **selection.patches},
        previous_paths=_find_previous_paths(listed),
        unread=unread,
        is_complete=not unlisted,
        reviewed=record.reviewed,
        quoted=record.quoted,
    )
    closed = {entry.key for entry in record.ledger if entry.is_closed}
    ledger = follow_up(record.ledger, files)
    if merged := list_merged(record.ledger, ledger, files):
        texts = read_files(record.base, sorted({*merged.values()})) if record.base else {}
        quotes = {entry.quote for entry in record.ledger}  # a file that cannot be read may have all of them
        in_base = {path: _identify_lines(texts[old]) if old in texts else quotes for path, old in merged.items()}
        ledger = follow_up(record.ledger, replace(files, in_base=in_base))
    if hidden := list_hidden(ledger, files):
        texts = read_files(head, sorted({*hidden.values()}))
        ledger = settle_hidden(ledger, hidden, {path: _identify_lines(text) for path, text in texts.items()})
    ledger = apply_threads(ledger, discussion.threads, writers=discussion.writers, closed=closed)
    return replace(record, ledger=ledger, quoted=list_quoted(ledger, files.patches, unread, record.quoted))


def list_quoted(
    ledger: Iterable[LedgerEntry],
    patches: Mapping[str, Patch],
    unread: Collection[str],
    earlier: Mapping[str, tuple[str, ...]],
) -> Mapping[str, tuple[str, ...]]:
    """Return the lines of the last whole patches of files with findings of several lines, see `ReviewRecord.quoted`.

    Those of the files `unread` are the `earlier` ones: the finding is at the lines with these numbers.
    """
    paths = {entry.path for entry in ledger if entry.lines}
    known = {path: tokens for path, tokens in earlier.items() if path in paths}
    shown = {path: list_tokens(patches[path]) for path in sorted(paths & patches.keys()) if path not in unread}
    return {**known, **shown}


def find_unread(ledger: Iterable[LedgerEntry], listed: Iterable[ChangedFile], selection: Selection) -> frozenset[str]:
    """Return the paths of files that may have changed lines of findings which are not shown.

    GitHub shortened or left out their patch, or hidden credentials span a line that a finding quotes. The paths that
    such files had before are among them.
    """
    quotes = {text for entry in ledger if not entry.is_absent for text in (entry.quote, *entry.lines)}
    whole_paths = {file.path for file in selection.files if not file.cut}
    unread_paths = {file.path for file in selection.skipped if file.needs_review}

    def is_unread(file: ChangedFile) -> bool:
        if file.path in unread_paths:
            return True
        if file.path in whole_paths:
            return False
        if not file.patch:
            return not _is_without_lines(file)
        whole = parse_patch(file.patch)
        if is_shortened(file, whole):
            return True
        hidden = list_hidden_lines(whole, selection.patches.get(file.path) or redact_patch(whole)) if quotes else ()
        return not quotes.isdisjoint(text for line in hidden for text in _identify_lines(line))

    unread = [file for file in listed if is_unread(file)]
    return frozenset(path for file in unread for path in (file.path, file.previous_path) if path)


def _identify_lines(text: str) -> Collection[str]:
    """Return the lines of a file as `PatchIndex` has those of its patch, in which credentials are hidden."""
    lines = text.split("\n")
    patch = parse_patch("\n".join([f"@@ -1,{len(lines)} +1,{len(lines)} @@", *(f" {line}" for line in lines)]))
    return {identify(line.text) for hunk in redact_patch(patch).hunks for line in hunk.lines}


def _is_without_lines(file: ChangedFile) -> bool:
    is_empty = file.status == "removed" or file.sha in EMPTY_BLOBS
    return is_empty or (file.status == "renamed" and not file.additions and not file.deletions)


def _parse_left_out(listed: Iterable[ChangedFile], selection: Selection) -> Mapping[str, Patch]:
    """Return the patches of the files that the review leaves out, as `Selection.patches` has the others."""
    return {
        file.path: redact_patch(parse_patch(file.patch))
        for file in listed
        if file.patch and file.path not in selection.patches
    }


def _find_previous_paths(files: Iterable[ChangedFile | PatchedFile]) -> Mapping[str, str]:
    return {file.path: file.previous_path for file in files if file.previous_path and file.status == "renamed"}


def find_findings(facts: PullRequestFacts, reply: Reply | None) -> ReviewFindings:
    """Return the findings of a reply that this review raises, and those of earlier reviews."""
    reported = reply.findings if isinstance(reply, PullRequestAnalysis) else []
    wanted = [
        finding
        for finding in reported
        if RANK[finding.severity] <= RANK[facts.shown.min_severity] and finding.confidence >= facts.shown.min_confidence
    ]
    located, unlocated = find_lines(wanted, facts.selection.shown_patches)
    shown_names = {name for path in facts.selection.shown_patches for name in (path, show_name(path))}
    changed, patches = _list_changed(facts), facts.selection.patches
    since = _list_changed_since(facts) if facts.is_full else changed
    merged = _merge_apart(located, facts.record.ledger, patches, since)
    timely = [finding for finding in merged if _is_timely(facts, finding, changed)]
    is_review = isinstance(reply, PullRequestAnalysis)
    silent = _list_silent(facts, reported, changed) if is_review and not facts.review.verify else set()
    ledger, repeating = settle_quotes(
        facts.record.ledger,
        timely,
        patches,
        corrected=facts.refuted | silent,
        present=facts.upheld,
        changed=changed,
        unread=facts.unread,
    )
    rest = [finding for finding in timely if finding not in repeating]
    new = find_new(rest, facts.record.ledger, patches, since)  # without the lines that its entries take now
    ledger = raise_severities(ledger, [finding for finding in timely if finding not in new], patches, since)
    renamed = _find_previous_paths(facts.selection.files)
    entries = add(ledger, new, patches, prompt_id="", previous_paths=renamed, unread=facts.unread)
    found = tuple(zip(entries, new, strict=True))
    raised = tuple((entry, one) for entry, one in found[:MAX_CANDIDATES] if entry.key not in facts.refuted)
    first = raised[: facts.review.max_inline] if facts.is_review else ()
    still_open = (entry for entry in ledger if entry.state == "open")
    return ReviewFindings(
        raised,
        inline=tuple((entry, found) for entry, found in first if entry.key not in facts.not_inline),
        unlocated=tuple(f for f in unlocated if _is_first(facts) or f.path in shown_names),
        held_back=len(reported) - len(wanted),
        left_out=found[MAX_CANDIDATES:],
        ledger=ledger,
        open=tuple(sorted(still_open, key=lambda entry: (RANK[entry.severity], entry.path, entry.line or 0))),
        undecided=tuple(entry for entry in ledger if _is_undecided(entry, patches))[:MAX_UNDECIDED],
    )


def _merge_apart(
    located: Sequence[Finding],
    ledger: Sequence[LedgerEntry],
    patches: Mapping[str, Patch],
    changed: Collection[tuple[str, Side, int]],
) -> tuple[Finding, ...]:
    """Merge the findings; those that repeat an earlier one not with others, which would count as repetitions, too.

    Those that repeat a dismissed one are also merged apart from those that repeat another one. No new finding may
    become a repetition because it is merged, and no repetition a new one.
    """

    def list_new(findings: Sequence[Finding], entries: Sequence[LedgerEntry]) -> set[int]:
        return {id(finding) for finding in find_new(findings, entries, patches, changed)}

    known = {(entry.path, entry.side, entry.category, entry.title) for entry in ledger if not entry.is_closed}
    titled = {id(one) for one in located if (one.path, one.side, one.category, one.title) in known}
    other = list_new(located, [entry for entry in ledger if entry.state == "dismissed"])
    unknown = list_new(located, ledger)
    new = unknown - titled

    def merge(parts: Sequence[Finding]) -> Sequence[Finding]:
        (merged,) = merge_findings(parts)
        if len(parts) == 1 or bool(list_new([merged], ledger)) == any(id(part) in unknown for part in parts):
            return [merged]
        by_kind = [[part for part in parts if (id(part) in unknown) == is_new] for is_new in (True, False)]
        return [one for same in by_kind for one in merge(same)] if all(by_kind) else parts

    found: list[Finding] = []
    for kind in (new, other - new, {id(finding) for finding in located} - other - new):
        for parts in group_findings(finding for finding in located if id(finding) in kind):
            found += merge(parts)
    return tuple(sort_findings(found))


def _is_undecided(entry: LedgerEntry, patches: Mapping[str, Patch]) -> bool:
    is_asked = entry.is_quote_changed and not entry.is_closed and entry.path in patches
    return is_asked and _excerpt_quote(patches, entry) is not None


def _list_silent(
    facts: PullRequestFacts, reported: Sequence[Finding], changed: Collection[tuple[str, Side, int]]
) -> set[str]:
    """Return the keys of the findings of which the review read a changed line, and which it does not report again."""
    read = find_read(facts.selection, facts.unanswered)
    silent: set[str] = set()
    for entry in facts.record.ledger:
        is_said = any(_may_repeat(one, entry) for one in reported)
        is_silent = entry.path in read and not is_said
        if entry.is_quote_changed and is_silent:
            lines = list_compared(facts.selection.patches[entry.path], entry.side, entry.quoted_lines)
            if any((entry.path, line.side, line.number) in changed for line in lines):
                silent.add(entry.key)
    return silent


def _may_repeat(finding: Finding, entry: LedgerEntry) -> bool:
    """Return True if the finding has the title of the entry, or its category near its lines."""
    quoted, first = entry.quoted_lines, finding.start_line or finding.line
    is_near = first < quoted.stop + NEAR_LINES and quoted.start - NEAR_LINES <= finding.line
    is_same = finding.title == entry.title or (finding.category == entry.category and is_near)
    return finding.path in (entry.path, show_name(entry.path)) and is_same


def _list_changed(facts: PullRequestFacts) -> set[tuple[str, Side, int]]:
    """Return the lines that changed since the last review; all changed lines if this one reads everything again."""
    return {
        (file.path, lines.side, number)
        for file in facts.selection.files
        for lines in file.changed
        for number in range(lines.first, lines.last + 1)
    }


def _list_changed_since(facts: PullRequestFacts) -> set[tuple[str, Side, int]]:
    """Return the lines that changed since the last review, also if this one reads everything again."""
    return {
        (path, hunk.lines[index].side, hunk.lines[index].number)
        for path, patch in facts.selection.patches.items()
        for hunk, indexes in zip(patch.hunks, find_changed_lines(patch, facts.earlier.get(path, ())), strict=True)
        for index in indexes
    }


def list_checked(result: ReviewFindings) -> list[CheckedFinding]:
    """Return the findings that count for the check: the new ones, the open ones, and those that people dismissed."""
    inline = {entry.key for entry, _ in result.inline}
    new = [
        CheckedFinding(
            found.path,
            found.side,
            found.start_line,
            found.line,
            found.severity,
            found.title,
            found.body,
            has_comment=entry.key in inline,
        )
        for entry, found in (*result.raised, *result.left_out)
    ]
    dismissed = (entry for entry in result.ledger if entry.state == "dismissed")
    return [*new, *(_to_checked(entry) for entry in (*result.open, *dismissed))]


def _to_checked(entry: LedgerEntry) -> CheckedFinding:
    dismissed_by: Literal["writer", "other"] | None = None
    if entry.state == "dismissed":
        dismissed_by = "writer" if entry.has_binding_dismissal else "other"
    has_comment, place = entry.comment_id is not None, (entry.path, entry.side, None, entry.line)
    return CheckedFinding(*place, entry.severity, entry.title, "", has_comment=has_comment, dismissed_by=dismissed_by)


def _is_first(facts: PullRequestFacts) -> bool:
    return facts.record.rounds == 0 or facts.is_full


def _is_timely(facts: PullRequestFacts, finding: Finding, changed: Collection[tuple[str, Side, int]]) -> bool:
    """Return True if this round may raise the finding.

    After the first review, one of the finding's lines must have changed since the last one, or a line between them was
    removed or is there again. In the second review, a critical finding may also be on other lines.
    """
    if _is_first(facts) or (facts.record.rounds == 1 and finding.severity == "critical"):
        return True
    numbers = range(finding.start_line or finding.line, finding.line + 1)
    lines = list_within(facts.selection.patches[finding.path], finding.side, numbers)
    return any((finding.path, line.side, line.number) in changed for line in lines)


def to_shown(facts: PullRequestFacts, finding: Finding, *, is_inline: bool) -> ShownFinding:
    return ShownFinding(
        path=finding.path,
        side=finding.side,
        start_line=finding.start_line,
        line=finding.line,
        severity=finding.severity,
        category=finding.category,
        confidence=finding.confidence,
        title=finding.title,
        body=finding.body,
        quote=finding.quote,
        suggestion=finding.suggestion,
        url=_permalink(facts, finding.path, finding.side, finding.start_line or finding.line, finding.line),
        is_inline=is_inline,
    )


def earlier_to_shown(facts: PullRequestFacts, entry: LedgerEntry) -> ShownFinding:
    url = _permalink(facts, entry.path, entry.side, entry.line, entry.line)
    place = (entry.path, entry.side, None, entry.line)
    is_inline = entry.comment_id is not None
    body = "" if entry.is_body_posted else entry.body
    return ShownFinding(*place, entry.severity, None, None, entry.title, body, "", None, url, is_inline)


def _permalink(facts: PullRequestFacts, path: str, side: Side, start: int | None, line: int | None) -> str:
    """Return the address of lines in the analysed commit; for removed lines, in the base commit. "" if unknown."""
    commit = facts.pull_request.head_sha
    if side == "LEFT":
        commit = facts.pull_request.base_sha
        files = facts.selection.files
        path = next((file.previous_path for file in files if file.path == path), None) or path
    return permalink(facts.pull_request.html_url, commit, path, line, start=start)


def list_candidates(facts: PullRequestFacts, reply: Reply) -> tuple[Candidate, ...]:
    """Return the findings as the prompt shows them that tries to refute them: the new ones, then the undecided ones."""
    result, patches = find_findings(facts, reply), facts.selection.patches
    tokens = EXCERPT_TOKENS // max(len(result.raised), 1)
    new = ((one, _excerpt(patches[one.path], one, tokens)) for _, one in result.raised)
    earlier = ((one, _excerpt_quote(patches, one)) for one in result.undecided)
    found: tuple[tuple[Finding | LedgerEntry, str | None], ...] = (*new, *earlier)
    return tuple(
        Candidate(
            number,
            one.path,
            one.line or 0,
            one.severity,
            one.title,
            one.body,
            code or "",
            is_earlier=isinstance(one, LedgerEntry),
        )
        for number, (one, code) in enumerate(found, start=1)
    )


def _excerpt(patch: Patch, finding: Finding, tokens: int) -> str:
    """Return the numbered lines of the finding and those around them: as many as fit into `tokens`.

    Its last line is always among them. Its other lines are, too, if they have at most `QUOTE_TOKENS`.
    """
    numbers = range(finding.start_line or finding.line, finding.line + 1)
    hunk, within = next(reversed([*find_within(patch, finding.side, numbers)]))
    needed = sum(_count_tokens(hunk.lines[index]) for index in within)
    if needed > max(tokens, QUOTE_TOKENS):
        within, needed = within[-1:], _count_tokens(hunk.lines[within[-1]])
    return _number_around([(hunk, within)], tokens - needed)


def _excerpt_quote(patches: Mapping[str, Patch], entry: LedgerEntry) -> str | None:
    """Return the numbered lines of an earlier finding with lines around them; None if its lines do not fit."""
    quoted = [*find_within(patches[entry.path], entry.side, entry.quoted_lines)]
    lines = [hunk.lines[index] for hunk, within in quoted for index in within]
    tokens = QUOTE_TOKENS - sum(map(_count_tokens, lines))
    if not lines or tokens < 0 or any(len(line.text) > MAX_LINE_CHARS for line in lines):
        return None
    return _number_around(quoted, tokens // len(quoted))


def _number_around(hunks: Iterable[tuple[Hunk, range]], tokens: int) -> str:
    """Return the numbered lines of hunks at these indexes, with as many around them as fit into `tokens` for each."""
    return numbered(Patch(tuple(Hunk(one.header, _lines_around(one.lines, within, tokens)) for one, within in hunks)))


def _lines_around(lines: Sequence[Line], within: range, tokens: int) -> tuple[Line, ...]:
    """Return the lines `within`, and as many around them as fit into `tokens`."""
    first, last, left = within.start, within.stop - 1, tokens
    for distance in range(1, EXCERPT_LINES + 1):
        for at in (within.start - distance, within.stop - 1 + distance):
            is_next = at in (first - 1, last + 1) and 0 <= at < len(lines)
            if is_next and (needed := _count_tokens(lines[at])) <= left:
                first, last, left = min(first, at), max(last, at), left - needed
    return tuple(replace(line, text=line.text[:MAX_LINE_CHARS]) for line in lines[first : last + 1])


def _count_tokens(line: Line) -> int:
    return estimate_tokens(number_line(line)[:MAX_LINE_CHARS])
