"""Selects the changed files that a review reads, packs them into calls of Claude, and records what was reviewed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Literal, get_args

from hls_handler.handlers.linguist import NO_ATTRIBUTES, LinguistAttributes
from hls_handler.handlers.reader import ChangedFile
from hls_handler.handlers.skipped_files import OVERRIDES, SkippedFile, find_skip_reason
from hls_handler.prompting.render import CHARACTERS_PER_TOKEN, estimate_tokens
from hls_handler.review.blocks import Block, PlacedBlock, find_blocks, match_blocks
from hls_handler.review.coverage import Coverage, FileCoverage
from hls_handler.review.functions import find_lines_above
from hls_handler.review.patches import Hunk, Line, Patch, Side, number_line, numbered, parse_numbered, parse_patch
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
    changed: tuple[ChangedLines, ...] = ()  # in the order of the patch; () unless it is shown by a call
    above: str = ""  # numbered lines above the hunks, from the beginning of their functions

    @property
    def base_path(self) -> str:
        """The path in the base, which names the file in a `ReviewRecord`."""
        return self.previous_path if self.previous_path and self.status == "renamed" else self.path


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
    new: Mapping[str, frozenset[int]]  # indexes of the blocks of each path that the calls are to show
    oversized: tuple[int, ...] = ()  # indexes of the files with a block that has a line too long for one call
    unshown: tuple[int, ...] = ()  # indexes of the files of which the prompt's template left out a part
    above: tuple[tuple[str, ...], ...] = ()
    """Of each file and hunk, the numbered lines above it that the calls show; () for files without such lines."""

    @cached_property
    def patches(self) -> Mapping[str, Patch]:
        """The whole patches of `files`, by path."""
        return {file.path: parse_numbered(file.numbered) for file in self.files}

    @cached_property
    def blocks(self) -> Mapping[str, tuple[PlacedBlock, ...]]:
        return {path: find_blocks(path, patch) for path, patch in self.patches.items()}

    @cached_property
    def shown_patches(self) -> Mapping[str, Patch]:
        """The parts of the patches that the calls show, by path."""
        hunks: dict[str, list[Hunk]] = {}
        for part in (part for call in self.calls for part in call):
            path = self.files[part.file].path
            hunks.setdefault(path, []).extend(_cut_hunks(self.patches[path], part))
        return {path: Patch(tuple(of_file)) for path, of_file in hunks.items()}

    def list_new(self, path: str) -> list[PlacedBlock]:
        return [self.blocks[path][index] for index in sorted(self.new.get(path, ()))]


def parse_files(files: Iterable[ChangedFile]) -> Mapping[str, Patch]:
    """Return the patches of the files as prompts show them, by path."""
    return {file.path: redact_patch(file.patch) for file in reversed([*files]) if file.patch}


def redact_patch(text: str) -> Patch:
    """Parse a patch, and return it cleaned and without credentials.

    A part of a private key cannot be recognised, so this comes before a patch is split.
    """
    return parse_numbered(redact_code(clean(CodeText(f"{numbered(parse_patch(text))}\n"))))


def select_files(
    files: Sequence[ChangedFile],
    patches: Mapping[str, Patch],
    *,
    new: Mapping[str, frozenset[int]],
    tokens: int,
    ignored_paths: PathFilter,
    max_calls: int = MAX_CALLS,
    attributes: LinguistAttributes | None = NO_ATTRIBUTES,
) -> Selection:
    """Return the files to review and their parts for each call, each of at most `tokens`.

    `patches` are those of `parse_files`, and `new` the indexes of the blocks of each path that were not reviewed
    before: only hunks with such blocks are shown. If `attributes` is None, they are unknown, and files that they could
    select need a review. A file is split between hunks, and a hunk that is longer than a call between lines. Source
    code comes first, and if not everything fits into `max_calls`, small files before large ones.
    """
    read: list[PatchedFile] = []
    skipped: list[SkippedFile] = []
    seen: set[str] = set()
    for file in files:
        patch = patches.get(file.path, Patch(()))
        is_twice = file.path in seen
        reason = "listed twice by GitHub" if is_twice else find_skip_reason(file, patch, ignored_paths, attributes)
        seen.add(file.path)
        if reason is None:
            status, counts = STATUSES.get(file.status, "changed"), (file.additions, file.deletions)
            cut = is_shortened(file, parse_patch(file.patch or ""))
            read.append(PatchedFile(file.path, file.previous_path, status, *counts, numbered(patch), cut))
        else:
            skipped.append(SkippedFile(file.path, reason, file.previous_path))
    read.sort(key=_rank)
    of_read = {file.path: new.get(file.path, frozenset()) for file in read}
    selection = _pack(Selection(tuple(read), (), tuple(skipped), of_read), tokens)
    if len(selection.calls) > max_calls:  # small files first, so that a large one does not take the calls of all others
        read.sort(key=lambda file: (_rank(file), len(file.numbered)))
        selection = _pack(replace(selection, files=tuple(read)), tokens)
    return replace(selection, calls=selection.calls[:max_calls])


def _pack(selection: Selection, tokens: int) -> Selection:
    """Return the selection with the calls, and with the files that have a line which fits no call."""
    calls: list[list[FilePart]] = [[]]
    oversized: list[int] = []
    left = tokens
    for index, file in enumerate(selection.files):
        overhead, most = _count_overhead(file, tokens)
        new = selection.list_new(file.path)
        fitting = [block for block in new if _fits(block, selection.patches[file.path], most)]
        oversized += [index] if len(fitting) < len(new) else []
        for part, size in _split(selection.patches[file.path], index, fitting, most):
            needed = overhead + size
            if needed > left and calls[-1]:
                calls.append([])
                left = tokens
            calls[-1].append(part)
            left -= needed
    return replace(selection, calls=tuple(tuple(call) for call in calls if call), oversized=tuple(oversized))


def _count_overhead(file: PatchedFile, tokens: int) -> tuple[int, int]:
    """Return the tokens of a file besides its patch, and the most that a call has for the patch."""
    # The path is counted, because it may have 4,096 characters.
    overhead = max(TOKENS_PER_FILE, TOKENS_PER_FILE // 2 + estimate_tokens(f"{file.path}{file.previous_path or ''}"))
    return overhead, max(min(tokens, overhead + MAX_PATCH_TOKENS) - overhead, 0)


def _fits(block: PlacedBlock, patch: Patch, most: int) -> bool:
    """Return False if a line of the block is too long for one call: then the block is not read."""
    room = most - estimate_tokens(f"{patch.hunks[block.hunk].header}\n")
    return not any(len(one.text) > room and estimate_tokens(f"{number_line(one)}\n") > room for one in block.lines)


def _split(patch: Patch, index: int, new: Sequence[PlacedBlock], most: int) -> Iterable[tuple[FilePart, int]]:
    """Yield the parts of a file that have new blocks, each with the tokens of its patch, at most `most`."""
    group: list[int] = []
    used = 0
    for number in dict.fromkeys(block.hunk for block in new):
        hunk = patch.hunks[number]
        needed = estimate_tokens(f"{numbered(Patch((hunk,)))}\n")
        if group and used + needed > most:
            yield FilePart(index, tuple(group)), used
            group, used = [], 0
        if needed <= most:
            group.append(number)
            used += needed
            continue
        for (start, end), size in _split_hunk(hunk, most):
            if size <= most and any(one.hunk == number and one.first < end and start <= one.last for one in new):
                yield FilePart(index, (number,), (start, end)), size
    if group:
        yield FilePart(index, tuple(group)), used


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


def show_files(selection: Selection, parts: Iterable[FilePart]) -> tuple[PatchedFile, ...]:
    """Return the parts of files as prompts show them. A file has an entry for each of its parts."""
    return tuple(_show(selection, part) for part in parts)


def _show(selection: Selection, part: FilePart) -> PatchedFile:
    file = selection.files[part.file]
    whole = selection.patches[file.path]
    shown = Patch(tuple(_cut_hunks(whole, part)))
    unlisted = max(file.additions + file.deletions - _count_changed(whole), 0) if file.cut else 0
    missing = _count_changed(whole) - _count_changed(shown) + unlisted
    text = numbered(shown)
    if missing:
        lines = f"{count(missing, 'more changed line')} of this file {is_or_are(missing)}"
        text = f"{text}\n[cut here: {lines} not shown]"
    start, end = part.lines or (0, len(text))
    changed: list[ChangedLines] = []
    for block in selection.list_new(file.path):
        if block.hunk in part.hunks:
            changed += _join_lines(block.lines[max(start - block.first, 0) : max(end - block.first, 0)])
    # Hunks of one function have the same beginning.
    above = selection.above[part.file] if selection.above and _has_beginning(part) else ()
    numbers = part.hunks if above else ()
    lines_above = dict.fromkeys(line for number in numbers for line in above[number].split("\n") if line)
    cut = file.cut or missing > 0
    return replace(file, numbered=text, cut=cut, changed=tuple(changed), above="\n".join(lines_above))


def _join_lines(lines: Iterable[Line]) -> list[ChangedLines]:
    """Return the lines of a block, neighbours on one side joined."""
    runs: list[ChangedLines] = []
    for line in lines:
        if runs and (line.side, line.number) == (runs[-1].side, runs[-1].last + 1):
            runs[-1] = replace(runs[-1], last=line.number)
        else:
            runs.append(ChangedLines(line.side, line.number, line.number))
    return runs


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
        used = sum(estimate_tokens(file.numbered) + TOKENS_PER_FILE for file in show_files(selection, call))
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
    known: Mapping[str, Sequence[Block]] = MappingProxyType({}),
) -> Coverage:
    """Return what was reviewed of each file. `unanswered` are the calls without a reply, with the reason of each.

    `known` are the reviewed blocks of each file, if this review reads everything again: they stay reviewed.
    """
    not_asked = {part.file: why for number, why in unanswered.items() for part in selection.calls[number]}
    files: list[FileCoverage] = []
    for index, file in enumerate(selection.files):
        hunks, unread = selection.patches[file.path].hunks, _find_unread(selection, index, unanswered, known)
        reason = None
        if unread:
            reason = not_asked.get(index, _why_unread(selection, index))
        elif file.cut:
            reason = "GitHub shortened its patch"
        elif show_name(file.path) != file.path or "\n" in file.path:
            reason = "Claude was not shown its name as it is"  # and another file may look the same
        missing = {block.hunk for block, _ in unread}
        one = FileCoverage(file.path, len(hunks), len(hunks) - len(missing), reason, needs_review=True)
        changed = sum(_count_changed(Patch((hunks[number],))) for number in missing)
        unread_lines = sum(number for _, number in unread)
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


def list_unread(
    selection: Selection,
    file: int,
    unanswered: Collection[int],
    known: Mapping[str, Sequence[Block]] = MappingProxyType({}),
) -> list[PlacedBlock]:
    """Return the blocks of a file that were reviewed neither now nor before. `known` as for `cover`."""
    return [block for block, _ in _find_unread(selection, file, unanswered, known)]


def _find_unread(
    selection: Selection, file: int, unanswered: Collection[int], known: Mapping[str, Sequence[Block]]
) -> list[tuple[PlacedBlock, int]]:
    """Return the blocks of `list_unread`, each with the number of its lines that were not read."""
    path, name = selection.files[file].path, selection.files[file].base_path
    answered = (call for number, call in enumerate(selection.calls) if number not in unanswered)
    parts = [part for call in answered for part in call if part.file == file]
    before = match_blocks(known.get(name, ()), selection.blocks[path])

    def count_unread(block: PlacedBlock) -> int:
        ranges = [part.lines or (0, block.last + 1) for part in parts if block.hunk in part.hunks]
        lines = range(block.first, block.last + 1)
        return sum(not any(start <= at < end for start, end in ranges) for at in lines)

    new = (selection.blocks[path][at] for at in sorted(selection.new.get(path, ())) if at not in before)
    return [(block, number) for block in new if (number := count_unread(block))]


def _rank(file: PatchedFile) -> int:
    path = file.path.lower()
    if file.status == "removed":
        return 3
    if WORKFLOW_FILES.search(path):
        return 0
    if TEST_FILES.search(path):
        return 1
    return 2 if DOCUMENTATION.search(path) or SETTINGS_FILES.search(path) else 0


def is_shortened(file: ChangedFile, patch: Patch) -> bool:
    """Return True if GitHub left out lines of a long patch. It gives no notice: only the numbers of lines show it."""
    return file.additions + file.deletions > _count_changed(patch)


def _count_changed(patch: Patch) -> int:
    return sum(line.mark != " " for hunk in patch.hunks for line in hunk.lines)
