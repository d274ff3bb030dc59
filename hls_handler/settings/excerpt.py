"""The line of a settings or prompt file that a message is about, and the part of it to mark.

Values of settings may be secrets: an excerpt shows `…` in place of a value, unless its key is known
to be none, the message quotes it, or it is a variable such as ${GITHUB_TOKEN}. Comments are left
out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from hls_handler.settings.reference import Reference
from hls_handler.settings.yaml_parser import MAX_BYTES
from hls_handler.untrusted.redaction import redact

MAX_CHARACTERS = 120  # of a line; a longer one is cut
HIDDEN = "…"
VARIABLE = re.compile(r"\$\{\w+\}")
NAME = re.compile(r"[\s-]*(\w+):\s*")
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
    if not excerpt.text.strip() or excerpt.start >= MAX_CHARACTERS:
        return None
    shown = excerpt.text[:MAX_CHARACTERS]
    return Excerpt(shown, excerpt.start, min(excerpt.length, len(shown) - excerpt.start))


def _mark_all(text: str) -> Excerpt:
    stripped = text.strip()
    return Excerpt(text, text.find(stripped), len(stripped))


def _excerpt_of_template(line: str, message: str) -> Excerpt:
    text = redact(line.rstrip().expandtabs(4))
    for groups in QUOTED.findall(message):
        name = "".join(groups)
        if name in text:
            return Excerpt(text, text.index(name), len(name))
    return _mark_all(text)


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a line. `key` is its own name if it is a key, else that of the key in front."""

    text: str
    start: int  # column
    end: int
    kind: Literal["key", "value", "sign"]
    key: str


def _excerpt_of_yaml(text: str, number: int, message: str) -> Excerpt:
    source = text.split("\n")[number - 1]
    path = message.partition(": ")[0]
    open_names = _list_open_names()
    shown = ""
    at = 0
    marked = None
    for part in _scan_line(text, number):
        shown += source[at : part.start]
        at = part.end
        value = re.escape(part.text)
        is_quoted = part.kind == "value" and re.search(f'"{value}"|found {value},', message)
        is_named = part.kind == "key" and f".{path}".endswith(f".{part.text}")
        if is_quoted or (is_named and marked is None):
            marked = len(shown)
        is_open = part.kind != "value" or part.key in open_names
        if is_quoted or is_open or VARIABLE.fullmatch(part.text):
            shown += source[part.start : part.end]
        else:
            shown += HIDDEN
        if marked is not None and (is_quoted or is_named):
            length = len(shown) - marked
    if not shown:  # YAML ends in front of the line
        name = NAME.match(source)
        if name is not None and name[1] in open_names:
            shown = f"{name[0]}{HIDDEN}".expandtabs(4)
    if marked is None:
        return _mark_all(shown)
    return Excerpt(shown, marked, length)


def _list_open_names() -> frozenset[str]:
    """Return the names of keys of which none is a secret."""
    rows = Reference().rows
    names = {row.path.rpartition(".")[2] for row in rows}
    return frozenset(names - {row.path.rpartition(".")[2] for row in rows if row.secret})


def _scan_line(text: str, number: int) -> Iterator[_Part]:
    """Yield the parts of a line. A line that is not YAML has those in front of the mistake."""
    is_key = False
    key = ""
    try:
        for token in yaml.scan(text):
            start, end = token.start_mark, token.end_mark
            if start.line >= number:
                return
            value = ""
            kind: Literal["key", "value", "sign"] = "sign"
            match token:
                case yaml.KeyToken() | yaml.ValueToken():
                    is_key = isinstance(token, yaml.KeyToken)
                case yaml.BlockEndToken() | yaml.FlowMappingEndToken():
                    key = ""  # an item behind a map does not belong to its last key
                case yaml.ScalarToken():
                    value = token.value
                    kind = "value"
                    if is_key:
                        kind = "key"
                        key = value
                    is_key = False
            if end.line < number - 1:
                continue
            ends_at = end.column
            if end.line >= number:
                ends_at = len(text.split("\n")[number - 1])
            starts_at = start.column
            if start.line < number - 1:
                starts_at = 0
            if ends_at > starts_at:
                yield _Part(value, starts_at, ends_at, kind, key)
    except yaml.YAMLError:
        return
