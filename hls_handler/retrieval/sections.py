"""Splits a documentation file into sections: Markdown, reStructuredText and plain text.

A library for one of these formats would parse what is inside of the sections, too, which takes ten
times as long.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from hls_handler.analysis import estimate_tokens

MARKDOWN = (".md", ".markdown", ".mdx")
EXTENSIONS = (*MARKDOWN, ".rst", ".txt")
MAX_TOKENS = 600  # of one section: a longer one is split, between paragraphs if it has some
TITLE_CHARACTERS = 200  # of a section's headings

_ATX = re.compile(r" {0,3}(#{1,6})[ \t]+(\S.*)")
_FENCE = re.compile(r" {0,3}(`{3,}+(?!.*`)|~{3,})")
_UNDERLINE = re.compile(r"([=\-~^\"'`#*+.:_])\1{2,}[ \t]*")
_MARKDOWN_UNDERLINES = "=-"  # by level


class Heading(NamedTuple):
    start: int  # index of its first line
    level: int
    title: str
    lines: int  # number of lines


@dataclass(frozen=True, slots=True)
class FileSection:
    # the headings above it and its own: "Setup > Install on Debian"; "" before the first heading
    title: str
    line: int  # number of its first line, from 1
    end_line: int
    text: str  # with the heading


def split_sections(path: str, text: str) -> tuple[FileSection, ...]:
    """Return the sections of a file that have more than a heading. `path` gives the format."""
    lines = text.split("\n")
    find = find_headings if path.lower().endswith(MARKDOWN) else _find_underlined
    headings = [*find(lines), Heading(len(lines), 0, "", 0)]
    sections = [*_split_long("", lines, 0, headings[0].start, 0)]
    above: list[Heading] = []
    for heading, following in pairwise(headings):
        above = [*(outer for outer in above if outer.level < heading.level), heading]
        names = " > ".join(outer.title for outer in above)[-TITLE_CHARACTERS:]
        sections += _split_long(names, lines, heading.start, following.start, heading.lines)
    return tuple(sections)


def find_headings(lines: list[str]) -> Iterator[Heading]:
    """Yield the headings of a Markdown file: outside of fenced code, and after its front matter."""
    fence = ""
    for index in range(_find_front_matter_end(lines), len(lines)):
        line = lines[index]
        opening = _FENCE.match(line)
        if fence:
            if opening and opening[1].startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
            continue
        if opening:
            fence = opening[1]
            continue
        match = _ATX.match(line)
        style = _find_underline(lines, index)[:1]
        if match:
            yield Heading(index, len(match[1]), _without_closing(match[2].rstrip()), 1)
        elif style and style in _MARKDOWN_UNDERLINES:
            yield Heading(index, _MARKDOWN_UNDERLINES.index(style) + 1, line.strip(), 2)


def _find_front_matter_end(lines: list[str]) -> int:
    if lines[0].rstrip() != "---":
        return 0
    return next((index + 1 for index in range(1, len(lines)) if lines[index].rstrip() == "---"), 0)


def _without_closing(title: str) -> str:
    """Return the text of a heading such as "Setup ##"."""
    without = title.rstrip("#")
    if without.endswith((" ", "\t")):
        return without.rstrip()
    return title


def _find_underlined(lines: list[str]) -> Iterator[Heading]:
    """Yield the headings of a reStructuredText file. Their levels are those in which their styles
    first appear.
    """
    styles = list[str]()
    end = 0
    for index, line in enumerate(lines):
        style = _find_underline(lines, index)
        if index < end or not style:
            continue
        key = style[0]
        is_overlined = index > end and lines[index - 1].rstrip() == style
        if is_overlined:
            key += "/"
        if key not in styles:
            styles.append(key)
        level = styles.index(key) + 1
        yield Heading(index - is_overlined, level, line.strip(), 2 + is_overlined)
        end = index + 2


def _find_underline(lines: list[str], index: int) -> str:
    """Return the line below if it makes the line a heading, else ""."""
    title = lines[index].strip()
    if index + 1 == len(lines) or not 0 < len(title) <= TITLE_CHARACTERS:
        return ""
    below = lines[index + 1].rstrip()
    if _UNDERLINE.fullmatch(lines[index]) or not _UNDERLINE.fullmatch(below):
        return ""
    return below if len(below) + 2 >= len(title) else ""


def _split_long(
    title: str, lines: list[str], start: int, end: int, heading: int
) -> Iterator[FileSection]:
    """Yield the lines from `start` to `end`, of which the first `heading` ones are the heading, as
    sections.
    """
    body = start + heading
    tokens = 0
    paragraph = 0
    has_text = False  # beside the heading
    for index in range(start, end):
        more = estimate_tokens(lines[index]) + 1
        while has_text and tokens + more > MAX_TOKENS:
            cut = paragraph or index
            yield _section(title, lines, start, cut)
            start = cut
            paragraph = 0
            tokens = sum(estimate_tokens(line) + 1 for line in lines[start:index])
            has_text = any(line.strip() for line in lines[start:index])
        tokens += more
        if lines[index].strip():
            has_text = has_text or index >= body
        elif has_text:
            paragraph = index + 1
    if has_text:
        yield _section(title, lines, start, end)


def _section(title: str, lines: list[str], start: int, end: int) -> FileSection:
    while not lines[start].strip():
        start += 1
    text = "\n".join(lines[start:end]).rstrip()
    while estimate_tokens(text) > MAX_TOKENS:  # a very long line
        text = text[: len(text) * MAX_TOKENS // estimate_tokens(text)]
    return FileSection(title, start + 1, start + len(text.split("\n")), text)
