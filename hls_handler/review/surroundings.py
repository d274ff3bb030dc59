"""Reads the unchanged lines around hunks, and other places that have the changed names or the
names on which a finding hangs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import chain

from hls_handler.analysis import estimate_tokens
from hls_handler.git.mirror import Hit
from hls_handler.github.source import CommitFiles, read_optional, read_texts
from hls_handler.review.changed_files import (
    MAX_PATCH_TOKENS,
    PatchedFile,
    Selection,
    count_file_tokens,
    is_prose,
    show_files,
)
from hls_handler.review.changed_names import (
    IN_TEST,
    ChangedName,
    ChangedText,
    list_names,
    list_searched,
)
from hls_handler.review.code_lines import CodeLines
from hls_handler.review.facts import LookedUp, PullRequestFacts
from hls_handler.review.neighbourhood import Search, choose_extents, show_lines
from hls_handler.review.patches import Hunk, Patch, parse_numbered
from hls_handler.review.skipped_files import is_hand_written
from hls_handler.review.source_text import SourceText, is_searched, whole
from hls_handler.settings.path_globs import PathFilter
from hls_handler.wording import count

MAX_READ_FILES = 100  # changed files that are read as a whole

MAX_SURROUNDINGS = 6_000  # tokens of lines around hunks and of other places, in a call

AROUND_SHARE = 0.6  # of the tokens for lines around hunks and for other places


def read_surroundings(
    selection: Selection,
    files: CommitFiles,
    ignored_paths: PathFilter,
    *,
    tokens: int,
    max_tokens: int,
    searches: bool = True,
) -> Selection:
    """Return the selection with the lines around its hunks and other places of the repository, or
    why it has none.

    `files` are those of the head commit. Each call gets at most `max_tokens` of both, and no more
    than its `tokens` have room for beside its patches. So the patches and their division into calls
    do not change.
    """
    parts = chain.from_iterable(selection.calls)
    patched = {selection.files[part.file].path: selection.files[part.file] for part in parts}
    code = [file for file in patched.values() if not is_prose(file.path)]
    if not max_tokens or not code:
        return selection
    paths = [file.path for file in code if file.status != "removed"][:MAX_READ_FILES]
    texts = read_texts(files, paths)
    if texts.problem:
        return replace(selection, unsearched=texts.problem)
    sources = list_sources(selection, code, texts.value)
    selection = _with_extents(selection, sources, tokens=tokens, max_tokens=max_tokens)
    if not searches:
        return selection
    if files.no_mirror:
        return replace(selection, unsearched=files.no_mirror)
    searched = SearchedFiles(files, ignored_paths)
    no_search: Search | None = None
    search = read_optional(lambda: _search(selection, sources, searched), no_search)
    if search.value is not None:
        selection = _with_second_sites(
            selection, search.value, tokens=tokens, max_tokens=max_tokens
        )
    why = search.problem or files.no_mirror or _describe_too_large(paths, texts.value, files)
    return replace(selection, unsearched=why)


def list_sources(
    selection: Selection, files: Iterable[PatchedFile], texts: Mapping[str, str]
) -> Mapping[str, SourceText]:
    """Return the changed files whose text fits the patch; a removed one is empty."""
    sources: dict[str, SourceText] = {}
    for file in files:
        source = SourceText(file.path, texts.get(file.path, ""))
        if file.status == "removed" or _has_lines(source, selection.patches[file.path]):
            sources[file.path] = source
    return sources


def _has_lines(source: SourceText, patch: Patch) -> bool:
    """Return True if a file has the lines of a patch."""
    return all(
        source.lines[line.number : line.number + 1] == [line.text]
        for line in patch.lines
        if line.side == "RIGHT"
    )


@dataclass(frozen=True, slots=True)
class SearchedFiles:
    """The files at a commit, without those that settings ignore or people do not write."""

    files: CommitFiles
    ignored_paths: PathFilter

    def find_words(self, words: Collection[str]) -> Sequence[Hit]:
        hits = self.files.find_words(words)
        paths = {path: self._has(path) for path in {hit.path for hit in hits}}
        return [hit for hit in hits if paths[hit.path]]

    def _has(self, path: str) -> bool:
        is_left_out = self.ignored_paths.excludes(path) or is_prose(path)
        return not is_left_out and is_hand_written(path)


def _search(
    selection: Selection, sources: Mapping[str, SourceText], searched: SearchedFiles
) -> Search:
    patches = selection.shown_patches
    changed = [ChangedText(source, patches[path]) for path, source in sources.items()]
    names = list_names(changed)
    search = Search(names, changed, searched.find_words(list_searched(names)))
    search.rank(searched.files.texts(search.list_paths()))
    return search


def _describe_too_large(paths: Iterable[str], texts: Mapping[str, str], files: CommitFiles) -> str:
    """Return which files exist but could not be read; "" if all could."""
    unread = [path for path in paths if path not in texts]
    if not unread:
        return ""
    sizes = files.list_files(unread)
    too_large = [path for path in unread if path in sizes]
    if not too_large:
        return ""
    named = too_large[0]
    if len(too_large) > 1:
        named = f"{named} and {count(len(too_large) - 1, 'more file')}"
    return f"{named} could not be read: over 2 MB, or no text"


def _with_extents(
    selection: Selection, sources: Mapping[str, SourceText], *, tokens: int, max_tokens: int
) -> Selection:
    """Return the selection with the lines around the hunks of each call."""
    around: dict[str, dict[int, str]] = {}
    for call in selection.calls:
        used = count_file_tokens(show_files(selection, call))
        room = int(min(tokens - used, max_tokens) * AROUND_SHARE)
        hunks: dict[str, list[int]] = {}
        for part in call:
            path = selection.files[part.file].path
            size = estimate_tokens(selection.files[part.file].numbered)
            if path in sources and part.lines is None and size + max_tokens <= MAX_PATCH_TOKENS:
                hunks.setdefault(path, []).extend(part.hunks)
        changed: list[ChangedText] = []
        for path, indexes in hunks.items():
            patch_hunks = [selection.patches[path].hunks[index] for index in indexes]
            changed.append(ChangedText(sources[path], Patch(tuple(patch_hunks))))
        for path, numbers in choose_extents(changed, room).items():
            hunks_by_index = {index: selection.patches[path].hunks[index] for index in hunks[path]}
            if numbers:
                around.setdefault(path, {}).update(
                    _share_lines(sources[path], numbers, hunks_by_index)
                )
    return replace(selection, around=around)


def _share_lines(
    source: SourceText, numbers: Iterable[int], hunks: Mapping[int, Hunk]
) -> Mapping[int, str]:
    """Return the lines as numbered text, by the index of the hunk that each is nearest to."""
    nearest: dict[int, list[int]] = {}
    for number in sorted(numbers):
        index = min(hunks, key=lambda index: _measure_distance(hunks[index], number))
        nearest.setdefault(index, []).append(number)
    return {index: show_lines(source, hunk_numbers) for index, hunk_numbers in nearest.items()}


def _measure_distance(hunk: Hunk, number: int) -> int:
    return min(abs(line.number - number) for line in hunk.lines)


def _with_second_sites(
    selection: Selection, search: Search, *, tokens: int, max_tokens: int
) -> Selection:
    """Return the selection with the other places of each call: those of the files that it shows."""
    bare = replace(selection, around={})
    calls: list[tuple[CodeLines, ...]] = []
    for call in selection.calls:
        used = count_file_tokens(show_files(bare, call))
        files = show_files(selection, call)
        room = min(tokens - used, max_tokens) - (count_file_tokens(files) - used)
        visible: dict[str, set[int]] = {}
        for file in files:
            lines = parse_numbered(file.numbered).lines
            numbers = {line.number for line in lines if line.side == "RIGHT"}
            visible.setdefault(file.path, set()).update(numbers)
        calls.append(search.choose(visible, room))
    if not any(calls):
        return selection
    return replace(selection, second_sites=tuple(calls))


MAX_TOKENS = 4_000  # of the places
USES = 20.0
DEFINITIONS = 5.0
"""Weights, so that a single definition is among the places of a name, and other uses come before
several definitions.
"""

NAME = re.compile(r"([\w$][\w$-]*)\s*(?:<.*>)?\s*(?:\(|\W*$)")
"""The last name before arguments, without those of a type."""


def look_up(
    facts: PullRequestFacts,
    names: Mapping[str, Set[str]],
    files: CommitFiles,
    ignored_paths: PathFilter,
) -> LookedUp:
    """Return the places of the names in the files of the head, uses before definitions. `names` has
    the paths of the findings that name them.

    Nothing is returned without a mirror, or if it cannot be read.
    """
    nothing = LookedUp()
    if files.no_mirror:
        return nothing
    searched = SearchedFiles(files, ignored_paths)
    places = read_optional(lambda: _look_up(facts, names, searched), nothing)
    if files.no_mirror:  # it became unavailable
        return nothing
    return places.value


def _look_up(
    facts: PullRequestFacts, names: Mapping[str, Set[str]], searched: SearchedFiles
) -> LookedUp:
    visible = _list_visible(facts, set().union(*names.values()))
    selection = facts.selection
    changed = [file for file in selection.files if file.path in visible]
    texts = list_sources(selection, changed, searched.files.texts(list(visible)))
    words = {name: _find_word(name) for name in names}
    changed_names: dict[str, ChangedName] = {}
    for name, paths in names.items():
        word = changed_names.setdefault(words[name], _to_wanted(words[name], facts))
        word.sources |= paths
        word.used_in |= paths & texts.keys()
    changed_names.pop("", None)
    search = Search(
        list(changed_names.values()),
        [ChangedText(text, selection.patches[path]) for path, text in texts.items()],
        searched.find_words(changed_names),
    )
    search.rank(searched.files.texts(search.list_paths()))
    sites = search.choose(visible, MAX_TOKENS)
    not_found = [name for name, word in words.items() if not search.hits.get(word)]
    by_kind = sorted(sites, key=lambda site: site.kind == "definition")
    return LookedUp(tuple(by_kind), tuple(not_found))


def _list_visible(facts: PullRequestFacts, paths: Iterable[str]) -> dict[str, set[int]]:
    """Return the numbers of the shown lines of files."""
    visible: dict[str, set[int]] = {path: set() for path in paths}
    for file in facts.files:
        if file.path in visible:
            lines = parse_numbered(file.numbered).lines
            visible[file.path] |= {line.number for line in lines if line.side == "RIGHT"}
    return visible


def _find_word(name: str) -> str:
    """Return the word to search: "set" of "store.set()", "" if there is none."""
    match = NAME.search(name)
    if match is None:
        return ""
    return match[1]


def _to_wanted(word: str, facts: PullRequestFacts) -> ChangedName:
    """Return the name with its weights. Common words, such as the names of a mutex, come last."""
    factor = 1.0
    if not is_searched(word):
        factor = IN_TEST
    call = re.compile(rf"{whole(word)}\s*\(")
    is_called = any(call.search(file.numbered) for file in facts.files)
    return ChangedName(word, changed=USES * factor, used=DEFINITIONS * factor, is_called=is_called)
