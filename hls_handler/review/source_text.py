"""Reads source text by its indentation, and by lines that look like definitions in any of the usual
languages.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence, Set
from functools import cached_property
from typing import Literal, NamedTuple

MAX_CHARACTERS = 400  # of a line that is read; the rest has no names
TAB_WIDTH = 4
MAX_SIGNATURE_LINES = 10
MAX_LINES_ABOVE = 8  # comments and decorators of a definition
MAX_MEMBER_LINES = 12  # of a type that is too long, around a line of it
LONG_NAME = 4  # characters
SHORT_NAME = 2  # of what the change defines, or imports and calls

KEYWORDS = frozenset(
    re.findall(
        r"\w+",
        """
    abstract alias also and any anyhow arguments args argv array arraylist as assert assertequal
    assertequals async await auto base bool boolean break bytes byte case cast catch chan char class
    clone close collect console const constexpr constructor continue crate data date debug declare
    def default defer define del delete deref dict dispose double each elif elsif else elseif empty
    endif ensure enum err errorf error errors except exception exports expect export extends extern
    false fatal file files final finally find first float for foreach format from func function
    global goto hash hashmap id if impl implements import in include index info init inline input
    instanceof int integer interface into internal is item items iter java join just key keys kwargs
    lambda last length less let line list local lock log long loop macro main make map match math
    message method mod module move mut mutable name namespace new next nil node none nonlocal not
    null number object okay only open operator option optional output override package panic param
    params parse pass path pointer print printf println private protected promise property protocol
    prototype pub public push raise range readonly record ref register reject require rescue resolve
    result results return returns self send sequence set short signed size sizeof slice some sort
    source split start state static std stop str string strings struct sub super switch symbol
    synchronized table target template test text then this throw throws time trait transient true
    tuple type typedef typeof undefined union unless unlock unsigned unsafe until unwrap update url
    use using utf8 uint8 value values vec vector virtual void volatile wait warn when where while
    with without words write yield uint32 uint64 int32 int64 size_t float64 float32 cls append added
    todo note begin ctx fmt instance logger obj params parent request response stderr stdout tmp
    util utils""",
    )
)
"""Words of code, in lower case, that are too common to be searched."""

SQL = frozenset(
    re.findall(
        r"\w+",
        """
    add all alter and any as asc between bigint by cascade case check coalesce column commit
    conflict constraint create database default delete desc distinct do drop else end except
    exists foreign from full grant group having if in index inner insert integer intersect
    interval into is join key left like limit merge not nothing now null numeric offset on or
    order outer over partition primary references replace restrict returning revoke right
    rollback row rows schema select sequence serial set table temporary then timestamp to
    transaction trigger truncate union unique update using values varchar view when where with""",
    )
)
"""Words of SQL, in lower case, that name nothing."""

CONTROL = frozenset(
    re.findall(
        r"\w+",
        """
    if else elif for while switch catch return do try with match case new throw await yield when
    unless until in not and or typeof sizeof delete assert raise except elsif goto print echo del
    import from using package super this self some exists""",
    )
)
"""Words that neither begin a definition nor are defined."""

FIELD_OF_SELF = re.compile(r"\s*(?:self|this|\$this)(?:\.|->)\w")

WORD = re.compile(r"[A-Za-z_$][\w$]*")
CHAIN = re.compile(r"[\w$]+(?:[.:/-]+[\w$]+)+")
NAME_IN_TEXT = re.compile(r"[A-Za-z]+(?:_[a-z0-9]+)+|[a-z]+[A-Z]\w+")
"""What is written as only names are: a_b, aB."""

COMMENT = re.compile(r"\s*(//|#(?!\s*(define|include)|\[)|/?\*|--\s|\"\"\"|''')")
END_COMMENT = re.compile(r"(^|\s)(//|#\s|--\s|/\*).*")
IMPORT = re.compile(
    r"\s*(?:import\b|from\s+\S+\s+import\b|use\s+[\w:{\\]|using\s+(?!var\b)[\w.= ]+;"
    r"|require(?:_relative)?\b\s*\(?\s*['\"]|#\s*include|package\s|export\s.*\bfrom\b)"
)
QUOTED = re.compile(r'"(?:\\.|[^"\\])*"|(?<![&<])\'(?:\\.|[^\'\\])*\'|`[^`]*`')
IN_BRACES = re.compile(r"\{([^{}]*)\}")
TEXTS = re.compile(r'"([^"]*)"|[\'`]([^\'`]*)[\'`]')

_WORDS_BEFORE = (
    r"(?:(?:export|default|pub(?:\([^)]*\))?|public|private|protected|internal|static|final"
    r"|readonly|declare|abstract|override|async|extern|inline|unsafe|virtual|get|set)\s+)"
)
_MODIFIERS = f"{_WORDS_BEFORE}*"
_NAME = r"([A-Za-z_$][\w$]*)"

DefinitionKind = Literal["callable", "type", "value"]

_TYPES = (
    (
        rf"\s*{_MODIFIERS}(?:sealed\s+|data\s+|const\s+)?(?:enum(?:\s+(?:class|struct))?|class"
        rf"|struct|interface|trait|union|record|object|module|namespace|type|typedef\s+struct"
        rf"|message|protocol)\s+{_NAME}"
    ),
)
_CALLABLES = (
    (
        rf"\s*{_MODIFIERS}(?:def|func|fn|function\*?|fun|sub|proc)\s+(?:\([^)]*\)\s*)?"
        r"(?:\w+[.:]{1,2})*([A-Za-z_$][\w$]*[?!]?)"
    ),
    rf"\s*{_WORDS_BEFORE}+{_NAME}\s*(?:<[^>]*>)?\([^;=]*$",
    r"\s*#\s*define\s+([A-Za-z_]\w*)",
    r"\s*macro_rules!\s+(\w+)",
    r"\s*(?:[\w:<>,\[\]*&?.@]+\s+)+[*&]*(?:\w+::)*([A-Za-z_]\w*)\s*\([^;]*;?\s*$",
    rf"\s*{_MODIFIERS}[*#]?{_NAME}\s*(?:<[^>]*>)?\((?:(?!=>)[^;])*\{{\s*$",
    (
        rf"\s*{_MODIFIERS}(?:(?:const|let|var|val)\s+)?(?:\w+\.)*{_NAME}\s*(?::[^=]*)?[:=]\s*"
        r"(?:async\s*)?(?:function\b|\([^)]*\)\s*(?::\s*[^=]+)?=>|[\w$]+\s*=>|lambda\b)"
    ),
)
_VALUES = (
    (
        rf"\s*{_MODIFIERS}(?:const(?:expr)?\s+)?(?:\w+::)*[\w<>\[\].*,&]+\s+\*?([A-Za-z_]\w*)\s*"
        r"(?:\[[^\]]*\]\s*)?(?:=.*)?;\s*$"
    ),
    rf"{_MODIFIERS}(?:const|let|var|val)\s+(?:mut\s+)?{_NAME}",
    r"([A-Za-z_]\w*)\s*(?::[^=]+)?=[^=]",
    r"\s+(?:self|this)\.([A-Za-z_]\w*)\s*(?::[^=]+)?=[^=]",
    rf"\s+{_MODIFIERS}[\"']?{_NAME}[\"']?[?!]?:\s[^=]*[;,]\s*$",
    r"    ([A-Za-z_]\w*):\s*[A-Za-z][\w\[\]., |]*(?:=.*)?$",
    r"\t([A-Za-z_]\w*)\s+[\w\[\]*.{}]+\s*(?:`.*`)?\s*(?://.*)?$",
)
_PATTERNS: Mapping[DefinitionKind, Sequence[str]] = {
    "type": _TYPES,
    "callable": _CALLABLES,
    "value": _VALUES,
}
DEFINITIONS = [
    (kind, re.compile(pattern)) for kind, patterns in _PATTERNS.items() for pattern in patterns
]
TABLE_NAME = r"(?:[\"`\[]?\w+[\"`\]]?\.)?[\"`\[]?(\w+)"
CREATE_TABLE = re.compile(
    r"\s*create\s+(?:\w+\s+){0,3}?(?:table|view)\s+(?:if\s+not\s+exists\s+)?" + TABLE_NAME,
    re.IGNORECASE,
)
SQL_FILES = (".sql", ".ddl")
KEY = re.compile(r"\s*([\w-]+):(?:\s|$)")
KEY_FILES = (".yml", ".yaml", ".toml")

METHOD_OF = re.compile(r"func\s+\(\w+\s+\*?(\w+)")
IMPL = re.compile(r"\s*(?:unsafe\s+)?impl\b([^{]*)")
TARGET = re.compile(r"(?:&|mut\s|dyn\s|'\w+\s|\s)*(?:\w+::)*(\w+)")
"""Methods in Go and Rust, whose type stands elsewhere."""

GOES_ON = re.compile(
    r"\s*(?:[)\]}{]|(?:else|elif|elsif|except|finally|catch|rescue|ensure|where|end(?!\())\b)"
)
"""A line that goes on with the block which an earlier line of its indentation started."""

SIGNATURE_END = re.compile(r"[:{;]\s*$|=>\s*$")
ABOVE = re.compile(r"\s*(?://|#|/?\*|@|--|\"\"\")|[A-Za-z_][\w \*]*$")


class Definition(NamedTuple):
    name: str
    kind: DefinitionKind


def find_definition(line: str, path: str) -> Definition | None:
    """Return what a line seems to define: a function, a type, or a constant, field or key."""
    line = line[:MAX_CHARACTERS]
    table = CREATE_TABLE.match(line)
    if table:
        return Definition(table[1], "type")
    first = WORD.search(line)
    if first is None or COMMENT.match(line) or _is_statement(line, first[0], path):
        return None
    for kind, pattern in DEFINITIONS:
        match = pattern.match(line)
        if match and match[1].lower() not in CONTROL:
            return Definition(match[1], kind)
    match = KEY.match(line)
    if match and path.endswith(KEY_FILES):
        return Definition(match[1], "value")
    return None


def _is_statement(line: str, first: str, path: str) -> bool:
    """Return True if a line begins with a word of control or of SQL, and defines nothing."""
    if FIELD_OF_SELF.match(line):
        return False
    if first in CONTROL:
        return True
    return first.lower() in SQL and (first.isupper() or path.endswith(SQL_FILES))


def is_searched(word: str, least: int = LONG_NAME) -> bool:
    """Return False for words that are too common or have fewer than `least` letters."""
    return len(word) >= least and word.lower() not in KEYWORDS | SQL


def list_words(line: str, imported: Collection[str]) -> list[str]:
    """Return the names on a line: those of its code but for common words, and in its texts what is
    written as only names are.
    """
    line = line[:MAX_CHARACTERS]
    words = [word for word in WORD.findall(code_of(line)) if is_searched(word) or word in imported]
    for double, other in TEXTS.findall(line):
        text = double or other
        names = NAME_IN_TEXT.findall(text)
        if CHAIN.fullmatch(text):
            names = [text]
        words += [name for name in names if len(name) >= LONG_NAME and name not in words]
    return words


def code_of(line: str) -> str:
    """Return a line without comments and texts, but with a text that is one name, and with what
    stands in braces in one.
    """
    return remove_comment(QUOTED.sub(_read_text, line[:MAX_CHARACTERS]))


def remove_comment(line: str) -> str:
    if COMMENT.match(line):
        return ""
    return END_COMMENT.sub("", line)


def _read_text(match: re.Match[str]) -> str:
    text = match[0][1:-1]
    if not re.fullmatch(r"[\w$]+", text):
        text = " ".join(IN_BRACES.findall(text))
    return f" {text} "  # apart from a prefix, as in f"{a}"


def whole(word: str) -> str:
    """Return the pattern of a word that is no part of another one."""
    return rf"(?<![\w$]){re.escape(word)}(?![\w$])"


class SourceText:
    """A file. Its lines are counted from 1."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.lines = ["", *text.split("\n")]
        if not self.lines[-1]:
            self.lines.pop()
        self.last = len(self.lines) - 1

    @cached_property
    def _text(self) -> str:
        return "\n".join(self.lines)

    @cached_property
    def _words(self) -> Set[str]:
        return frozenset(re.findall(r"[\w$]+", self._text))

    def has(self, word: str) -> bool:
        if re.fullmatch(r"[\w$]+", word):
            return word in self._words
        return re.search(whole(word), self._text) is not None

    @cached_property
    def _indents(self) -> list[int | None]:
        """The indentation of each line; None of blank lines and comments."""
        return [_measure_indent(line) for line in self.lines]

    @cached_property
    def _begins(self) -> list[int]:
        """For each line the line that starts the block around it; 0 if it is in none."""
        begins = [0] * len(self.lines)
        outer: list[int] = []  # begins of the blocks around the present line
        waiting: list[int] = []  # blank lines and comments, which are in the block of what follows
        for number, indent in enumerate(self._indents):
            waiting.append(number)
            if indent is None:
                continue
            goes_on = GOES_ON.match(self.lines[number])
            while outer and self._indent(outer[-1]) >= indent + bool(goes_on):
                outer.pop()
            for earlier in waiting:
                begins[earlier] = [0, *outer][-1]
            waiting.clear()
            if not goes_on:
                outer.append(number)
        return begins

    def _indent(self, number: int) -> int:
        return self._indents[number] or 0

    def list_begins(self, number: int) -> list[int]:
        """Return the lines that start the blocks around a line, the innermost first."""
        begins: list[int] = []
        begin = self._begins[number]
        while begin:
            begins.append(begin)
            begin = self._begins[begin]
        return begins

    def find_end(self, begin: int) -> int:
        """Return the last line of the block that a line starts."""
        return self._ends[begin]

    @cached_property
    def _ends(self) -> list[int]:
        ends = list(range(len(self.lines)))
        for number in range(self.last, 0, -1):
            begin = self._begins[number]
            if self._indents[number] is not None:
                ends[begin] = max(ends[begin], ends[number])
        return ends

    def find_top(self, number: int) -> int:
        """Return the first of the comments, decorators and types right above a line."""
        top = number
        while top > max(1, number - MAX_LINES_ABOVE) and ABOVE.match(self.lines[top - 1]):
            top -= 1
        return top

    def list_signature(self, begin: int) -> range:
        """Return the lines of a signature, from its first one."""
        for number in range(begin, min(begin + MAX_SIGNATURE_LINES, self.last) + 1):
            if SIGNATURE_END.search(self.lines[number]):
                return range(begin, number + 1)
        return range(begin, begin + 1)

    def find_definition(self, number: int) -> Definition | None:
        return find_definition(self.lines[number], self.path)

    @cached_property
    def _definitions(self) -> Set[Definition]:
        definitions = {find_definition(line, self.path) for line in self.lines}
        return frozenset(filter(None, definitions))

    @cached_property
    def defined_names(self) -> Set[str]:
        return frozenset(definition.name for definition in self._definitions)

    @cached_property
    def has_code(self) -> bool:
        """False of SQL, YAML and the like, which define no function and no type."""
        return any(definition.kind != "value" for definition in self._definitions)

    def is_type(self, begin: int) -> bool:
        definition = self.find_definition(begin)
        return definition is not None and definition.kind == "type"

    @cached_property
    def scopes(self) -> list[str]:
        """For each line the name of the type that it is in; "" if it is in none."""
        scopes = [""] * len(self.lines)
        scope_by_begin: dict[int, str] = {}
        for number, begin in enumerate(self._begins):
            if begin and begin not in scope_by_begin:
                scope_by_begin[begin] = self._find_scope(begin) or scopes[begin]
            scopes[number] = scope_by_begin.get(begin, "")
        return scopes

    def _find_scope(self, begin: int) -> str:
        line = self.lines[begin][:MAX_CHARACTERS]
        method = METHOD_OF.match(line)
        if method:
            return method[1]
        impl = IMPL.match(line)
        if impl:
            return _find_target(impl[1])
        definition = self.find_definition(begin)
        if definition and definition.kind == "type":
            return definition.name
        return ""

    def list_extent(self, first: int, last: int, max_lines: int) -> set[int]:
        """Return the largest block of at most `max_lines` lines around some lines, and the
        signatures of the blocks around it.

        Of a block that is longer, it has more of what follows than of what is above.
        """
        code = [number for number in range(first, last + 1) if self._indents[number] is not None]
        outermost = min(code, key=self._indent, default=first)
        end = last
        for number in reversed(code):
            if self._indent(number) == self._indent(outermost):
                end = max(self.find_end(number), last)
                break
        top = first
        end = min(end, max(last, first + max_lines - 1))
        outer = self.list_begins(outermost)
        while outer:
            outer_top = self.find_top(outer[0])
            outer_end = max(self.find_end(outer[0]), end)
            if outer_end - outer_top >= max_lines:
                break
            top = outer_top
            end = outer_end
            outer.pop(0)
        if outer:
            if self.is_type(outer[0]):
                max_lines = min(max_lines, MAX_MEMBER_LINES)
            room = max_lines - (end - top + 1)
            below = max(self.find_end(outer[0]) - end, 0)
            above = min(top - outer[0] - 1, max(room * 2 // 5, room - below, 0))
            top -= above
            end += min(below, max(room - above, 0))
        extent = set(range(top, end + 1))
        for begin in outer:
            extent.update(self.list_signature(begin))
        return extent


def _find_target(head: str) -> str:
    """Return the type of an `impl` in Rust: "Walker" of "<'de> Visitor<'de> for Walker"."""
    head = head.partition(" where ")[0].replace("->", "")
    before, _, target = head.rpartition(" for ")
    if not before:
        depth = 0
        for index, character in enumerate(head):
            depth += (character == "<") - (character == ">")
            if depth == 0 and character != " ":
                target = head[index:].lstrip(">")
                break
    match = TARGET.match(target)
    if match is None:
        return ""
    return match[1]


def _measure_indent(line: str) -> int | None:
    line = line[:MAX_CHARACTERS].expandtabs(TAB_WIDTH)
    text = line.lstrip()
    if not text or COMMENT.match(text):
        return None
    return len(line) - len(text)
