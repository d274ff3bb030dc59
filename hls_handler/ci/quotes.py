"""Quotes: whether what is quoted from a log stands there, which tells a cause that was seen from a guess."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hls_handler.ci.excerpt import Excerpt
from hls_handler.ci.lines import LogLine
from hls_handler.untrusted.cleaning import Code, clean
from hls_handler.untrusted.redaction import redact

SHORTEST_PIECE = 12
"""Characters without blanks that a part of a line must have; fewer are a quote only as the whole line."""

NUMBER = re.compile(r"\s{0,12}[0-9]{1,9}\| ?")
QUOTATION_MARKS = "`\"'“”‘’… "


def locate(excerpts: Iterable[Excerpt], quote: str) -> LogLine | None:
    """The line that a quote stands in, or None; of a quote of several lines, its first.

    All lines of the quote must stand in one excerpt, in their order. A line may be quoted in part, with the number that
    it was shown with, and in quotation marks; blanks, case and what is invisible do not count. Rather than a line that
    has the quote in it, the one that it is.
    """
    wanted = [line for line in (_readings(text) for text in quote.split("\n")) if line]
    if not wanted:
        return None
    for holds in (_is, _has):
        for excerpt in excerpts:
            shown = [(line, _plain(line.text)) for line in excerpt.lines]
            for at, (line, text) in enumerate(shown):
                if holds(text, wanted[0]) and _follow([other for _, other in shown[at + 1 :]], wanted[1:]):
                    return line
    return None


def _follow(shown: list[str], wanted: list[list[str]]) -> bool:
    rest = iter(shown)
    return all(any(_has(text, readings) for text in rest) for readings in wanted)


def _is(text: str, readings: list[str]) -> bool:
    return text in readings


def _has(text: str, readings: list[str]) -> bool:
    return any(text == reading or (len(reading) >= SHORTEST_PIECE and reading in text) for reading in readings)


def _readings(line: str) -> list[str]:
    """What a line of a quote may mean: it as it is, and without its number or its quotation marks."""
    bare = line.strip(QUOTATION_MARKS)
    readings = (line, NUMBER.sub("", line, count=1), bare, NUMBER.sub("", bare, count=1).strip(QUOTATION_MARKS))
    return list(dict.fromkeys(reading for reading in map(_plain, readings) if reading))


def _plain(text: str) -> str:
    """A text as Claude saw it, without blanks and case."""
    return "".join(redact(clean(Code(text))).split()).casefold()
