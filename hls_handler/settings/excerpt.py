"""The line of a settings or prompt file that a message is about, and the part of it to mark.

An excerpt of settings shows the key that the message names. It shows the value only of a known key
that is not secret, since an unknown key may be a misspelt secret; everything else is `…`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from hls_handler.errors import SettingsError
from hls_handler.settings.reference import Reference, has_credentials
from hls_handler.settings.yaml_parser import MAX_BYTES, KeyPlace, parent_path, parse_tree
from hls_handler.untrusted.redaction import redact

MAX_CHARACTERS = 120  # of a line; a longer one is cut
HIDDEN = "…"
BEGINNING = re.compile(r"([\s-]*)(?:(\w+):)?")
CODE = re.compile(r"\{[{%].*?(?:[%}]\}|$)")
WORD = r"(?:(?<!\w)|(?!\w))"  # the beginning or end of a word, or a place outside of words
EXPECTED_TOKEN = re.compile(r"^expected token '[^']*', ")  # which the line does not have
QUOTED = re.compile(r"'([^']+)'|\"([^\"]+)\"|`([^`]+)`")


@dataclass(frozen=True, slots=True)
class FileExcerpt:
    text: str
    start: int  # of the part that is marked
    length: int


def read_excerpt(file: str, number: int, message: str) -> FileExcerpt | None:
    """Return line `number` of a YAML file or a template; None if it cannot be read or is empty."""
    path = Path(file)
    is_yaml = path.suffix in (".yaml", ".yml")
    if not is_yaml and path.suffix != ".j2":
        return None
    try:
        text = path.read_bytes()[:MAX_BYTES].decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
    lines = text.split("\n")
    if number > len(lines):
        return None
    line = lines[number - 1]
    if not line.strip():
        return None
    if not is_yaml:
        return _cut(_excerpt_of_template(line, message))
    place = _find_place(text, number, message)
    if place is None:
        return _excerpt_of_invalid_yaml(line)
    return _cut(_excerpt_of_place(line, place))


def _find_place(text: str, number: int, message: str) -> KeyPlace | None:
    """Return the key that the message begins with, or the section around it, if it is in the
    line.
    """
    try:
        tree = parse_tree(text, "")
    except SettingsError:
        return None
    key = tree.sources.find_key(message.partition(": ")[0])
    while key and tree.lines[key] != number:
        key = tree.sources.find_key(parent_path(key))
    return tree.places.get(key)


def _excerpt_of_place(line: str, place: KeyPlace) -> FileExcerpt:
    """Return the key, and its value if that is public, without what else is in the line."""
    key = place.key
    value = place.value
    before = line[: key.start_mark.column]
    if before.strip(" -"):
        before = f"{HIDDEN} "
    name = ""
    if key is not value:  # no item of a list
        name = f"{key.value}: "
    written = line[value.start_mark.column : value.end_mark.column]
    if value.start_mark.line == key.start_mark.line and _is_public(place, written):
        return FileExcerpt(before + name + written, len(before + name), len(written))
    marked = name.removesuffix(": ") or HIDDEN
    return FileExcerpt(before + name + HIDDEN, len(before), len(marked))


def _is_public(place: KeyPlace, written: str) -> bool:
    key = Reference().find(re.sub(r"\[\d+\]$", "", place.path))
    if key is None or key.secret or key.kind != "key":
        return False
    # else it has escapes, a tag or an anchor, or goes on in another line
    is_whole = written.strip("'\"") == place.value.value
    return is_whole and not has_credentials(written)


def _excerpt_of_invalid_yaml(line: str) -> FileExcerpt:
    """Return the key that the line begins with, if it is a known one."""
    beginning = BEGINNING.match(line)
    assert beginning is not None  # it matches the empty text
    names = {row.path.rpartition(".")[2] for row in Reference().rows}
    text = beginning[1]
    if beginning[2] in names:
        text = f"{beginning[0]} "
    return _mark_all(text.expandtabs(4) + HIDDEN)


def _excerpt_of_template(line: str, message: str) -> FileExcerpt:
    text = redact(line.rstrip().expandtabs(4))
    code = [range(*part.span()) for part in CODE.finditer(text)]
    about = EXPECTED_TOKEN.sub("", message).rpartition(" has no ")[2]
    for quoted in QUOTED.finditer(about):
        name = next(filter(None, quoted.groups()))
        before = ""
        if code and about != message and quoted.start() == 0:
            before = r"(?<=\.)"  # an attribute
        elif code:
            before = r"(?<!\.)"
        for place in re.finditer(rf"{before}{WORD}{re.escape(name)}{WORD}", text):
            if not code or any(place.start() in part for part in code):
                return FileExcerpt(text, place.start(), len(name))
    return _mark_all(text)


def _mark_all(text: str) -> FileExcerpt:
    stripped = text.strip()
    return FileExcerpt(text, text.find(stripped), len(stripped))


def _cut(excerpt: FileExcerpt) -> FileExcerpt:
    """Return the part of a long line that begins some words in front of what is marked."""
    end = excerpt.start + min(excerpt.length, MAX_CHARACTERS // 2)
    offset = 0
    text = excerpt.text
    if end > MAX_CHARACTERS:
        offset = excerpt.start - MAX_CHARACTERS // 2
        text = HIDDEN + text[offset + 1 :]
    text = text[:MAX_CHARACTERS]
    start = excerpt.start - offset
    return FileExcerpt(text, start, min(excerpt.length, len(text) - start))
