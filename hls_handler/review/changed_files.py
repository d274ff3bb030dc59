"""Selects the changed files that a review reads, packs them into calls of Claude, and records what
was reviewed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, groupby
from pathlib import PurePosixPath
from typing import Literal, get_args

from hls_handler.analysis import CHARACTERS_PER_TOKEN, estimate_tokens
from hls_handler.github.values import ChangedFile
from hls_handler.review.blocks import CONTEXT_LINES, PlacedBlock, find_blocks
from hls_handler.review.code_lines import CodeLines
from hls_handler.review.patches import (
    Hunk,
    Line,
    Patch,
    Side,
    number_line,
    numbered,
    parse_numbered,
    widen,
)
from hls_handler.review.skipped_files import OVERRIDES, SkippedFile, SkipRules, is_shortened
from hls_handler.untrusted.cleaning import LONGEST_TEXT, count_shown
from hls_handler.wording import count, is_or_are

FOLDERS = {
    "test", "tests", "testing", "spec", "specs", "t", "e2e",
    "__tests__", "__mocks__", "__fixtures__", "__snapshots__",
    "testutil", "testutils", "test_util", "test_utils", "test-utils",
    "testhelper", "testhelpers", "test_helpers",
    "testdata", "fixtures", "cypress", "androidtest", "inttest", "integrationtest", "testfixtures",
}  # fmt: skip
"""Names of folders with tests, in lower case."""

PROJECTS = re.compile(r"[._-](unit|integration|functional)?[._-]?(tests?|specs?)$")
"""Found in the lower-case names of folders with the tests of one project: `Billing.Tests` (.NET),
`api-tests`.
"""

WORDS = re.compile(
    r"^(test|spec)[._-]|[._-](tests?|unittest|specs?|cy|e2e)$"
    r"|^(conftest|testutils?|test_?helpers?|spec_?helper|rails_helper|setuptests?|tests?)$"
)
"""Found in the lower-case names of files without their extension: `test_a.py`, `a_test.go`,
`a.spec.ts`.
"""

CLASSES = re.compile(r"^(Test|IT)[A-Z]|[a-z0-9](Tests?|TestCase|Specs?|IT|ITCase|TestSuite)$")
"""Found in those of languages that name a file after its class: `AreaTest.java`, `AreaTests.cs`,
`AreaSpec.scala`.
"""

SOURCE_SETS = re.compile(r"[a-z0-9]Tests?$")
"""Found in the names of their folders with tests: `functionalTest` (Gradle), `jvmTest` (Kotlin)."""

CLASS_EXTENSIONS = {
    ".java", ".kt", ".kts", ".scala", ".groovy", ".cs", ".fs", ".vb", ".php", ".swift",
    ".m", ".mm", ".cpp", ".cc", ".cxx", ".hs", ".dart",
}  # fmt: skip

TAP = {".t", ".bats"}
"""Extensions of files that are tests whatever their names are (Perl, Bats)."""

PROSE = re.compile(r"\.(md|mdx|rst|txt|adoc)$")


def is_test_file(path: str) -> bool:
    file = PurePosixPath(path)
    folders = [folder.lower() for folder in file.parts[:-1]]
    if any(folder in FOLDERS or PROJECTS.search(folder) for folder in folders):
        return True
    extension = file.suffix.lower()
    if extension in TAP or WORDS.search(file.stem.lower()):
        return True
    if extension not in CLASS_EXTENSIONS:
        return False
    is_in_source_set = any(SOURCE_SETS.search(folder) for folder in file.parts[:-1])
    return is_in_source_set or CLASSES.search(file.stem) is not None


def is_prose(path: str) -> bool:
    """Return True for texts of any folder. Code in `docs/` is code."""
    return PROSE.search(path.lower()) is not None


Status = Literal["added", "removed", "modified", "renamed", "copied", "changed", "unchanged"]
"""Values of `status` in GitHub's list of changed files."""

STATUSES: Mapping[str, Status] = {status: status for status in get_args(Status)}

DOCUMENTATION = re.compile(r"(^|/)(docs?|changelog|license)(/|$)|\.(md|mdx|rst|txt|adoc)$")
SETTINGS_FILES = re.compile(
    r"\.(json|ya?ml|toml|ini|cfg|conf|properties|xml|csv|svg|lock)$|(^|/)\.[^/]+$"
)
WORKFLOW_FILES = re.compile(r"^\.github/(workflows|actions)/")

TOKENS_PER_FILE = 100  # tokens of a file in addition to its patch: name, counts and delimiters

MAX_CALLS = 30
"""Limit on the calls of Claude for one review; `review.max_usd` usually ends a review earlier."""

LONG_LINE = "with a line too long for one call"
TOO_LARGE = "the pull request is too large for one review"

MAX_PATCH_TOKENS = int((LONGEST_TEXT - 100) / CHARACTERS_PER_TOKEN)
"""Limit on the tokens of one patch. The patch and a note that it is cut must fit into
`LONGEST_TEXT` characters.
"""


@dataclass(frozen=True, slots=True)
class ChangedLines:
    """Lines that changed since the last review. In the first review, all removed and added
    lines.
    """

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
    # the patch and the unchanged lines around it, redacted, each line with its side and number:
    # "R   11 + return side ** 2"
    numbered: str
    cut: bool  # True if some of the lines that need a review are not shown
    # in the order of the patch; () unless it is shown by a call
    changed: tuple[ChangedLines, ...] = ()
    again: tuple[ChangedLines, ...] = ()  # lines of blocks that were reviewed before
    places: tuple[CodeLines, ...] = ()  # of the repository, that belong to it

    @property
    def base_path(self) -> str:
        """The path in the base, which names the file in a `ReviewRecord`."""
        if self.previous_path and self.status == "renamed":
            return self.previous_path
        return self.path


@dataclass(frozen=True, slots=True)
class FilePart:
    """The part of a file that one call shows."""

    file: int  # index in `Selection.files`
    hunks: tuple[int, ...]  # indexes of its hunks
    lines: tuple[int, int] | None = None
    """Of a hunk that is too long for one call: the index of its first line and that after the last.
    None: all lines.
    """


@dataclass(frozen=True)
class Selection:
    files: tuple[PatchedFile, ...]  # with the whole patch, most important first
    calls: tuple[tuple[FilePart, ...], ...]  # what each call shows
    skipped: tuple[SkippedFile, ...]  # in GitHub's order
    # indexes of the blocks of each path that the calls are to show
    new: Mapping[str, frozenset[int]]
    # indexes of blocks that were reviewed before, and are shown again
    again: Mapping[str, frozenset[int]] = field(default_factory=dict)
    limit: str = LONG_LINE  # why no call shows some of these blocks
    # indexes of the files of which the prompt's template left out a part
    unshown: tuple[int, ...] = ()
    around: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    """The numbered lines around hunks that the calls show, by path and index of the hunk."""
    second_sites: tuple[tuple[CodeLines, ...], ...] = ()
    """The other places of the repository that each call shows; () if there are none."""
    unsearched: str = ""  # why HLS could not look for other places, or for lines around hunks

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
        for part in chain.from_iterable(self.calls):
            path = self.files[part.file].path
            hunks.setdefault(path, []).extend(_cut_hunks(self.patches[path], part))
        return {path: Patch(tuple(file_hunks)) for path, file_hunks in hunks.items()}

    @property
    def has_new(self) -> bool:
        """False if all blocks that the calls are to show were reviewed before."""
        return any(
            indexes - self.again.get(path, frozenset()) for path, indexes in self.new.items()
        )

    def list_new(self, path: str) -> list[PlacedBlock]:
        return [self.blocks[path][index] for index in sorted(self.new.get(path, ()))]


def select_files(
    files: Sequence[ChangedFile],
    patches: Mapping[str, Patch],
    rules: SkipRules,
    *,
    new: Mapping[str, frozenset[int]],
    tokens: int,
    max_calls: int,
) -> Selection:
    """Return the files to review and their parts for each call, each of at most `tokens`.

    `patches` are redacted, and `new` are the indexes of the blocks of each path that were not
    reviewed before: only hunks with such blocks are shown. A file is split between hunks, and a
    hunk that is longer than a call between lines. Source code comes first, and if not everything
    fits into `max_calls`, small files before large ones.
    """
    read: list[PatchedFile] = []
    skipped: list[SkippedFile] = []
    for file in files:
        patch = patches.get(file.path, Patch(()))
        reason = rules.find_reason(file, patch)
        if reason is None:
            cut = is_shortened(file) or rules.has_left_hidden_place(file)
            read.append(_to_patched(file, numbered(patch), cut=cut))
        else:
            skipped.append(SkippedFile(file.path, reason, file.previous_path))
    read.sort(key=_rank)
    new_by_path = {file.path: new.get(file.path, frozenset()) for file in read}
    selection = Selection(tuple(read), (), tuple(skipped), new_by_path)
    calls = _pack(selection, tokens)
    if len(calls) <= max_calls:
        return replace(selection, calls=calls)
    # so that a large file does not take all calls
    read.sort(key=lambda file: (_rank(file), len(file.numbered)))
    selection = replace(selection, files=tuple(read), limit=TOO_LARGE)
    return replace(selection, calls=_pack(selection, tokens)[:max_calls])


def _to_patched(file: ChangedFile, text: str, *, cut: bool) -> PatchedFile:
    return PatchedFile(
        file.path,
        file.previous_path,
        STATUSES.get(file.status, "changed"),
        file.additions,
        file.deletions,
        text,
        cut,
    )


def _pack(selection: Selection, tokens: int) -> tuple[tuple[FilePart, ...], ...]:
    calls: list[list[FilePart]] = [[]]
    free_tokens = tokens
    for index, file in enumerate(selection.files):
        # The path is counted, because it may have 4,096 characters.
        names = estimate_tokens(f"{file.path}{file.previous_path or ''}")
        overhead = max(TOKENS_PER_FILE, TOKENS_PER_FILE // 2 + names)
        max_tokens = max(min(tokens - overhead, MAX_PATCH_TOKENS), 0)
        new = selection.list_new(file.path)
        for part, size in _split(selection.patches[file.path], index, new, max_tokens):
            needed = overhead + size
            if needed > free_tokens and calls[-1]:
                calls.append([])
                free_tokens = tokens
            calls[-1].append(part)
            free_tokens -= needed
    return tuple(tuple(call) for call in calls if call)


def _split(
    patch: Patch, index: int, new: Sequence[PlacedBlock], max_tokens: int
) -> Iterable[tuple[FilePart, int]]:
    """Yield the parts of a file that have new blocks, each with the tokens of its patch, at most
    `max_tokens`.

    A block with a line that is too long is not read: it would be new in each review.
    """
    group: list[int] = []
    used = 0
    for number, blocks in groupby(new, key=lambda block: block.hunk):
        ranges = [*_split_hunk(patch.hunks[number], max_tokens)]
        too_long = [lines for lines, size in ranges if size > max_tokens]
        read = [
            placed for placed in blocks if not any(_overlaps(placed, lines) for lines in too_long)
        ]
        for lines, size in ranges:
            if size > max_tokens or not any(_overlaps(placed, lines) for placed in read):
                continue
            if group and (len(ranges) > 1 or used + size > max_tokens):
                yield FilePart(index, tuple(group)), used
                group = []
                used = 0
            if len(ranges) > 1:
                yield FilePart(index, (number,), lines), size
            else:
                group.append(number)
                used += size
    if group:
        yield FilePart(index, tuple(group)), used


def _overlaps(block: PlacedBlock, lines: tuple[int, int]) -> bool:
    return block.first < lines[1] and lines[0] <= block.last


def _split_hunk(hunk: Hunk, tokens: int) -> Iterable[tuple[tuple[int, int], int]]:
    """Yield parts of a hunk that fit into `tokens`, and each line that does not: its range of
    indexes, its tokens.
    """
    start = 0
    end = len(hunk.lines)
    whole = estimate_tokens(f"{numbered(Patch((hunk,)))}\n")
    if whole <= tokens:
        yield (start, end), whole
        return
    header = estimate_tokens(f"{hunk.header}\n")
    used = header
    for index, line in enumerate(hunk.lines):
        needed = estimate_tokens(f"{number_line(line)}\n")
        if used + needed > tokens and index > start:
            yield (start, index), used
            start = index
            used = header
        used += needed
    yield (start, end), used


def show_files(selection: Selection, parts: Iterable[FilePart]) -> tuple[PatchedFile, ...]:
    """Return the parts of files as prompts show them. A file has an entry for each of its parts."""
    return tuple(_show(selection, part) for part in parts)


def count_file_tokens(files: Iterable[PatchedFile]) -> int:
    """Return the tokens of files in a prompt."""
    return sum(TOKENS_PER_FILE + estimate_tokens(file.numbered) for file in files)


def add_places(
    files: Sequence[PatchedFile], places: Iterable[CodeLines]
) -> tuple[PatchedFile, ...]:
    """Return the files with the places that belong to each: to the last one, if a place belongs to
    several.
    """
    last = {file.path: index for index, file in enumerate(files)}
    places_by_file: dict[int, list[CodeLines]] = {}
    for place in places:
        indexes = [last[path] for path in place.sources if path in last]
        if indexes:
            places_by_file.setdefault(max(indexes), []).append(place)
    return tuple(
        replace(file, places=tuple(places_by_file.get(index, ())))
        for index, file in enumerate(files)
    )


def _show(selection: Selection, part: FilePart) -> PatchedFile:
    file = selection.files[part.file]
    whole = selection.patches[file.path]
    patch = Patch(tuple(_cut_hunks(whole, part)))
    missing = whole.changed_lines - patch.changed_lines
    if file.cut:
        missing += max(file.additions + file.deletions - whole.changed_lines, 0)
    text = numbered(widen(patch, list_around(selection, part)))
    if missing:
        lines = f"{count(missing, 'more changed line')} of this file {is_or_are(missing)}"
        text = f"{text}\n[cut here: {lines} not shown]"
    start, end = part.lines or (0, len(text))
    changed: list[ChangedLines] = []
    again: list[ChangedLines] = []
    lines_again = selection.again.get(file.path, frozenset())
    for index in sorted(lines_again.union(selection.new.get(file.path, ()))):
        block = selection.blocks[file.path][index]
        if block.hunk in part.hunks:
            lines_of_part = slice(max(start - block.first, 0), max(end - block.first, 0))
            joined = _join_lines(block.lines[lines_of_part])
            if index in lines_again:
                again += joined
            else:
                changed += joined
    cut = file.cut or missing > 0
    return replace(file, numbered=text, cut=cut, changed=tuple(changed), again=tuple(again))


def show_again(selection: Selection, blocks: Mapping[PlacedBlock, bool]) -> Selection:
    """Return the selection whose first call shows these blocks, too, with lines around them.

    True: the block is to be read anew.
    """
    again: dict[str, set[int]] = {}
    new = {path: {*indexes} for path, indexes in selection.new.items()}
    for block, is_anew in blocks.items():
        if block.path in selection.blocks:
            index = selection.blocks[block.path].index(block)
            again.setdefault(block.path, set()).add(index)
            if is_anew:
                new[block.path].add(index)
    unshown = [block for block in blocks if not _shows_block(selection, block)]
    first, *others = selection.calls
    return replace(
        selection,
        calls=((*first, *list_parts_with(selection, unshown)), *others),
        new={path: frozenset(indexes) for path, indexes in new.items()},
        again={path: frozenset(indexes) for path, indexes in again.items()},
    )


def list_parts_with(selection: Selection, blocks: Iterable[PlacedBlock]) -> list[FilePart]:
    """Return the parts of files with these blocks and the lines around them."""
    indexes = {file.path: index for index, file in enumerate(selection.files)}
    ranges: dict[tuple[int, int], list[tuple[int, int]]] = {}  # by file and hunk
    for block in blocks:
        if block.path in indexes:
            end = len(selection.patches[block.path].hunks[block.hunk].lines)
            first = max(block.first - CONTEXT_LINES, 0)
            lines = (first, min(block.last + 1 + CONTEXT_LINES, end))
            ranges.setdefault((indexes[block.path], block.hunk), []).append(lines)
    return [
        FilePart(file, (hunk,), lines)
        for (file, hunk), hunk_ranges in ranges.items()
        for lines in join_ranges(hunk_ranges)
    ]


def _shows_block(selection: Selection, block: PlacedBlock) -> bool:
    for part in chain.from_iterable(selection.calls):
        if selection.files[part.file].path == block.path and block.hunk in part.hunks:
            start, end = part.lines or (0, block.last + 1)
            if start <= block.first and block.last < end:
                return True
    return False


def join_ranges(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if joined and start <= joined[-1][1]:
            start, last = joined.pop()
            end = max(end, last)
        joined.append((start, end))
    return joined


def list_around(selection: Selection, part: FilePart) -> list[Line]:
    """Return the unchanged lines around a part of a file; none around a part of a hunk."""
    if part.lines is not None:
        return []
    texts_by_hunk = selection.around.get(selection.files[part.file].path, {})
    texts = [texts_by_hunk[number] for number in part.hunks if number in texts_by_hunk]
    return parse_numbered("\n".join(["@@ -1 +1 @@", *texts])).lines


def _join_lines(lines: Iterable[Line]) -> list[ChangedLines]:
    """Return the lines of a block, neighbours on one side joined."""
    runs = groupby(enumerate(lines), key=lambda pair: (pair[1].side, pair[1].number - pair[0]))
    joined = ([line for _, line in run] for _, run in runs)
    return [ChangedLines(run[0].side, run[0].number, run[-1].number) for run in joined]


def may_have_calls(selection: Selection) -> bool:
    """Return True if there is something to ask Claude, or could be with other linguist
    attributes.
    """
    return bool(selection.calls) or any(
        file.reason in OVERRIDES or file.previous_path for file in selection.skipped
    )


def _cut_hunks(patch: Patch, part: FilePart) -> list[Hunk]:
    hunks = [patch.hunks[number] for number in part.hunks]
    if part.lines is None:
        return hunks
    lines = slice(*part.lines)
    return [Hunk(hunk.header, hunk.lines[lines]) for hunk in hunks]


def find_unshown(variables: Mapping[str, object], task: str) -> tuple[int, ...]:
    """Return the indexes of the variable `files` whose `numbered` is not in the rendered prompt as
    a whole, as code.
    """
    files = variables.get("files")
    if not isinstance(files, tuple):
        return ()
    texts = [file.numbered for file in files if isinstance(file, PatchedFile)]
    counts = count_shown(task, texts)
    text_counts = Counter(texts)
    return tuple(index for index, text in enumerate(texts) if counts[text] < text_counts[text])


def _rank(file: PatchedFile) -> int:
    path = file.path.lower()
    if file.status == "removed":
        return 3
    if WORKFLOW_FILES.search(path):
        return 0
    if is_test_file(file.path):
        return 1
    if DOCUMENTATION.search(path) or SETTINGS_FILES.search(path):
        return 2
    return 0
