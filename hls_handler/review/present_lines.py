"""The present lines of earlier findings, as the questions about them show them.

They are from the patch if that has them, else from the file at the head commit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from hls_handler.analysis import estimate_tokens
from hls_handler.github.source import CommitFiles, read_texts
from hls_handler.github.values import ChangedFile
from hls_handler.review.blocks import token
from hls_handler.review.code_lines import CodeLines, LinesKind, cut_around, number_lines
from hls_handler.review.patches import (
    HUNK_HEADER,
    Line,
    Mark,
    Patch,
    Side,
)
from hls_handler.review.positions import code_of, find_line, letters_of
from hls_handler.review.present_files import PresentFiles
from hls_handler.review.record import LedgerEntry, ReviewRecord
from hls_handler.review.source_text import SourceText

EXCERPT_LINES = (40, 20, 10, 5, 2, 0)  # above and below a line; the first number that fits
LINES_AROUND = (7, 5, 3, 2, 1, 0)  # the same of a line whose function is too long or not known
PLACED_TOKENS = 75  # of the lines around a finding that is at its line
CHANGED_TOKENS = 250  # of the lines of one whose line changed
MAX_FILES = 20  # that are read, in one request


@dataclass(frozen=True, slots=True)
class FoundLines:
    """The present lines of earlier findings by their numbers, and why those of others are not
    known.
    """

    lines: Mapping[int, CodeLines] = field(default_factory=dict)
    unread: Mapping[int, str] = field(default_factory=dict)


def show_excerpt(
    patches: Mapping[str, Patch], path: str, side: Side, number: int | None, tokens: int
) -> str:
    """Return a line as numbered text, with as many around it as fit into `tokens`; "" if the
    patches lack it.
    """
    if path not in patches:
        return ""
    for hunk in patches[path].hunks:
        for at, line in enumerate(hunk.lines):
            if (line.side, line.number) == (side, number):
                return cut_around(hunk.lines, at, EXCERPT_LINES, tokens, header=hunk.header)
    return ""


def find_present_lines(
    entries: Sequence[LedgerEntry],
    record: ReviewRecord,
    files: PresentFiles,
    changed_files: Sequence[ChangedFile],
    commit_files: CommitFiles,
) -> FoundLines:
    """Return the present lines of findings: from the patches, or from at most `MAX_FILES` files of
    the head commit.

    These are read with one request.
    """
    if not entries:
        return FoundLines()
    by_name = {files.name(file.path): file for file in changed_files}
    lines: dict[int, CodeLines] = {}
    others: list[_UnplacedFinding] = []
    for entry in entries:
        file = by_name.get(entry.file)
        present = _find_in_patches(entry, record, files, file)
        if present is not None:
            lines[entry.number] = present
        elif file is not None and file.status == "removed":
            lines[entry.number] = CodeLines(file.path, "the file is gone")
        else:
            path = entry.file
            if file is not None:
                path = file.path
            others.append(_UnplacedFinding(entry, path))
    paths = [*dict.fromkeys(other.path for other in others)][:MAX_FILES]
    texts = read_texts(commit_files, paths)
    unread: dict[int, str] = {}
    readable: list[_UnplacedFinding] = []
    for other in others:
        entry = other.entry
        if other.path in texts.value:
            readable.append(replace(other, text=texts.value[other.path]))
        elif other.path in paths and files.is_as_in_base(entry.file, entry.path):
            kind: LinesKind = "the file is gone"
            if texts.problem:
                kind = "as in the base"
            lines[entry.number] = CodeLines(other.path, kind)
        else:
            unread[entry.number] = texts.problem or NOT_READ
    lines |= {other.entry.number: _find_in_file(other, files) for other in readable}
    return FoundLines(lines, unread)


NOT_READ = "its file is binary, or over 200,000 bytes, or one of too many"


@dataclass(frozen=True, slots=True)
class _UnplacedFinding:
    entry: LedgerEntry
    path: str  # in the head
    text: str = ""  # of the file at the head commit


def _find_in_patches(
    entry: LedgerEntry, record: ReviewRecord, files: PresentFiles, file: ChangedFile | None
) -> CodeLines | None:
    if entry.line is not None:
        tokens = PLACED_TOKENS
        if entry.is_undecided:
            tokens = CHANGED_TOKENS
        code = show_excerpt(files.patches, entry.path, entry.side, entry.line, tokens)
        return CodeLines(entry.path, text=code)
    if not entry.is_absent:
        moved = _find_moved(entry, record, files)
        if moved is not None:
            return moved
    if file is None or file.path not in files.patches:
        return None
    line = _find_beside(entry, files.patches[file.path])
    if line is None:
        return None
    return _show_changed(file.path, line, files)


def _show_changed(path: str, line: Line, files: PresentFiles) -> CodeLines:
    code = show_excerpt(files.patches, path, line.side, line.number, CHANGED_TOKENS)
    return CodeLines(path, text=code)


def _find_moved(entry: LedgerEntry, record: ReviewRecord, files: PresentFiles) -> CodeLines | None:
    """Return changed lines with the code of an entry, of a block that is new since it was
    raised.
    """
    having = files.list_with_code(entry.quote, entry.token[:1] or "+")
    if not having:
        return None
    new = having & files.list_new(record.blocks_at(entry.raised))
    if not new:
        return None
    block = min(
        new,
        key=lambda candidate: (
            files.name(candidate.path) != entry.file,
            candidate.path,
            candidate.hunk,
            candidate.first,
        ),
    )
    code = code_of(entry.quote)
    whole = [line for line in block.lines if code in letters_of(line.text)]
    long = [line for line in block.lines if len(code_of(line.text)) >= MIN_LETTERS]
    parts = [line for line in long if code_of(line.text) in code]
    return _show_changed(block.path, [*whole, *parts, *block.lines][0], files)


def _find_beside(entry: LedgerEntry, patch: Patch) -> Line | None:
    """Return the line of a patch that is in the place of an entry: beside a line that was beside
    it.

    An entry that belongs to its file is at the line that it quotes, or at the first changed one.
    """
    lines = patch.lines
    if entry.blocks:
        return find_place(entry, lines, reach=1)
    first = next((line for line in lines if line.mark != " "), None)
    return find_line(patch, entry.quote, entry.side, None) or first


def _find_in_file(finding: _UnplacedFinding, files: PresentFiles) -> CodeLines:
    """Return the block around the place of an entry, if it is short enough, else lines around
    it.
    """
    entry = finding.entry
    path = finding.path
    patch = files.patches.get(path, Patch(()))
    added = {line.number for line in patch.lines if line.mark == "+"}
    lines: list[Line] = []
    for number, text in enumerate(finding.text.split("\n"), 1):
        mark: Mark = " "
        if number in added:
            mark = "+"
        lines.append(Line("RIGHT", number, mark, text))
    place = None
    if entry.blocks:
        place = find_place(entry, lines, reach=len(lines))
    row = min(max(entry.block_line, 1), len(lines)) - 1
    if place is not None:
        row = place.number - 1
    excerpt = _find_definition(SourceText(path, finding.text), row + 1, lines)
    code = number_lines(excerpt)
    if not excerpt or estimate_tokens(code) > CHANGED_TOKENS:
        code = cut_around(lines, row, LINES_AROUND, CHANGED_TOKENS)
        excerpt = lines[max(row - LINES_AROUND[0], 0) : row + 1 + LINES_AROUND[0]]
    if path in files.patches and place is None:
        return CodeLines(path, text=code)
    has_changes = _has_changes(patch, excerpt[0].number, excerpt[-1].number)
    if has_changes or not files.is_known(entry.file, path):
        return CodeLines(path, text=code)
    return CodeLines(path, "as in the base", code)


def _find_definition(source: SourceText, number: int, lines: Sequence[Line]) -> Sequence[Line]:
    """Return the lines of the innermost function or class around line `number`; () if there is
    none.
    """
    if number > source.last:
        return ()
    for begin in [number, *source.list_begins(number)]:
        definition = source.find_definition(begin)
        if definition and definition.kind != "value":
            first = source.find_top(begin)
            last = source.find_end(begin)
            return lines[first - 1 : last]
    return ()


def _has_changes(patch: Patch, first: int, last: int) -> bool:
    """Return True if a patch adds or removes a line in or beside a range of lines of the new
    file.
    """
    for hunk in patch.hunks:
        header = HUNK_HEADER.match(hunk.header)
        number = 0  # of the new line above a removed one
        if header:
            number = int(header[3]) - 1
        for line in hunk.lines:
            if line.side == "RIGHT":
                number = line.number
            if line.mark != " " and first - 1 <= number <= last:
                return True
    return False


MIN_LETTERS = 3  # of a line that shows a place


def find_place(entry: LedgerEntry, lines: Sequence[Line], *, reach: int) -> Line | None:
    """Return the line in the place of an entry, by the lines around it in its last block, at most
    `reach` away.

    Of equal lines, the one that is nearest to the earlier place counts.
    """
    block = entry.blocks[-1]
    own = 0
    if entry.token in block.lines:
        own = block.lines.index(entry.token)
    around = [*reversed(block.above), *block.lines, *block.below]
    at = len(block.above) + own
    places: dict[str, list[int]] = {}
    for index, line in enumerate(lines):
        if line.side == "RIGHT" and len(letters_of(line.text)) >= MIN_LETTERS:
            places.setdefault(token(" ", line.text)[1:], []).append(index)
    for distance in range(min(reach, len(around)) + 1):
        for offset in (-distance, distance):
            if not 0 <= at + offset < len(around):
                continue
            beside = around[at + offset]
            place = places.get(beside[1:])
            if place:
                expected = entry.block_line + own + offset
                index = min(place, key=lambda index: abs(lines[index].number - expected))
                if beside[0] != "-":  # a removed line that is back is itself in the place
                    index -= offset
                return lines[min(max(index, 0), len(lines) - 1)]
    return None
