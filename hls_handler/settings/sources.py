"""A settings file as plain values with the line of every key: YAML read strictly, and nothing in it echoed.

The node tree of PyYAML is composed and walked here, because its constructor forgets lines, lets a doubled key win in
silence, and follows aliases without a bound. No message repeats text of the file: it may be a secret.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from hls_handler.errors import SettingsError
from hls_handler.settings.model import Sources

MAX_BYTES = 1_000_000
MAX_NODES = 20_000  # an alias counts as often as it is used
MAX_DEPTH = 20

_TAG = "tag:yaml.org,2002:"
_OWN_WORDS = {
    "'\\t'": "a tab indents this line; YAML wants spaces",
    "cannot start any token": "a value cannot start with this character; put the value in quotes",
    "could not find expected ':'": "a key needs a colon after it",
    "mapping values are not allowed": "a colon inside a value; put the value in quotes, or check the indentation",
    "unexpected end of stream": "a quote is opened here and never closed",
    "unknown escape": "a backslash in double quotes starts an escape; use single quotes",
    "<block end>": "the indentation does not fit the lines above",
    "expected ',' or": "a list or map in brackets is not closed",
    "undefined alias": "a value that starts with * is an alias; put the value in quotes",
    "duplicate anchor": "two values have the same anchor (&name); a value that starts with & stands in quotes",
    "single document": "a second document starts here; one file holds one document",
    "undefined tag handle": "a value that starts with ! is a tag; put the value in quotes",
}


@dataclass(slots=True)
class Tree:
    """What a file says, before anybody asked whether it makes sense."""

    file: str
    root: object = None  # dicts, lists, str, int, float, bool, None
    lines: dict[str, int] = field(default_factory=dict)  # "repositories[0].events" -> 14
    problems: list[tuple[int, str]] = field(default_factory=list)  # line and sentence
    refused: dict[str, str] = field(default_factory=dict)  # key path and sentence: the value there is None

    @property
    def sources(self) -> Sources:
        return Sources(self.file, self.lines)


def read_tree(path: Path) -> Tree:
    """Read a settings file. Raises `SettingsError` where it cannot be read as YAML at all."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise SettingsError([f"{path}: there is no such file; name another with --config or HLS_CONFIG"]) from None
    except OSError as exc:
        raise SettingsError([f"{path}: cannot be read: {exc.strerror}"]) from None
    return parse_tree(decode(raw, str(path)), str(path))


def parse_tree(text: str, file: str) -> Tree:
    """What a text that `decode` gave says; `file` is what messages call it. Raises `SettingsError` as `read_tree`."""
    loader = yaml.SafeLoader(text)
    tree = Tree(file)
    try:
        node = loader.get_single_node()
        if node is not None:
            tree.root = _Walk(tree, loader).value(node, "", 0)
        return tree
    except yaml.MarkedYAMLError as exc:
        problem = f":{_line(exc)}: not valid YAML: {_sentence(exc)}"
    except RecursionError:
        problem = f": nested too deeply; settings have at most {MAX_DEPTH} levels"
    except (ValueError, OverflowError):  # "\UFFFFFFFF" in double quotes
        problem = ": not valid YAML: an escape that names no character"
    finally:
        loader.dispose()
    raise SettingsError([f"{file}{problem}"])  # outside of `except`: PyYAML's errors quote the file, which has secrets


def decode(raw: bytes, file: str, *, most_bytes: int = MAX_BYTES) -> str:
    """The text of a settings file. Raises `SettingsError` for what is too large, or no text that YAML takes."""
    if len(raw) > most_bytes:
        raise SettingsError([f"{file}: larger than {most_bytes} bytes; this is not a settings file"])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        text, start = None, exc.start
    if text is None:
        raise SettingsError([f"{file}:{_count_lines(raw[:start])}: not UTF-8; save the file as UTF-8"])
    forbidden = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if forbidden:
        line = _count_lines(text[: forbidden.start()].encode("utf-8", "surrogatepass"))
        raise SettingsError([f"{file}:{line}: a control character, which YAML forbids; remove it"])
    return text


def _count_lines(before: bytes) -> int:
    return before.count(b"\n") + 1


def _line(exc: yaml.MarkedYAMLError) -> int:
    """Where the mistake was made: for what is opened and not closed, where it was opened."""
    opened = exc.context_mark if exc.context and ("scalar" in exc.context or "simple key" in exc.context) else None
    mark = opened or exc.problem_mark or exc.context_mark
    return mark.line + 1 if mark else 1


def _sentence(exc: yaml.MarkedYAMLError) -> str:
    theirs = f"{exc.context or ''} {exc.problem or ''}"
    return next((words for part, words in _OWN_WORDS.items() if part in theirs), "this line cannot be understood")


def leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every value of a tree that is no dict and no list, with its key path."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, f"{path}[{index}]")
    else:
        yield path, value


class _Walk:
    """One walk over the node tree; counts what it visits, so that a few aliases cannot become millions of values."""

    def __init__(self, tree: Tree, loader: yaml.SafeLoader) -> None:
        self._tree = tree
        self._loader = loader
        self._left = MAX_NODES

    def value(self, node: yaml.Node, path: str, depth: int) -> object:
        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH:
            limit = f"{MAX_NODES} values" if self._left < 0 else f"{MAX_DEPTH} levels"
            raise SettingsError([f"{self._at(node)}: more than {limit}; do aliases (*name) repeat each other?"])
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            items = []
            for index, item in enumerate(node.value):
                self._tree.lines[f"{path}[{index}]"] = item.start_mark.line + 1
                items.append(self.value(item, f"{path}[{index}]", depth + 1))
            return items
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        self._refuse_tag(path)
        return None

    def _mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, object]:
        merged: dict[str, object] = {}
        written: dict[str, object] = {}
        for _, value_node in (pair for pair in reversed(node.value) if pair[0].tag == _TAG + "merge"):
            merged = merged | self._merge(value_node, path, depth)
        for key_node, value_node in (pair for pair in node.value if pair[0].tag != _TAG + "merge"):
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(key_node, "a key must be a plain word")
                continue
            key = key_node.value
            key_path = f"{path}.{key}" if path else key
            if key in written:
                first = self._tree.lines[key_path]
                self._problem(key_node, f"{key_path}: written twice, first in line {first}; remove one")
                continue
            self._forget_below(key_path)
            self._tree.lines[key_path] = key_node.start_mark.line + 1
            written[key] = self.value(value_node, key_path, depth + 1)
        return merged | written

    def _merge(self, node: yaml.Node, path: str, depth: int) -> dict[str, object]:
        """`<<: *defaults` or `<<: [*first, *second]`; of several, the first one that has a key gives it.

        So it is walked last: the lines that are kept are those of what holds.
        """
        merged: dict[str, object] = {}
        for source in reversed(node.value) if isinstance(node, yaml.SequenceNode) else [node]:
            value = self.value(source, path, depth + 1)
            if isinstance(value, dict):
                merged = merged | value
            else:
                self._problem(source, "<< takes a map, as an alias: <<: *name")
        return merged

    def _scalar(self, node: yaml.ScalarNode, path: str) -> object:
        """A typed value where YAML's own rules give a simple one; anything else stays the text that it is."""
        kind = node.tag.removeprefix(_TAG)
        if kind == "null":
            return None
        if kind == "bool":
            return bool(self._loader.construct_yaml_bool(node))
        if kind in ("int", "float") and ":" not in node.value:  # 1:30 is 90 in YAML 1.1, and nobody means that
            try:
                return self._loader.construct_yaml_int(node) if kind == "int" else float(node.value.replace("_", ""))
            except ValueError:  # thousands of digits, .inf
                return str(node.value)
        if kind not in ("str", "int", "float", "timestamp", "value"):
            self._refuse_tag(path)
            return None
        return str(node.value)

    def _forget_below(self, path: str) -> None:
        """A key that a merge brought is given anew: what stood beneath it is gone, and so are its lines."""
        if path in self._tree.lines:
            for below in [known for known in self._tree.lines if known.startswith((f"{path}.", f"{path}["))]:
                del self._tree.lines[below]

    def _refuse_tag(self, path: str) -> None:
        self._tree.refused[path] = "a tag (!...) is not supported; remove it"

    def _at(self, node: yaml.Node) -> str:
        return f"{self._tree.file}:{node.start_mark.line + 1}"

    def _problem(self, node: yaml.Node, sentence: str) -> None:
        self._tree.problems.append((node.start_mark.line + 1, sentence))
