"""Lists the names of a change for which a review looks in the repository.

They are the names that the lines of its hunks use, the functions and classes that it changes, and
the words that its files no longer have.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from hls_handler.review.file_kinds import is_test_file
from hls_handler.review.grammars import find_grammar
from hls_handler.review.names import Named, find_named
from hls_handler.review.patches import Line, Mark, Patch, Side

WORD = re.compile(r"[\w-]+")
NAME = re.compile(r"[^\W\d]\w{2,99}")
TOKEN = re.compile(r"\w+(?:[./-]\w+)*")
KEY = re.compile(r"[\s\-\"']*(\w[\w./-]*)[\"']?\s*[:=]")
COMPOUND = re.compile(r"_|\d|[a-z][A-Z]|^[A-Z]{3}")
"""Found in words that are names also in the middle of a text: `owner_id`, `dueOn`, `CANCELED`."""

CONSTRUCTORS = {"__init__", "__new__", "constructor"}
"""Methods that are called by the name of their class."""


@dataclass(frozen=True, slots=True)
class ChangedSource:
    path: str
    text: str  # of the new file; "" if it was removed
    patch: Patch
    shown: Patch  # the part of it that a review shows
    above: frozenset[int] = frozenset()  # numbers of the lines that a review shows above its hunks


class Name(NamedTuple):
    text: str
    family: str  # of languages; "" of a file without a grammar


@dataclass(frozen=True, slots=True)
class Use:
    path: str
    # the line did not change, or the name was on a removed line and the new file has it elsewhere
    is_lasting: bool
    named: Named


@dataclass(slots=True)
class Wanted:
    """The uses of a name, and its changed definitions."""

    uses: list[Use] = field(default_factory=list)
    changed: dict[str, list[Named]] = field(default_factory=dict)
    """The functions and classes of this name that changed, by path."""

    @property
    def is_main(self) -> bool:
        """Return True if changed lines use it, or if it changed itself."""
        return bool(self.changed) or not all(use.is_lasting for use in self.uses)

    @property
    def rank(self) -> tuple[int, int]:
        number = sum(not use.is_lasting for use in self.uses) or len(self.uses)
        return not self.is_main, -number - len(self.changed)


@dataclass(frozen=True, slots=True)
class Gone:
    """A word on removed lines that the new file no longer has."""

    path: str
    family: str
    # of the definition that had the name; None if it was only used, or in a string
    owners: tuple[str, ...] | None
    is_name: bool  # it was a name in the code, not only a word in a string
    tokens: frozenset[str]  # with the word of a string on removed lines: `paid`, `order.paid`

    def has_joined(self, line: str) -> bool:
        """Return True if a line has one of the longer tokens, such as `order.paid`."""
        joined = [re.escape(token) for token in self.tokens if not token.isidentifier()]
        return any(re.search(rf"(?<![\w.-]){token}\b", line) for token in joined)


@dataclass(slots=True)
class WantedNames:
    names: dict[Name, Wanted] = field(default_factory=dict)
    gone: dict[str, Gone] = field(default_factory=dict)  # by word
    words: dict[str, frozenset[str]] = field(default_factory=dict)
    """The words of the changed files before and after the change, by path."""


def find_family(path: str) -> str:
    grammar = find_grammar(path)
    if grammar is None:
        return ""
    return grammar.family or grammar.module


def lines_of(patch: Patch, side: Side) -> list[Line]:
    return [line for line in patch.lines if line.side == side]


def list_wanted(changed: Sequence[ChangedSource]) -> WantedNames:
    wanted = WantedNames()
    present: set[str] = set()
    for source in changed:
        present.update(NAME.findall(source.text))
    for source in changed:
        _add_source(wanted, source, present)
    return wanted


def _add_source(wanted: WantedNames, source: ChangedSource, present: set[str]) -> None:
    family = find_family(source.path)
    text = text_before(source)
    before = text or ""
    wanted.words[source.path] = frozenset(WORD.findall(f"{source.text}\n{before}"))
    rows: dict[Mark, list[int]] = {"+": [], "-": [], " ": []}
    for line in source.shown.lines:
        if line.text.strip() and (text is not None or line.mark == "+"):
            rows[line.mark].append(line.number - 1)
    new = find_named(source.text, source.path, rows["+"] + rows[" "])
    old = find_named(before, source.path, rows["-"])
    for mark, of_mark in rows.items():
        named = old if mark == "-" else new
        on_rows = sorted(of_mark)
        if not is_test_file(source.path):
            _add_uses(wanted, source, mark, [one for one in named if one.row in set(on_rows)])
        if mark == " ":
            continue
        for one in _find_innermost(named, on_rows):
            called = one.name
            if called in CONSTRUCTORS and one.owners:
                called = one.owners[0]
            of_name = wanted.names.setdefault(Name(called, family), Wanted())
            of_name.changed.setdefault(source.path, []).append(one)
    if not is_test_file(source.path):
        _add_gone(wanted, source, old, present)


def _add_uses(
    wanted: WantedNames, source: ChangedSource, mark: Mark, named: Sequence[Named]
) -> None:
    """Add the names that lines with this mark use."""
    family = find_family(source.path)
    calls = {(one.name, one.row) for one in named if one.kind == "call"}
    present: set[str] = set()
    if mark == "-":
        present.update(NAME.findall(source.text))
    for one in named:
        is_again = one.kind != "call" and (one.name, one.row) in calls
        if one.kind in ("call", "plain", "member") and not is_again:
            use = Use(source.path, mark == " " or one.name in present, one)
            wanted.names.setdefault(Name(one.name, family), Wanted()).uses.append(use)


def _find_innermost(named: Sequence[Named], rows: Sequence[int]) -> list[Named]:
    """Return the innermost function or class around each of the sorted rows that is in one, each
    once.
    """
    innermost: dict[int, Named] = {}
    for one in named:  # an outer one comes first
        if one.kind == "definition":
            inside = rows[
                bisect_left(rows, one.scope.first) : bisect_left(rows, one.scope.last + 1)
            ]
            innermost |= dict.fromkeys(inside, one)
    return [*dict.fromkeys(innermost.values())]


def _add_gone(
    wanted: WantedNames, source: ChangedSource, old: Sequence[Named], present: set[str]
) -> None:
    """Add the words on removed lines that the new file no longer has, unless they moved to another
    changed file.
    """
    family = find_family(source.path)
    own = set(NAME.findall(source.text))
    removed = lines_of(source.shown, "LEFT")
    tokens = _list_tokens(removed)
    rows = {line.number - 1 for line in removed}
    called = {one.name for one in old if one.kind == "call"}
    for one in old:
        word = one.name
        if one.row not in rows or word in own or not NAME.fullmatch(word):
            continue
        of_word = {word}
        if one.kind == "text":
            of_word = tokens.get(word, of_word)  # alone after an escape: `\npaid`
        is_member = one.kind == "member" and word not in called
        gone = Gone(source.path, family, None, is_name=is_member, tokens=frozenset(of_word))
        if one.kind in ("definition", "value"):
            wanted.gone[word] = replace(gone, owners=one.owners, is_name=True)
        elif word not in present and (is_member or one.kind == "text"):
            wanted.gone.setdefault(word, gone)
    if family:
        return
    for line in removed:
        in_key: list[str] = []
        key = KEY.match(line.text)
        if key is not None:
            in_key = NAME.findall(key[1])
        for word in NAME.findall(line.text):
            if word not in present and (word in in_key or COMPOUND.search(word)):
                of_word = tokens[word]
                gone = Gone(source.path, family, None, is_name=False, tokens=frozenset(of_word))
                wanted.gone.setdefault(word, gone)


def _list_tokens(lines: Sequence[Line]) -> dict[str, set[str]]:
    """Return the tokens of lines, such as `order.paid`, by each of their words."""
    tokens: dict[str, set[str]] = {}
    for line in lines:
        for token in TOKEN.findall(line.text):
            for word in NAME.findall(token):
                tokens.setdefault(word, set()).add(token)
    return tokens


def text_before(source: ChangedSource) -> str | None:
    """Return the text of the file before the change; None if the patch does not fit to the text."""
    new = source.text.split("\n")
    before = list[str]()
    at = 0  # index of the next line of the new file
    for line in source.patch.lines:
        done = len(before) if line.side == "LEFT" else at
        unchanged = max(line.number - 1 - done, 0)
        before += new[at : at + unchanged]
        at += unchanged
        if line.side == "RIGHT":
            if at >= len(new) or new[at] != line.text:
                return None
            at += 1
        if line.mark != "+":
            before.append(line.text)
    return "\n".join([*before, *new[at:]])


def is_in_text(word: str, gone: Gone, line: str) -> bool:
    """Return True if a text, such as a string, has what is gone."""
    if COMPOUND.search(word):
        return True
    if gone.has_joined(line):
        return True
    before = "\"'`:"
    if not gone.family:
        before += "."  # code joins keys of settings: `t("cart.submit")`
    is_whole = re.search(rf"[{before}]{word}[\"'`]", line) is not None
    return is_whole and word in gone.tokens


def by_path(uses: Sequence[Use]) -> Mapping[str, list[Use]]:
    found: dict[str, list[Use]] = {}
    for use in uses:
        found.setdefault(use.path, []).append(use)
    return found
