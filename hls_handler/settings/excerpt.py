"""The line of a settings or prompt file that a message is about, and the part of it to mark.

An excerpt of settings shows known keys, the key that the message names, and values without
credentials of known keys that are not secret. Everything else except punctuation may be part of a
secret: it is shown as `…`. Comments are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from hls_handler.settings.reference import Reference, has_credentials
from hls_handler.settings.yaml_parser import MAX_BYTES
from hls_handler.untrusted.redaction import redact

MAX_CHARACTERS = 120  # of a line; a longer one is cut
HIDDEN = "…"
PUNCTUATION = "{}[],:-"
UNKNOWN = "?"  # in a path: a key that is not a plain name
NAME = re.compile(r"[\s-]*(\w+):\s*")
CODE = re.compile(r"\{[{%].*?(?:[%}]\}|$)")
WORD = r"(?:(?<!\w)|(?!\w))"  # the beginning or end of a word, or a place outside of words
EXPECTED_TOKEN = re.compile(r"^expected token '[^']*', ")  # which the line does not have
QUOTED = re.compile(r"'([^']+)'|\"([^\"]+)\"|`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Excerpt:
    text: str
    start: int  # of the part that is marked
    length: int


def read_excerpt(file: str, number: int, message: str) -> Excerpt | None:
    """Return line `number` of a YAML file or a template; None if it cannot be read or is empty."""
    path = Path(file)
    is_yaml = path.suffix in (".yaml", ".yml")
    if not is_yaml and path.suffix != ".j2":
        return None
    try:
        text = path.read_bytes()[:MAX_BYTES].decode()
    except (OSError, UnicodeDecodeError):
        return None
    lines = text.split("\n")
    if number > len(lines):
        return None
    if is_yaml:
        excerpt = _excerpt_of_yaml(text, number, message)
    else:
        excerpt = _excerpt_of_template(lines[number - 1], message)
    if not excerpt.text.strip():
        return None
    return _cut(excerpt)


def _cut(excerpt: Excerpt) -> Excerpt:
    """Return the part of a long line that begins some words in front of what is marked."""
    end = excerpt.start + min(excerpt.length, MAX_CHARACTERS // 2)
    left = 0
    text = excerpt.text
    if end > MAX_CHARACTERS:
        left = excerpt.start - MAX_CHARACTERS // 2
        text = HIDDEN + text[left + 1 :]
    shown = text[:MAX_CHARACTERS]
    start = excerpt.start - left
    return Excerpt(shown, start, min(excerpt.length, len(shown) - start))


def _mark_all(text: str) -> Excerpt:
    stripped = text.strip()
    return Excerpt(text, text.find(stripped), len(stripped))


def _excerpt_of_template(line: str, message: str) -> Excerpt:
    text = redact(line.rstrip().expandtabs(4))
    code = [range(*found.span()) for found in CODE.finditer(text)]
    about = EXPECTED_TOKEN.sub("", message).rpartition(" has no ")[2]
    for found in QUOTED.finditer(about):
        name = next(filter(None, found.groups()))
        before = ""
        if code and about != message and found.start() == 0:
            before = r"(?<=\.)"  # an attribute
        elif code:
            before = r"(?<!\.)"
        for place in re.finditer(rf"{before}{WORD}{re.escape(name)}{WORD}", text):
            if not code or any(place.start() in part for part in code):
                return Excerpt(text, place.start(), len(name))
    return _mark_all(text)


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a YAML text."""

    text: str  # of a key or value, without quotes
    start: yaml.Mark
    end: yaml.Mark
    kind: Literal["key", "value", "sign", "mistake"]  # that one lasts to the end of the line
    path: str  # "repositories.name", without the positions of list items

    def columns_in(self, line: str, number: int) -> range:
        """Return the columns of the part in the line of this number."""
        if self.end.line < number - 1 or self.start.line >= number:
            return range(0)
        first = self.start.column
        if self.start.line < number - 1:
            first = 0
        end = self.end.column
        if self.end.line >= number:
            end = len(line)
        return range(first, end)


def _excerpt_of_yaml(text: str, number: int, message: str) -> Excerpt:
    source = text.split("\n")[number - 1]
    named_path, _, about = message.partition("; ")[0].partition(": ")
    list_path = re.sub(r"\[\d+\]", "", named_path)
    known = _find_known_keys()
    shown = ""
    at = 0
    marked = None
    for part in _scan(text):
        columns = part.columns_in(source, number)
        if not columns:
            continue
        shown += " " * (columns.start - at)
        at = columns.stop
        value = re.escape(part.text)
        quoted = f'"{value}"|found {value},'
        if part.text and part.path == list_path:
            quoted += rf"|(?<!\w){value}(?!\w)"
        is_quoted = part.kind == "value" and re.search(quoted, about)
        is_named = part.kind == "key" and f".{named_path}".endswith(f".{part.text}")
        written = source[columns.start : columns.stop]
        if not _is_public(part, written, known, is_named=is_named):
            written = HIDDEN
        if is_quoted or (marked is None and (is_named or part.kind == "mistake")):
            marked = (len(shown), len(written))
        shown += written
    name = NAME.match(source)
    has_parts = shown.strip(f"{HIDDEN} ")  # else YAML ends in front of the line, or of its value
    if name is not None and name[1] in known.names and not has_parts:
        marked = None
        shown = f"{name[0]}{HIDDEN}".expandtabs(4)
    if marked is None:
        return _mark_all(shown)
    return Excerpt(shown, *marked)


@dataclass(frozen=True, slots=True)
class _KnownKeys:
    paths: frozenset[str]
    open_paths: frozenset[str]  # of keys whose values are not secret
    names: frozenset[str]


def _find_known_keys() -> _KnownKeys:
    paths = set()
    open_paths = set()
    for row in Reference().rows:
        path = row.path.replace("[]", "")
        if "*" in path:  # stands for any name
            continue
        paths.add(path)
        if row.kind == "key" and not row.secret:
            open_paths.add(path)
    names = {path.rpartition(".")[2] for path in paths}
    return _KnownKeys(frozenset(paths), frozenset(open_paths), frozenset(names))


def _is_public(part: _Part, written: str, known: _KnownKeys, *, is_named: bool) -> bool:
    if part.kind == "mistake":
        return False
    if part.kind == "sign":  # also a tag, an anchor, an alias or a directive
        return not written.strip(PUNCTUATION)
    if written.strip("'\"") != part.text:  # has escapes, or goes on in another line
        return False
    if part.kind == "key":
        return is_named or part.path in known.paths
    return part.path in known.open_paths and not has_credentials(part.text)


def _scan(text: str) -> Iterator[_Part]:
    """Yield the parts of a text. A text that is not YAML has those in front of the mistake."""
    keys = [""]  # the current key of each open map or list; "" if it has none
    is_key = False
    try:
        for token in yaml.scan(text):
            value = ""
            kind: Literal["key", "value", "sign"] = "sign"
            match token:
                case yaml.BlockMappingStartToken() | yaml.FlowMappingStartToken():
                    keys.append("")
                case yaml.BlockSequenceStartToken() | yaml.FlowSequenceStartToken():
                    keys.append("")
                case (
                    yaml.BlockEndToken() | yaml.FlowMappingEndToken() | yaml.FlowSequenceEndToken()
                ):
                    if len(keys) > 1:
                        keys.pop()
                case yaml.FlowEntryToken():
                    keys[-1] = ""
                case yaml.KeyToken():
                    keys[-1] = UNKNOWN
                    is_key = True
                case yaml.ValueToken():
                    is_key = False
                case yaml.ScalarToken():
                    value = token.value
                    kind = "value"
                    if is_key:
                        kind = "key"
                        keys[-1] = value
                    is_key = False
            path = ".".join(filter(None, keys))
            yield _Part(value, token.start_mark, token.end_mark, kind, path)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark
        if exc.context and "scalar" in exc.context:  # a quote that is not closed
            mark = exc.context_mark
        if mark is not None and mark.column > 0:
            end = yaml.Mark("", 0, mark.line + 1, 0, None, 0)
            yield _Part("", mark, end, "mistake", "")
    except yaml.YAMLError:
        return
