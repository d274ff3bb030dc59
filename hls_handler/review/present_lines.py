"""The changed files of a pull request as they are now, and the present lines of earlier findings,
as the questions about them show them.

The lines are from the patch if that has them, else from the file at the head commit.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain

from hls_handler.analysis import estimate_tokens
from hls_handler.github.source import CommitFiles, read_texts
from hls_handler.github.values import ChangedFile
from hls_handler.review.blocks import (
    CONTEXT_LINES,
    Block,
    PlacedBlock,
    PlacedLine,
    find_blocks,
    match_blocks,
    token,
)
from hls_handler.review.code_lines import CodeLines, LinesKind, cut_around, number_lines
from hls_handler.review.patches import (
    HUNK_HEADER,
    Hunk,
    Line,
    Mark,
    Patch,
    Side,
)
from hls_handler.review.positions import SURE_COMMENT, code_of, find_line, letters_of
from hls_handler.review.record import LedgerEntry, Proof, ReviewRecord
from hls_handler.review.source_text import SourceText

WORD = re.compile(r"[^\W\d]\w{2,}")

NAME_IN_TEXT = re.compile(r"`[^`\n]+`|[\w./-]*\w[./_]\w[\w./-]*|\w*[a-z][A-Z]\w*|\w+(?=\()")
"""In a sentence: text in backticks, a path, `a.b`, `a_b`, `aB`, or a word before a parenthesis."""

NAME_IN_CODE = re.compile(r"""\b[^\W\d]\w{2,}\b(?!\s+[\w"'(\[{-])""")
"""In code: a word that is not followed by another one, as `return` and `new` are."""


@dataclass(frozen=True)
class PresentFiles:
    """The changed files of a pull request. A file is named by its path in the base, which a rename
    does not change.
    """

    patches: Mapping[str, Patch]  # by path, also of the files that the review leaves out
    # of renamed files, by their path
    previous_paths: Mapping[str, str] = field(default_factory=dict)
    # paths and earlier paths of files whose patch is not known completely
    unread: Collection[str] = ()
    is_complete: bool = True  # False: the pull request has more changed files
    # by path, as `ReviewRecord.skipped_since` returns it
    skipped: Mapping[str, int] = field(default_factory=dict)

    def name(self, path: str) -> str:
        return self.previous_paths.get(path, path)

    @cached_property
    def blocks(self) -> Mapping[str, tuple[PlacedBlock, ...]]:
        return {path: find_blocks(path, patch) for path, patch in self.patches.items()}

    def find_block(self, path: str, side: Side, number: int) -> PlacedBlock | None:
        """Return the block of a line, or of an unchanged line the nearest in its hunk. None if no
        hunk has the line.
        """
        for index, hunk in enumerate(self.patches[path].hunks):
            for line_index, line in enumerate(hunk.lines):
                if (line.side, line.number) == (side, number):
                    near = [block for block in self.blocks[path] if block.hunk == index]
                    return min(
                        near,
                        key=lambda block: max(block.first - line_index, line_index - block.last, 0),
                        default=None,
                    )
        return None

    def show(self, block: PlacedBlock) -> Hunk:
        """Return a block with the lines around it."""
        hunk = self.patches[block.path].hunks[block.hunk]
        first = max(block.first - CONTEXT_LINES, 0)
        return replace(hunk, lines=hunk.lines[first : block.last + 1 + CONTEXT_LINES])

    @cached_property
    def by_file(self) -> Mapping[str, Sequence[PlacedBlock]]:
        blocks_of: dict[str, list[PlacedBlock]] = {}
        for path, blocks in self.blocks.items():
            blocks_of.setdefault(self.name(path), []).extend(blocks)
        return blocks_of

    @cached_property
    def _code(self) -> Sequence[tuple[PlacedBlock, Mapping[str, str]]]:
        """Each block with the letters of its lines by mark. " " includes lines around."""
        code: list[tuple[PlacedBlock, Mapping[str, str]]] = []
        for placed in chain.from_iterable(self.blocks.values()):
            near = self.show(placed).lines
            letters = {
                "+": _join_code(line for line in placed.lines if line.mark == "+"),
                "-": _join_code(line for line in placed.lines if line.mark == "-"),
                " ": _join_code(line for line in near if line.mark != "-"),
            }
            code.append((placed, letters))
        return code

    def list_with_code(self, quote: str, mark: str) -> frozenset[PlacedBlock]:
        """Return the blocks with the code of a line."""
        code = code_of(quote)
        return frozenset(placed for placed, letters in self._code if code and code in letters[mark])

    def find_proof(self, proof: Proof) -> PlacedLine | None:
        """Return the line of a proof; None if it is not there any more."""
        for placed in self.by_file.get(proof.file, ()):
            for line, window in zip(placed.lines, placed.block.windows(), strict=True):
                if window == proof.window:
                    return PlacedLine(placed.path, line)
        return None

    def make_proof(self, placed: PlacedLine) -> Proof:
        """Return the proof by which `find_proof` returns a changed line."""
        line = placed.line
        block = self.find_block(placed.path, line.side, line.number)
        assert block is not None
        windows = dict(zip(block.lines, block.block.windows(), strict=True))
        file = self.name(placed.path)
        return Proof(file, windows[line], self.windows[file][windows[line]])

    @cached_property
    def windows(self) -> Mapping[str, Counter[tuple[str, ...]]]:
        windows: dict[str, Counter[tuple[str, ...]]] = {}
        for name, file_blocks in self.by_file.items():
            windows[name] = Counter()
            for placed in file_blocks:
                windows[name].update(placed.block.windows())
        return windows

    def is_as_in_base(self, file: str, path: str = "") -> bool:
        """Return True if the pull request certainly does not change the text of a file."""
        return self.is_known(file, path) and file not in self.by_file

    def names_other(self, entry: LedgerEntry) -> bool:
        """Return True if an entry shares a name with a block of another file."""
        related = self.list_sharing(names_of(entry))
        return any(self.name(block.path) != entry.file for block in related)

    def list_sharing(self, names: Collection[str]) -> list[PlacedBlock]:
        """Return the blocks that have one of the names, those with the rarest one first."""
        shared = {block: words.intersection(names) for block, words in self._words.items()}
        number = Counter(chain.from_iterable(shared.values()))
        related = [block for block, words in shared.items() if words]
        return sorted(related, key=lambda block: min(number[word] for word in shared[block]))

    @cached_property
    def _words(self) -> Mapping[PlacedBlock, frozenset[str]]:
        """The words of each block: of its path, its hunk's header, its lines and those around it,
        without removed ones.
        """
        words: dict[PlacedBlock, frozenset[str]] = {}
        for block in chain.from_iterable(self.blocks.values()):
            hunk = self.show(block)
            texts = [line.text for line in hunk.lines if line.mark != "-"]
            words[block] = frozenset(WORD.findall("\n".join([block.path, hunk.header, *texts])))
        return words

    def is_known(self, file: str, path: str = "") -> bool:
        """Return True if all present lines of a file are known, or if it is certainly not changed
        any more.
        """
        return {file, path}.isdisjoint(self.unread) and (self.is_complete or file in self.by_file)

    def list_new(self, known_blocks: Mapping[str, Sequence[Block]]) -> frozenset[PlacedBlock]:
        """Return the blocks that none of the known blocks of their file is the same as."""
        new: list[PlacedBlock] = []
        for name, placed in self.by_file.items():
            same = match_blocks(known_blocks.get(name, ()), placed)
            new += [block for index, block in enumerate(placed) if index not in same]
        return frozenset(new)

    def has_returned(self, entry: LedgerEntry, record: ReviewRecord) -> bool:
        """Return True if a block of the files of an entry is back that left them after it was
        raised, and not after it was gone: it was gone with the block there.
        """
        for name in {entry.file, *entry.files}:
            blocks = record.blocks.get(name, ())
            same = match_blocks(blocks, self.by_file.get(name, ()))
            rounds = [
                blocks[index].until
                for index in same.values()
                if blocks[index].until >= entry.raised
            ]
            if any(not entry.gone_at or until < entry.gone_at for until in rounds):
                return True
        return False

    def find_new(self, known_blocks: Mapping[str, Sequence[Block]]) -> Mapping[str, frozenset[int]]:
        """Return the indexes of the blocks that `list_new` returns, by path."""
        new = self.list_new(known_blocks)
        indexes_by_file: dict[str, frozenset[int]] = {}
        for path, blocks in self.blocks.items():
            indexes = frozenset(index for index, block in enumerate(blocks) if block in new)
            if indexes:
                indexes_by_file[path] = indexes
        return indexes_by_file


def names_of(entry: LedgerEntry) -> list[str]:
    """Return the names in the line and the text of an entry."""
    text = "\n".join(NAME_IN_TEXT.findall(f"{entry.title}\n{entry.body}"))
    return [*NAME_IN_CODE.findall(entry.quote), *WORD.findall(text)]


def _join_code(lines: Iterable[Line]) -> str:
    """Return the letters of lines that are no comments, first with the comments at their ends."""
    texts = [line.text.lstrip() for line in lines]
    code = [text for text in texts if not SURE_COMMENT.match(text)]
    cut = [SURE_COMMENT.split(text, 1)[0] for text in code]
    return f"{letters_of(''.join(code))} {letters_of(''.join(cut))}"


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
        for index, line in enumerate(hunk.lines):
            if (line.side, line.number) == (side, number):
                return cut_around(hunk.lines, index, EXCERPT_LINES, tokens, header=hunk.header)
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
    token_index = 0
    if entry.token in block.lines:
        token_index = block.lines.index(entry.token)
    around = [*reversed(block.above), *block.lines, *block.below]
    position = len(block.above) + token_index
    places: dict[str, list[int]] = {}
    for index, line in enumerate(lines):
        if line.side == "RIGHT" and len(letters_of(line.text)) >= MIN_LETTERS:
            places.setdefault(token(" ", line.text)[1:], []).append(index)
    for distance in range(min(reach, len(around)) + 1):
        for offset in (-distance, distance):
            if not 0 <= position + offset < len(around):
                continue
            beside = around[position + offset]
            place = places.get(beside[1:])
            if place:
                expected = entry.block_line + token_index + offset
                index = min(place, key=lambda index: abs(lines[index].number - expected))
                if beside[0] != "-":  # a removed line that is back is itself in the place
                    index -= offset
                return lines[min(max(index, 0), len(lines) - 1)]
    return None
