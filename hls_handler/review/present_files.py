"""The changed files of a pull request as they are now: their blocks, and searches in them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain

from hls_handler.review.blocks import (
    CONTEXT_LINES,
    Block,
    PlacedBlock,
    PlacedLine,
    find_blocks,
    match_blocks,
)
from hls_handler.review.patches import Hunk, Line, Patch, Side
from hls_handler.review.positions import SURE_COMMENT, code_of, letters_of
from hls_handler.review.record import LedgerEntry, Proof, ReviewRecord

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
            for at, line in enumerate(hunk.lines):
                if (line.side, line.number) == (side, number):
                    near = [block for block in self.blocks[path] if block.hunk == index]
                    return min(
                        near,
                        key=lambda block: max(block.first - at, at - block.last, 0),
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
        for name, of_file in self.by_file.items():
            windows[name] = Counter()
            for placed in of_file:
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
            rounds = [blocks[at].until for at in same.values() if blocks[at].until >= entry.raised]
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
