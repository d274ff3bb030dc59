"""Splits a documentation file into sections: Markdown, reStructuredText and plain text.

A library for one of these formats would parse what is inside of the sections, too, which takes ten times as long.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from hls_handler.prompting.render import estimate_tokens

EXTENSIONS = (".md", ".markdown", ".mdx", ".rst", ".txt")
MAX_TOKENS = 600  # of one section: a longer one is split, between paragraphs if it has some
TITLE_CHARACTERS = 200  # of a section's headings

_ATX = re.compile(r" {0,3}(#{1,6})[ \t]+(\S.*?)[ \t#]*")
_UNDERLINE = re.compile(r"([=\-~^\"'`#*+.:_])\1{2,}[ \t]*")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


@dataclass(frozen=True, slots=True)
class Section:
    title: str  # the headings above it and its own: "Setup > Install on Debian"; "" before the first heading
    line: int  # number of its first line, from 1
    end_line: int
    text: str  # with the heading


def split_sections(text: str) -> tuple[Section, ...]:
    """Return the sections of a file that have more than a heading."""
    lines = text.split("\n")
    headings = [*_find_headings(lines), (len(lines), 0, "", 0)]
    found = [*_split_long("", lines, 0, headings[0][0], 0)]
    above: list[tuple[int, str]] = []
    for (start, level, title, length), following in pairwise(headings):
        above = [*(one for one in above if one[0] < level), (level, title)]
        names = " > ".join(name for _, name in above)[-TITLE_CHARACTERS:]
        found += _split_long(names, lines, start, following[0], length)
    return tuple(found)


def _find_headings(lines: list[str]) -> Iterator[tuple[int, int, str, int]]:
    """Yield (index of the first line, level, text, number of lines) of each heading outside of fenced code."""
    fence, styles, skipped = "", list[str](), -1
    for index, line in enumerate(lines):
        opening = _FENCE.match(line)
        if fence or opening:
            if not fence and opening:
                fence = opening[1]
            elif opening and opening[1].startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
        elif found := _ATX.fullmatch(line):
            yield index, len(found[1]), found[2], 1
        elif index > skipped and _is_underlined(lines, index):
            overline = index > 0 and _UNDERLINE.fullmatch(lines[index - 1])
            style = lines[index + 1][0] + ("/" if overline else "")
            if style not in styles:
                styles.append(style)
            yield index - bool(overline), styles.index(style) + 1, line.strip(), 2 + bool(overline)
            skipped = index + 1


def _is_underlined(lines: list[str], index: int) -> bool:
    title = lines[index].strip()
    if not title or _UNDERLINE.fullmatch(lines[index]) or index + 1 == len(lines) or len(title) > TITLE_CHARACTERS:
        return False
    return _UNDERLINE.fullmatch(lines[index + 1]) is not None and len(lines[index + 1].rstrip()) + 2 >= len(title)


def _split_long(title: str, lines: list[str], start: int, end: int, heading: int) -> Iterator[Section]:
    """Yield the lines from `start` to `end`, of which the first `heading` ones are the heading, as sections."""
    if not any(line.strip() for line in lines[start + heading : end]):
        return
    tokens, paragraph = 0, start
    for index in range(start, end):
        more = estimate_tokens(lines[index]) + 1
        if tokens + more > MAX_TOKENS and index > start:
            cut = paragraph if paragraph > start + heading else index
            yield _section(title, lines, start, cut)
            start, heading = cut, 0
            tokens = sum(estimate_tokens(line) + 1 for line in lines[start:index])
        tokens += more
        if not lines[index].strip():
            paragraph = index + 1
    if any(line.strip() for line in lines[start:end]):
        yield _section(title, lines, start, end)


def _section(title: str, lines: list[str], start: int, end: int) -> Section:
    text = "\n".join(lines[start:end])
    while estimate_tokens(text) > MAX_TOKENS:  # a very long line
        text = text[: len(text) * MAX_TOKENS // estimate_tokens(text)]
    return Section(title, start + 1, start + len(text.rstrip().split("\n")), text.rstrip())
