"""Selects the changed files that a review reads, packs them into calls of Claude, and records what was reviewed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from types import MappingProxyType
from typing import Literal, get_args

from hls_handler.handlers.linguist import NO_ATTRIBUTES, LinguistAttributes
from hls_handler.handlers.reader import ChangedFile
from hls_handler.handlers.skipped_files import OVERRIDES, SkippedFile, find_skip_reason
from hls_handler.prompting.render import CHARACTERS_PER_TOKEN, estimate_tokens
from hls_handler.review.changes import digest_hunk, find_changed_lines, with_present_headings
from hls_handler.review.coverage import Coverage, FileCoverage
from hls_handler.review.functions import find_lines_above
from hls_handler.review.patches import Hunk, Line, Patch, Side, number_line, numbered, parse_numbered, parse_patch
from hls_handler.review.positions import Position
from hls_handler.settings.values import PathFilter
from hls_handler.untrusted.cleaning import LONGEST_TEXT, CodeText, clean, count_shown, show_name
from hls_handler.untrusted.redaction import redact_code
from hls_handler.wording import count, is_or_are

Status = Literal["added", "removed", "modified", "renamed", "copied", "changed", "unchanged"]
"""Values of `status` in GitHub's list of changed files."""

STATUSES: Mapping[str, Status] = {status: status for status in get_args(Status)}

TEST_FILES = re.compile(r"(^|/)(tests?|specs?|__tests__)/|(^|/)test_[^/]*$|(_test|_spec|\.test|\.spec)\.[a-z]+$")
DOCUMENTATION = re.compile(r"(^|/)(docs?|changelog|license)(/|$)|\.(md|mdx|rst|txt|adoc)$")
SETTINGS_FILES = re.compile(r"\.(json|ya?ml|toml|ini|cfg|conf|properties|xml|csv|svg|lock)$|(^|/)\.[^/]+$")
WORKFLOW_FILES = re.compile(r"^\.github/(workflows|actions)/")

LINE_ENDS = re.compile("[\x0b-\r\x1c-\x1e\x85\u2028\u2029]")  # within a line of a patch, which ends with "\n"
REDACTED = re.compile(r"\[redacted: [a-z-]{1,30}\]")

# Patterns of `_is_text`
QUOTED_TEXT = re.compile(r"[\w@!](?:[\w.+/:@!*^~,-]*[\w/:@!*^~?-])?(?:=*|\.\.\.)")  # between two quotation marks
BARE_TEXT = re.compile(r"-?\w(?:[\w.+/:@!,-]*\w)?")  # anywhere else
CODE = re.compile(
    r"//|/\*|\*/|--|\+\+|__|@@|\^\^|[,+*:~^!-]/"  # a comment, an increment, the end of a program, a regex
    r"|\b(?:q[qwxr]?|[msy]|tr)[^\w\s]"  # quotes of Perl, which can be commands
    r"|/[^/]*/[a-z]{0,4}e[a-z]{0,4}\Z"  # of sed and Perl: what replaces the text is executed
    r"|(?:^|(?<![\w.])[0-9][\w.]*?-?)"  # operators after a number, such as `1or-1`, and after what precedes the value
    r"(?:and|andalso|as|between|cmp|collate|div|else|eq|except|for|ge|glob|gt|if|in|intersect|is|isa|le|like|lt|match"
    r"|minus|mod|ne|not|of|or|orelse|regexp|rescue|rlike|then|union|unless|until|when|where|while|xor)(?!\w)",
    re.IGNORECASE,
)
COMMAND_BEFORE_STRING = re.compile(
    r"(?:^|\W)(?:do|eval|exec|execute|load|print|q[qwxr]?|require|system)\Z", re.IGNORECASE
)
STRING_PREFIX = re.compile(r"(?:^|\W)[a-z][a-z0-9]{0,2}\Z", re.IGNORECASE)  # such as f in Python
OPENING_QUOTE = re.compile(r"\\*[\"']\Z")
QUOTES = ('"', "'", "`", "\\")  # what a quotation mark begins with, which may be escaped
ESCAPE_IN_URL = re.compile(r"%(?!(?:25)*(?:0[ad]|2[26-9]|3[bce]|5[bc]|60|7[bc]))[0-9a-f]{2}", re.IGNORECASE)
"""All escapes but those of line ends, quotes and brackets."""

TOKENS_PER_FILE = 100  # tokens of a file in addition to its patch: name, counts and delimiters

MAX_CALLS = 30
"""Limit on the calls of Claude for one review; `review.max_usd` usually ends a review earlier."""

ABOVE_SHARE = 0.15  # of the tokens of a call, at most, for lines above hunks

MAX_PATCH_TOKENS = int((LONGEST_TEXT - 100) / CHARACTERS_PER_TOKEN)
"""Limit on the tokens of one patch. The patch and a note that it is cut must fit into `LONGEST_TEXT` characters."""


@dataclass(frozen=True, slots=True)
class ChangedLines:
    """Lines that changed since the last review. In the first review, all removed and added lines."""

    side: Side
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class PatchedFile:
    path: str
    previous_path: str | None  # if renamed
    status: Status
    additions: int
    deletions: int
    numbered: str  # the patch, redacted, each line with its side and number: "R   11 + return side ** 2"
    cut: bool  # True if only a part of the patch is shown
    changed: tuple[ChangedLines, ...] = ()  # in the order of the patch
    above: str = ""  # numbered lines above the hunks, from the beginning of their functions


@dataclass(frozen=True, slots=True)
class FilePart:
    """The part of a file that one call shows."""

    file: int  # index in `Selection.files`
    hunks: tuple[int, ...]  # indexes of its hunks
    lines: tuple[int, int] | None = None
    """Of a hunk that is too long for one call: the index of its first line and that after the last. None: all lines."""


@dataclass(frozen=True)
class Selection:
    files: tuple[PatchedFile, ...]  # with the whole patch, most important first
    calls: tuple[tuple[FilePart, ...], ...]  # what each call shows
    skipped: tuple[SkippedFile, ...]  # in GitHub's order
    oversized: tuple[int, ...] = ()  # indexes of the files with a changed line that is too long for one call
    unshown: tuple[int, ...] = ()  # indexes of the files of which the prompt's template left out a part
    above: tuple[tuple[str, ...], ...] = ()
    """Of each file and hunk, the numbered lines above it that the calls show; () for files without such lines."""

    @cached_property
    def patches(self) -> Mapping[str, Patch]:
        """The whole patches of `files`, by path."""
        return {file.path: parse_numbered(file.numbered) for file in self.files}

    @cached_property
    def shown_patches(self) -> Mapping[str, Patch]:
        """The parts of the patches that the calls show, by path."""
        hunks: dict[str, list[Hunk]] = {}
        for part in (part for call in self.calls for part in call):
            path = self.files[part.file].path
            hunks.setdefault(path, []).extend(_cut_hunks(self.patches[path], part))
        return {path: Patch(tuple(of_file)) for path, of_file in hunks.items()}


def select_files(
    files: Sequence[ChangedFile],
    *,
    tokens: int,
    ignored_paths: PathFilter,
    reviewed: Mapping[str, Sequence[str]],
    max_calls: int = MAX_CALLS,
    attributes: LinguistAttributes | None = NO_ATTRIBUTES,
) -> Selection:
    """Return the files to review and their parts for each call, each of at most `tokens`.

    `reviewed` are the digests of the hunks of each path that were reviewed (`review.changes`): only hunks with other
    lines are shown. If `attributes` is None, they are unknown, and files that they could select need a review.
    A file is split between hunks, and a hunk that is longer than a call between lines. Source code comes first, and
    if not everything fits into `max_calls`, small files before large ones.
    """
    read: list[tuple[ChangedFile, Patch]] = []
    skipped: list[SkippedFile] = []
    seen: set[str] = set()
    for file in files:
        patch = parse_patch(file.patch or "")
        is_twice = file.path in seen
        reason = "listed twice by GitHub" if is_twice else find_skip_reason(file, patch, ignored_paths, attributes)
        seen.add(file.path)
        if reason is None:
            read.append((file, patch))
        else:
            skipped.append(SkippedFile(file.path, reason, file.previous_path))
    read.sort(key=lambda one: _rank(one[0]))
    found: list[_Readable] = []
    for file, whole in read:
        patch = redact_patch(whole)
        cut = _is_cut(file, whole, patch)
        found.append((file, patch, _to_patched_file(file, patch, reviewed.get(file.path, ()), cut=cut)))
    calls, oversized = _pack(found, tokens)
    if len(calls) > max_calls:  # small files first, so that a large one does not take the calls of all others
        found.sort(key=lambda one: (_rank(one[0]), len(one[2].numbered)))
        calls, oversized = _pack(found, tokens)
    asked = tuple(tuple(call) for call in calls[:max_calls] if call)
    return Selection(tuple(patched for _, _, patched in found), asked, tuple(skipped), oversized)


_Readable = tuple[ChangedFile, Patch, PatchedFile]  # with the patch as prompts show it


def _pack(files: Sequence[_Readable], tokens: int) -> tuple[list[list[FilePart]], tuple[int, ...]]:
    """Return the parts of files for each call, and the indexes of files with a line that fits no call."""
    calls: list[list[FilePart]] = [[]]
    oversized: dict[int, None] = {}
    left = tokens
    for index, (file, patch, patched) in enumerate(files):
        for part, needed in _split(index, file, patch, patched.changed, tokens):
            if needed is None:
                oversized[index] = None
                continue
            if needed > left and calls[-1]:
                calls.append([])
                left = tokens
            calls[-1].append(part)
            left -= needed
    return calls, tuple(oversized)


def redact_patch(patch: Patch) -> Patch:
    """Return the patch with the lines that prompts show, so that cleaning and redacting it again changes nothing more.

    A line from which only invisible characters and "\\r" would be removed stays as it is, so that a push which changes
    these is reviewed. A part of a private key cannot be recognised, so this comes before the patch is split.
    """
    text = f"{numbered(patch)}\n"
    cleaned = clean(CodeText(text))
    shown = parse_numbered(redact_code(cleaned))
    if cleaned == text:
        return shown
    texts = {(line.side, line.number): line.text for hunk in patch.hunks for line in hunk.lines}

    def restore(line: Line) -> Line:
        original = texts[line.side, line.number]
        return replace(line, text=original) if _clean_line(original) == line.text else line

    restored = Patch(tuple(replace(hunk, lines=tuple(map(restore, hunk.lines))) for hunk in shown.hunks))
    return restored if redact_code(numbered(restored)) == numbered(restored) else shown


def _split(
    index: int, file: ChangedFile, patch: Patch, changed: Sequence[ChangedLines], tokens: int
) -> Iterable[tuple[FilePart, int | None]]:
    """Yield the parts of a file that have changed lines, each with its tokens; None for a line that fits no call."""
    overhead = _overhead_tokens(file)
    most = max(min(tokens, overhead + MAX_PATCH_TOKENS) - overhead, 0)
    group: list[int] = []
    used = 0
    for number, indexes in enumerate(_find_changed_indexes(patch, _list_positions(changed))):
        if not indexes:
            continue
        hunk = patch.hunks[number]
        needed = estimate_tokens(f"{numbered(Patch((hunk,)))}\n")
        if group and used + needed > most:
            yield FilePart(index, tuple(group)), overhead + used
            group, used = [], 0
        if needed <= most:
            group.append(number)
            used += needed
            continue
        for lines, size in _split_hunk(hunk, most):
            if not indexes.isdisjoint(range(*lines)):
                yield FilePart(index, (number,), lines), overhead + size if size <= most else None
    if group:
        yield FilePart(index, tuple(group)), overhead + used


def _split_hunk(hunk: Hunk, tokens: int) -> Iterable[tuple[tuple[int, int], int]]:
    """Yield parts of a hunk that fit into `tokens`, and each line that does not: its range of indexes, its tokens."""
    header = estimate_tokens(f"{hunk.header}\n")
    start, used = 0, header
    for index, line in enumerate(hunk.lines):
        needed = estimate_tokens(f"{number_line(line)}\n")
        if used + needed > tokens and index > start:
            yield (start, index), used
            start, used = index, header
        used += needed
    yield (start, len(hunk.lines)), used


def _find_changed_indexes(patch: Patch, positions: Collection[Position]) -> Sequence[set[int]]:
    """Return for each hunk the indexes of its lines that are at these positions."""
    return [
        {index for index, line in enumerate(hunk.lines) if (line.side, line.number) in positions}
        for hunk in patch.hunks
    ]


def _list_positions(changed: Iterable[ChangedLines]) -> set[Position]:
    return {(lines.side, number) for lines in changed for number in range(lines.first, lines.last + 1)}


def show_files(selection: Selection, parts: Iterable[FilePart]) -> tuple[PatchedFile, ...]:
    """Return the parts of files as prompts show them. A file has an entry for each of its parts."""
    parts = tuple(parts)
    above = selection.above or ((),) * len(selection.files)
    files = {index: selection.files[index] for index in {part.file for part in parts}}
    patches = {index: selection.patches[file.path] for index, file in files.items()}
    changed = {index: _list_positions(file.changed) for index, file in files.items()}
    return tuple(
        _show(files[part.file], patches[part.file], part, changed[part.file], above[part.file]) for part in parts
    )


def may_have_calls(selection: Selection) -> bool:
    """Return True if there is something to ask Claude, or could be with other linguist attributes."""
    return bool(selection.calls) or any(file.reason in OVERRIDES for file in selection.skipped)


def find_files_above(selection: Selection) -> tuple[str, ...]:
    """Return the paths of shown files that may have lines above a hunk, in the order of the calls."""
    parts = (part for call in selection.calls for part in call)
    files = {part.file: selection.files[part.file] for part in parts}
    return tuple(
        file.path
        for file in files.values()
        if file.status not in ("added", "removed")
        and any(line.number > 1 for hunk in selection.patches[file.path].hunks for line in hunk.lines[:1])
    )


def with_lines_above(selection: Selection, texts: Mapping[str, str], *, tokens: int) -> Selection:
    """Return the selection with the lines above the hunks; `texts` are new files, by path.

    Each call gets as many as its `tokens` have room for beside its patches, and at most `ABOVE_SHARE` of `tokens`. So
    the patches and their division into calls do not change.
    """
    parts = [part for call in selection.calls for part in call]
    shown = iter(show_files(selection, parts))
    above = {
        index: [
            "\n".join(map(number_line, lines))
            for lines in find_lines_above(texts[file.path], selection.patches[file.path])
        ]
        for index in {part.file for part in parts}
        if (file := selection.files[index]).path in texts
    }
    found = {index: [""] * len(of_file) for index, of_file in above.items()}
    for call in selection.calls:
        used = sum(estimate_tokens(file.numbered) + TOKENS_PER_FILE for file in islice(shown, len(call)))
        room = min(tokens - used, int(tokens * ABOVE_SHARE))
        for part in call:
            for number in part.hunks if part.file in above and _has_beginning(part) else ():
                text = above[part.file][number]
                needed = estimate_tokens(f"{text}\n")
                if text and needed <= room:
                    found[part.file][number] = text
                    room -= needed
    return replace(selection, above=tuple(tuple(found.get(index, ())) for index in range(len(selection.files))))


def _has_beginning(part: FilePart) -> bool:
    return part.lines is None or part.lines[0] == 0


def _show(
    file: PatchedFile, whole: Patch, part: FilePart, positions: Collection[Position], above: Sequence[str]
) -> PatchedFile:
    hunks = _cut_hunks(whole, part)
    shown = Patch(tuple(hunks))
    unlisted = max(file.additions + file.deletions - _count_changed(whole), 0) if file.cut else 0
    missing = _count_changed(whole) - _count_changed(shown) + unlisted
    text = numbered(shown)
    if missing:
        lines = f"{count(missing, 'more changed line')} of this file {is_or_are(missing)}"
        text = f"{text}\n[cut here: {lines} not shown]"
    indexes = _find_changed_indexes(shown, positions)
    changed = tuple(lines for hunk, of_hunk in zip(hunks, indexes, strict=True) for lines in _join_lines(hunk, of_hunk))
    # Hunks of one function have the same beginning.
    numbers = part.hunks if above and _has_beginning(part) else ()
    lines_above = dict.fromkeys(line for number in numbers for line in above[number].split("\n") if line)
    return replace(file, numbered=text, cut=file.cut or missing > 0, changed=changed, above="\n".join(lines_above))


def _cut_hunks(patch: Patch, part: FilePart) -> list[Hunk]:
    hunks = [patch.hunks[number] for number in part.hunks]
    return hunks if part.lines is None else [Hunk(hunk.header, hunk.lines[slice(*part.lines)]) for hunk in hunks]


def find_unshown(files: Sequence[PatchedFile], task: str) -> tuple[int, ...]:
    """Return the indexes of the files whose `numbered` is not in the rendered prompt as a whole, as code."""
    counts = count_shown(task, [file.numbered for file in files])
    wanted = Counter(file.numbered for file in files)
    return tuple(index for index, file in enumerate(files) if counts[file.numbered] < wanted[file.numbered])


def leave_out(selection: Selection, unshown: Mapping[int, Collection[int]]) -> Selection:
    """Return the selection without the parts that prompts did not show. `unshown` are their indexes in each call."""
    calls = tuple(
        tuple(part for index, part in enumerate(call) if index not in unshown.get(number, ()))
        for number, call in enumerate(selection.calls)
    )
    files = {selection.calls[number][index].file for number, indexes in unshown.items() for index in indexes}
    return replace(selection, calls=calls, unshown=tuple(sorted(files)))


def cover(
    selection: Selection,
    unanswered: Mapping[int, str],
    *,
    unlisted: int,
    earlier: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Coverage:
    """Return what was reviewed of each file. `unanswered` are the calls without a reply, with the reason of each.

    `earlier` as for `digest_reviewed`.
    """
    unread: dict[int, dict[int, set[int]]] = {}
    for (index, number), lines in _find_unread(selection, unanswered, earlier).items():
        unread.setdefault(index, {})[number] = lines
    not_asked = {part.file: why for number, why in unanswered.items() for part in selection.calls[number]}
    files: list[FileCoverage] = []
    for index, file in enumerate(selection.files):
        hunks, missing = selection.patches[file.path].hunks, unread.get(index, {})
        reason = None
        if file.cut:
            reason = "GitHub shortened its patch, or hidden credentials may hide code"
        elif show_name(file.path) != file.path or "\n" in file.path:
            reason = "Claude was not shown its name as it is"  # and another file may look the same
        if missing:
            reason = not_asked.get(index, _why_unread(selection, index))
        one = FileCoverage(file.path, len(hunks), len(hunks) - len(missing), reason, needs_review=True)
        changed = sum(_count_changed(Patch((hunks[number],))) for number in missing)
        unread_lines = sum(map(len, missing.values()))
        if unread_lines < changed:
            one = replace(one, lines_in_part=changed, reviewed_in_part=changed - unread_lines)
        files.append(one)
    files += [FileCoverage(file.path, 0, 0, file.reason, file.needs_review) for file in selection.skipped]
    return Coverage(tuple(files), unlisted)


def _why_unread(selection: Selection, file: int) -> str:
    if file in selection.unshown:
        return "the prompt shows only a part of it"
    if file in selection.oversized:
        return "a line is too long for one call"
    return "the pull request is too large for one review"


def digest_reviewed(
    selection: Selection, unanswered: Collection[int], earlier: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> dict[str, tuple[str, ...]]:
    """Return the digests of the lines of each path that are reviewed now, as `select_files` needs them next time.

    `earlier` are those of a review before one that reads everything again: what that one leaves unread stays reviewed.
    """
    unread = _find_unread(selection, unanswered, earlier)
    return {
        file.path: tuple(
            digest
            for number, hunk in enumerate(with_present_headings(selection.patches[file.path]).hunks)
            if (digest := digest_hunk(hunk, unread.get((index, number), ())))
        )
        for index, file in enumerate(selection.files)
    }


def _find_unread(
    selection: Selection, unanswered: Collection[int], earlier: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> dict[tuple[int, int], set[int]]:
    """Return the indexes of the lines that were reviewed neither now nor before, by (file, hunk)."""
    unread = {
        (index, number): lines
        for index, file in enumerate(selection.files)
        if file.changed
        for number, lines in enumerate(
            _find_changed_indexes(selection.patches[file.path], _list_positions(file.changed))
        )
    }
    for number, call in enumerate(selection.calls):
        for part in call if number not in unanswered else ():
            for hunk in part.hunks:
                if part.lines is None:
                    unread[part.file, hunk].clear()
                else:
                    unread[part.file, hunk].difference_update(range(*part.lines))
    for index, path in {index: selection.files[index].path for index, _ in unread}.items() if earlier else ():
        for number, changed in enumerate(find_changed_lines(selection.patches[path], earlier.get(path, ()))):
            unread.get((index, number), set()).intersection_update(changed)
    return {place: lines for place, lines in unread.items() if lines}


def find_read(selection: Selection, unanswered: Collection[int]) -> set[str]:
    """Return the paths of the files of which calls with a reply showed parts, and whose changed lines are all read."""
    unread = {file for file, _ in _find_unread(selection, unanswered)}
    shown = {part.file for number, call in enumerate(selection.calls) if number not in unanswered for part in call}
    return {selection.files[file].path for file in shown - unread}


def _overhead_tokens(file: ChangedFile) -> int:
    # The path is counted, because it may have 4,096 characters.
    return max(TOKENS_PER_FILE, TOKENS_PER_FILE // 2 + estimate_tokens(f"{file.path}{file.previous_path or ''}"))


def _rank(file: ChangedFile) -> int:
    path = file.path.lower()
    if file.status == "removed":
        return 3
    if WORKFLOW_FILES.search(path):
        return 0
    if TEST_FILES.search(path):
        return 1
    return 2 if DOCUMENTATION.search(path) or SETTINGS_FILES.search(path) else 0


def _to_patched_file(file: ChangedFile, patch: Patch, reviewed: Sequence[str], *, cut: bool) -> PatchedFile:
    status = STATUSES.get(file.status, "changed")
    changed = tuple(
        lines
        for hunk, indexes in zip(patch.hunks, find_changed_lines(patch, reviewed), strict=True)
        for lines in _join_lines(hunk, indexes)
    )
    place = (file.path, file.previous_path, status, file.additions, file.deletions)
    return PatchedFile(*place, numbered(patch), cut=cut, changed=changed)


def _is_cut(file: ChangedFile, whole: Patch, shown: Patch) -> bool:
    return is_shortened(file, whole) or bool(list_hidden_lines(whole, shown))


def is_shortened(file: ChangedFile, patch: Patch) -> bool:
    """Return True if GitHub left out lines of a long patch. It gives no notice: only the numbers of lines show it."""
    return file.additions + file.deletions > _count_changed(patch)


def list_hidden_lines(whole: Patch, shown: Patch) -> list[str]:
    """Return the changed lines of which `redact_patch` may have hidden code, not only a value.

    The lines of a private key are hidden, and there could be code between the same two marks, after a line end within
    a line, or in a value that a shell or a template executes.
    """
    texts: dict[Position, list[str]] = {}
    for line in reversed(_list_changed(shown)):
        texts.setdefault((line.side, line.number), []).append(line.text)
    hidden: list[str] = []
    for line in _list_changed(whole):
        same = texts.get((line.side, line.number))
        if not same or _hides_code(line.text, same.pop()):
            hidden += _split_line(line.text)
    return hidden


def _split_line(text: str) -> list[str]:
    return LINE_ENDS.split(text.removesuffix("\r"))


def _hides_code(text: str, shown: str) -> bool:
    if _clean_line(shown) == _clean_line(text):
        return False
    if len(_split_line(text)) > 1:
        return True
    cleaned = _clean_line(text)
    return not all(
        _is_text(value, cleaned[max(start - 40, 0) : start], cleaned[start + len(value) : start + len(value) + 8])
        for start, value in _list_hidden_values(cleaned, shown)
    )


def _is_text(value: str, before: str, after: str) -> bool:
    """Return True if a hidden value is certainly text: no command, and it does not change what the code around it does.

    `TOKEN=a1$(command)` is not, and neither is `"password='" + name + "'"`. Quotes on both sides may also end a string
    that began in a line above, and begin another one; then the value is code between them.
    """
    if before.endswith("`") or before.lower().endswith("script://"):
        return False
    opening = OPENING_QUOTE.search(before)
    is_quoted = opening is not None and after.startswith(opening[0])
    if after.startswith(QUOTES):
        if value.endswith("\\n"):
            value = value.removesuffix("\\n")
        elif COMMAND_BEFORE_STRING.search(value) or (not is_quoted and STRING_PREFIX.search(value)):
            return False
    if before.endswith("://"):
        value = ESCAPE_IN_URL.sub("x", value.removeprefix(":"))
    elif not after:
        value = value.removesuffix("==")
    text = QUOTED_TEXT if is_quoted else BARE_TEXT
    return text.fullmatch(value) is not None and CODE.search(value) is None


def _list_hidden_values(text: str, shown: str) -> Iterable[tuple[int, str]]:
    """Yield the parts of a line that are redacted in `shown`, each with its index in `text`."""
    *parts, last = REDACTED.split(shown)
    at = len(parts[0]) if parts else 0
    for part in parts[1:]:
        end = text.find(part, at)
        yield at, text[at:end] if end >= 0 else text[at:]
        at = end + len(part) if end >= 0 else len(text)
    yield at, text[at:].removesuffix(last)


def _clean_line(text: str) -> str:
    return clean(CodeText(text.removesuffix("\r")))


def _join_lines(hunk: Hunk, indexes: Collection[int]) -> Iterable[ChangedLines]:
    """Yield the lines with these indexes, neighbours on one side joined."""
    run: ChangedLines | None = None
    for index in sorted(indexes):
        line = hunk.lines[index]
        if run is not None and (line.side, line.number) == (run.side, run.last + 1):
            run = replace(run, last=line.number)
            continue
        if run is not None:
            yield run
        run = ChangedLines(line.side, line.number, line.number)
    if run is not None:
        yield run


def _list_changed(patch: Patch) -> list[Line]:
    return [line for hunk in patch.hunks for line in hunk.lines if line.mark != " "]


def _count_changed(patch: Patch) -> int:
    return len(_list_changed(patch))
