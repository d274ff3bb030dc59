"""Looks up the names on which findings hang: their places in the repository, for the second
look.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set

from hls_handler.github.source import CommitFiles, read_optional
from hls_handler.review.changed_names import IN_TEST, ChangedName, ChangedText
from hls_handler.review.facts import LookedUp, PullRequestFacts
from hls_handler.review.neighbourhood import Search
from hls_handler.review.patches import parse_numbered
from hls_handler.review.source_text import is_searched, whole
from hls_handler.review.surroundings import SearchedFiles, list_sources
from hls_handler.settings.path_globs import PathFilter

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
    places = read_optional(lambda: _search(facts, names, searched), nothing)
    if files.no_mirror:  # it became unavailable
        return nothing
    return places.value


def _search(
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
