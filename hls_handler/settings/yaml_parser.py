"""Strict YAML parser that keeps the line of every key. Expands `${VAR}`.

The parser builds values from PyYAML's node tree, because PyYAML's constructor drops line numbers,
accepts duplicate keys and expands aliases without a limit. Messages never quote values of the file,
which may be secrets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import NoReturn

import yaml

from hls_handler.errors import SettingsError
from hls_handler.settings.problems import rephrase

FILE_SUFFIX = "_path"
"""Ending of a key that names the file of a secret: `token_path`."""

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-((?:(?!\$\{)[^}])*))?\}")
"""Matches `${NAME}` and `${NAME:-default}`."""

MAX_BYTES = 1_000_000
MAX_VALUES = 20_000  # without keys; the values of an alias are counted at each use
MAX_DEPTH = 20

TOO_DEEP = f"nested too deeply; at most {MAX_DEPTH} levels are allowed"

NO_VARIABLES = "contains ${...}; variables are not expanded here, write the value itself"
NO_ALIASES = "aliases (*name) are not allowed here; write the value itself"
CONTROL_CHARACTER = "a control character, which YAML forbids; remove it"

_TAG = "tag:yaml.org,2002:"
_MERGE = _TAG + "merge"
_CONSTRUCTOR = yaml.constructor.SafeConstructor()
_YAML_MESSAGES = {
    r"'\\t'": "this line is indented with a tab; YAML requires spaces",
    "could not find expected ':'": "a key needs a colon after it",
    "mapping values are not allowed": (
        "a colon inside a value; put the value in quotes, or check the indentation"
    ),
    "unexpected end of stream": "a quote that starts here is not closed",
    "<block end>": "the indentation does not fit the lines above",
    "expected ',' or": "a list or map in brackets is not closed",
    "for merging": "<< must be followed by an alias of a map, as in <<: *name",
    "alias|anchor|tag handle|cannot start any token": (
        "a value that starts with a sign such as *, & or @ must be in quotes"
    ),
    "unknown escape": "a backslash in double quotes starts an escape; use single quotes",
}
"""Pattern of PyYAML's messages, which may quote the file -> ours."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Line numbers of the keys in a YAML file, and in the files that are added to it.

    A key path of an added file has a prefix: ".github/hls.yaml:features.bots".
    """

    file: str  # absolute: "/srv/hls/settings.yaml"
    lines: Mapping[str, int] = field(default_factory=dict)  # "repositories[0].events" -> 14
    added: tuple[str, ...] = ()  # files of repositories
    # "server.port" -> "--port", which overrides the file
    options: Mapping[str, str] = field(default_factory=dict)

    def add(self, *others: Sources) -> Sources:
        lines = dict(self.lines)
        for other in others:
            lines |= {f"{other.file}:{key}": line for key, line in other.lines.items()}
        return replace(self, lines=lines, added=tuple(other.file for other in others))

    def contains(self, key: str) -> bool:
        """Return True if the file has the key itself, or the key that names its file, not only the
        section that would contain it.
        """
        return key in self.lines or f"{key}{FILE_SUFFIX}" in self.lines

    def find_key(self, key: str) -> str:
        """Return the key that the file has in place of `key`: `token_path` for `token`, or the
        section of a missing one; "" is the whole file.
        """
        while key and not self.contains(key):
            key = parent_path(key)
        if key in self.lines:
            return key
        return key and f"{key}{FILE_SUFFIX}"

    def find_line(self, key: str) -> int | None:
        """Return the line of `key`; if "claude.model" is missing, the line of "claude"; if both are
        missing, None.
        """
        return self.lines.get(self.find_key(key))

    def where(self, key: str) -> str:
        """Return file, line and key for a message: "/srv/hls/settings.yaml:14
        (repositories[0].events)".
        """
        if key in self.options:
            return f"{self.options[key]} ({key})"
        file = next((added for added in self.added if key.startswith(f"{added}:")), self.file)
        path = key.removeprefix(f"{file}:")
        line = self.find_line(key)
        return f"{file}:{line} ({path})" if line else f"{file} ({path})"

    def change(self, key: str, to: str) -> str:
        """Return an instruction for the user: "set features.bots to true at /srv/settings.yaml:14",
        or "add ...".
        """
        if key in self.lines:
            return f"set {key} to {to} at {self.file}:{self.lines[key]}"
        return f"add {key} to {self.file} and set it to {to}"


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """The place of a key, or of an item of a list, in the text of a file."""

    path: str  # "repositories[0].events"
    key: yaml.Node  # of an item, the item itself
    value: yaml.Node


@dataclass(slots=True)
class Tree:
    """A parsed YAML file, not yet validated against a model."""

    file: str
    root: object = None  # content of the file: dict, list, str, int, float, bool or None
    lines: dict[str, int] = field(default_factory=dict)  # "repositories[0].events" -> 14
    places: dict[str, KeyPlace] = field(default_factory=dict)  # by key path
    # (line, sentence) of problems without a key path
    problems: list[tuple[int, str]] = field(default_factory=list)
    # key path -> sentence; its value in `root` is None
    rejected: dict[str, str] = field(default_factory=dict)

    @property
    def sources(self) -> Sources:
        return Sources(self.file, self.lines)

    def format_problems(self, by_key: Mapping[str, str]) -> list[str]:
        """Return messages sorted by line: "config/settings.yaml:3: server.prot: unknown key".

        `by_key` is {key path: sentence}; `self.problems` are added. If a key is missing, its
        section's line is used.
        """
        problems = [*self.problems]
        for key, sentence in by_key.items():
            line = self.sources.find_line(key) or 0
            problems.append((line, rephrase(sentence, f"{key}: {sentence}")))
        lines = []
        for line, sentence in sorted(problems):
            where = f"{self.file}:{line}" if line else self.file
            lines.append(rephrase(sentence, f"{where}: {sentence}"))
        return lines


class InvalidYaml(SettingsError):
    """A text is not valid YAML, or exceeds a limit on its size or depth."""

    def __init__(self, file: str, line: int, sentence: str) -> None:
        super().__init__([f"{file}:{line}: {sentence}"])
        self.line = line
        self.sentence = sentence


def parse_tree(
    text: str,
    file: str,
    *,
    max_values: int = MAX_VALUES,
    max_chars: int = MAX_BYTES,
    is_literal: bool = False,
) -> Tree:
    """Parse a YAML text. Raises `InvalidYaml`, whose message begins with `file`.

    `max_chars` limits each key and each value. In a literal text, aliases and `${NAME}` are errors.
    """
    loader = None
    tree = Tree(file)
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is not None:
            tree.root = _TreeBuilder(tree, max_values, max_chars, is_literal=is_literal).value(node)
        return tree
    except yaml.reader.ReaderError as exc:
        line = text.count("\n", 0, exc.position) + 1
        sentence = CONTROL_CHARACTER
    except yaml.MarkedYAMLError as exc:
        line, sentence = _line(exc), f"not valid YAML: {_sentence(exc)}"
    except RecursionError:
        line = loader.line + 1 if loader else 1
        sentence = TOO_DEEP
    # "\UFFFFFFFF" in double quotes: the one or the other, by version of Python
    except (
        ValueError,
        OverflowError,
    ):
        line = loader.line + 1 if loader else 1
        sentence = "not valid YAML: an escape sequence is not a valid character"
    finally:
        if loader is not None:
            loader.dispose()
    # outside `except`: PyYAML's errors quote the file, which has secrets
    raise InvalidYaml(file, line, sentence)


def decode(raw: bytes, file: str, *, max_bytes: int = MAX_BYTES) -> str:
    """Decode a settings file. Raises `SettingsError` if it is too large, not UTF-8, or has control
    characters.
    """
    if len(raw) > max_bytes:
        raise SettingsError([f"{file}: larger than {max_bytes} bytes; this is not a settings file"])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        text = None
        start = exc.start
    if text is None:
        raise InvalidYaml(file, raw.count(b"\n", 0, start) + 1, "not UTF-8; save the file as UTF-8")
    forbidden = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if forbidden:
        raise InvalidYaml(file, text.count("\n", 0, forbidden.start()) + 1, CONTROL_CHARACTER)
    return text


def _line(exc: yaml.MarkedYAMLError) -> int:
    marks = [exc.problem_mark, exc.context_mark]
    # an unclosed quote or a key without a colon is reported where it starts
    if exc.context and ("scalar" in exc.context or "simple key" in exc.context):
        marks.reverse()
    return next((mark.line + 1 for mark in marks if mark), 1)


def _sentence(exc: yaml.MarkedYAMLError) -> str:
    problem = f"{exc.context or ''} {exc.problem or ''}"
    return next(
        (words for part, words in _YAML_MESSAGES.items() if re.search(part, problem)),
        "this line cannot be parsed",
    )


class _Dumper(yaml.SafeDumper):
    """Writes a text of several lines as such."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        f"{_TAG}str", text, style="|" if "\n" in text else None
    ),
)


def format_yaml(value: object) -> str:
    return yaml.dump(
        value, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=1_000_000
    ).rstrip("\n")


def key_path(section: str, name: str) -> str:
    """Return the key path of a name in a section; "" is the whole file, and the section itself."""
    return ".".join(filter(None, (section, name)))


def parent_path(path: str) -> str:
    """Return the key path of the section or list that a key is in: "server" for "server.port"."""
    return path[: max(path.rfind("."), path.rfind("["), 0)]


def iter_leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield (key path, value) for each single value in nested dicts, lists and tuples, and for each
    empty list: ("server.port", 8000).
    """
    if isinstance(value, dict):
        for key, item in value.items():
            yield from iter_leaves(item, key_path(path, key))
    elif isinstance(value, list | tuple) and value:
        for index, item in enumerate(value):
            yield from iter_leaves(item, f"{path}[{index}]")
    else:
        yield path, value


def value_at(root: object, path: str) -> object:
    """Return the value at a key path of nested dicts, such as "server.host"; None if there is
    none.
    """
    value = root
    for step in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(step)
    return value


class _TreeBuilder:
    def __init__(self, tree: Tree, max_values: int, max_chars: int, *, is_literal: bool) -> None:
        self._tree = tree
        self._max_values = max_values
        self._max_chars = max_chars
        self._is_literal = is_literal
        self._seen = set[yaml.Node]()
        self._count = 0

    def value(self, node: yaml.Node, path: str = "", depth: int = 0) -> object:
        self._count += 1
        is_alias = node in self._seen
        self._seen.add(node)
        if is_alias and self._is_literal:
            self._stop(node, NO_ALIASES)
        if self._count > self._max_values:
            self._stop(
                node,
                f"more than {self._max_values:,} values; check for aliases (*name) that repeat each"
                " other",
            )
        if depth > MAX_DEPTH:
            self._stop(node, TOO_DEEP)
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            if not is_alias:
                self._check_keys(node, path)
                # inserts the keys of `<<` before the others, which override them
                _CONSTRUCTOR.flatten_mapping(node)
            pairs = {key.value: (key, value) for key, value in node.value}
            return {
                name: self._item(key_path(path, name), *pair, depth) for name, pair in pairs.items()
            }
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [
                self._item(f"{path}[{index}]", item, item, depth)
                for index, item in enumerate(node.value)
            ]
        kind = node.tag.removeprefix(_TAG)
        if isinstance(node, yaml.ScalarNode) and kind in SCALAR_KINDS:
            self._limit_length(node)
            if not self._is_literal or not VARIABLE.search(node.value):
                return _to_scalar(node, kind)
            self._tree.rejected[path] = NO_VARIABLES
            return None
        self._tree.rejected[path] = "a value that starts with ! is a tag; put the value in quotes"
        return None

    def _item(self, path: str, begin: yaml.Node, node: yaml.Node, depth: int) -> object:
        self._tree.lines[path] = begin.start_mark.line + 1
        self._tree.places[path] = KeyPlace(path, begin, node)
        return self.value(node, path, depth + 1)

    def _check_keys(self, node: yaml.MappingNode, path: str) -> None:
        """Remove keys that are no text or written twice, and report each. Of lists or maps of one
        key, the entries of all stay.
        """
        pairs: list[tuple[yaml.Node, yaml.Node]] = []
        lines: dict[str, int] = {}
        values: dict[str, yaml.Node] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag == _MERGE and self._is_literal:
                self._stop(key, NO_ALIASES)
            if not isinstance(key, yaml.ScalarNode):
                self._tree.problems.append((line, "a key must be text, not a list or map"))
                continue
            self._limit_length(key)
            if key.tag != _MERGE and key.value in lines:
                twice = f"written twice, first in line {lines[key.value]}; remove one"
                problem = f"{key_path(path, key.value)}: {twice}"
                self._tree.problems.append((line, problem))
                first = values[key.value]
                if isinstance(first, yaml.CollectionNode) and first.tag == value.tag:
                    first.value += value.value
                continue
            lines[key.value], values[key.value] = line, value
            pairs.append((key, value))
        node.value = pairs

    def _limit_length(self, node: yaml.ScalarNode) -> None:
        if len(node.value) > self._max_chars:
            self._stop(node, f"a key or value has more than {self._max_chars} characters")

    def _stop(self, node: yaml.Node, sentence: str) -> NoReturn:
        raise InvalidYaml(self._tree.file, node.start_mark.line + 1, sentence)


SCALAR_KINDS = frozenset({"null", "bool", "str", "int", "float", "timestamp", "value"})


def _to_scalar(node: yaml.ScalarNode, kind: str) -> object:
    # 1:30 would be 90 in YAML 1.1, which is never intended, and a date is text
    if kind in ("null", "bool", "int", "float") and ":" not in node.value:
        # raised for thousands of digits; `!!bool x`; `!!int ""`
        with suppress(ValueError, KeyError, IndexError):
            return yaml.SafeLoader.yaml_constructors[node.tag](_CONSTRUCTOR, node)
    return str(node.value)
