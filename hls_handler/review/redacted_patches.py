"""Numbers, cleans and redacts GitHub's patches.

A hunk shows a few lines of its file, so redaction would not recognise a private key that begins
above it. Such a hunk gets a line that begins a key, with the number 0, until it is redacted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from hls_handler.github.source import CommitFiles, read_texts
from hls_handler.review.patches import (
    HUNK_HEADER,
    Hunk,
    Line,
    Patch,
    hide_data,
    numbered,
    parse_numbered,
    parse_patch,
)
from hls_handler.untrusted.cleaning import CodeText, clean
from hls_handler.untrusted.redaction import LIKE_KEY, REDACTED_KEY, redact_code

BEGIN_ABOVE = Line("RIGHT", 0, " ", "-----BEGIN PRIVATE KEY-----")
BARE_WORD = re.compile(r"\s*[A-Za-z0-9+/=]+\s*")


def number_patches(patches: Mapping[str, str], head: CommitFiles) -> Mapping[str, str]:
    """Return GitHub's patches as `number_patch` does, by path. Files of which a hunk may begin
    inside a private key are read at the head commit.
    """
    texts = {path: _number(patch) for path, patch in patches.items()}
    doubtful = [path for path, text in texts.items() if LIKE_KEY.search(text)]
    sources = read_texts(head, doubtful).value
    completed = {path: _complete(texts[path], sources.get(path)) for path in doubtful}
    return {**texts, **completed}


def number_patch(patch: str) -> str:
    """Return GitHub's patch as cleaned numbered text, with the credentials in it.

    Its file is not known: a hunk that begins with lines like those of a private key counts as one
    that begins inside of it.
    """
    text = _number(patch)
    if LIKE_KEY.search(text):
        return _complete(text, None)
    return text


def redact_patch(numbered_text: str) -> Patch:
    """Return a numbered patch as prompts show it. It is redacted before long data is hidden and the
    patch is split, because half a key has no form.
    """
    patch = hide_data(parse_numbered(redact_code(numbered_text)))
    hunks = [
        replace(hunk, lines=tuple(line for line in hunk.lines if line.number))
        for hunk in patch.hunks
    ]
    return Patch(tuple(hunks))


def _number(patch: str) -> str:
    hunks = [replace(hunk, header=_shorten(hunk.header)) for hunk in parse_patch(patch).hunks]
    return clean(CodeText(f"{numbered(Patch(tuple(hunks)))}\n"))


def _shorten(header: str) -> str:
    """Return a header without a heading that is one word. git takes the nearest line above that
    begins with a letter, which may be one of a key.
    """
    numbers = HUNK_HEADER.match(header)
    if numbers and BARE_WORD.fullmatch(header, numbers.end()):
        return numbers[0]
    return header


def _complete(numbered_text: str, source: str | None) -> str:
    """Return a patch with a line that begins a key in each hunk that begins inside of one.

    `source` is the redacted file; without it, a hunk may begin so.
    """
    source_lines: list[str] | None = None
    if source is not None:
        source_lines = source.split("\n")
    hunks = [_complete_hunk(hunk, source_lines) for hunk in parse_numbered(numbered_text).hunks]
    return f"{numbered(Patch(tuple(hunks)))}\n"


def _complete_hunk(hunk: Hunk, source_lines: list[str] | None) -> Hunk:
    first = next((line.number for line in hunk.lines if line.side == "RIGHT"), 1)
    if first == 1:
        return hunk
    if source_lines is not None and REDACTED_KEY not in "".join(source_lines[first - 1 : first]):
        return hunk
    return replace(hunk, lines=(BEGIN_ABOVE, *hunk.lines))
