"""Finds the line that a reply quotes from a log. A quote that no log contains is a guess by Claude."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hls_handler.ci.excerpt import Excerpt
from hls_handler.ci.lines import LogLine
from hls_handler.untrusted.cleaning import CodeText, clean
from hls_handler.untrusted.redaction import redact

MIN_PARTIAL_CHARS = 12
"""Minimum length, without blanks, of a quote that is part of a line; a shorter quote must be the whole line."""

LINE_NUMBER = re.compile(r"\s{0,12}[0-9]{1,9}\| ?")
QUOTATION_MARKS = "`\"'“”‘’… "


def locate(excerpts: Iterable[Excerpt], quote: str) -> LogLine | None:
    """Return the line that contains the quote, or the first line of a longer quote; None if there is none.

    All lines of the quote must be in one excerpt, in order. A line may be quoted in part, with its line number, and in
    quotation marks; blanks, case and invisible characters are ignored. A line that equals the quote is preferred to a
    line that contains it.
    """
    wanted = [line for line in (_variants(text) for text in quote.split("\n")) if line]
    if not wanted:
        return None
    for matches in (_equals, _contains):
        for excerpt in excerpts:
            shown = [(line, _normalize(line.text)) for line in excerpt.lines]
            for index, (line, text) in enumerate(shown):
                if matches(text, wanted[0]) and _continue_in([other for _, other in shown[index + 1 :]], wanted[1:]):
                    return line
    return None


def _continue_in(shown: list[str], wanted: list[list[str]]) -> bool:
    remaining = iter(shown)
    return all(any(_contains(text, variants) for text in remaining) for variants in wanted)


def _equals(text: str, variants: list[str]) -> bool:
    return text in variants


def _contains(text: str, variants: list[str]) -> bool:
    return any(text == variant or (len(variant) >= MIN_PARTIAL_CHARS and variant in text) for variant in variants)


def _variants(line: str) -> list[str]:
    """Return the variants of a quoted line: unchanged, and without its number or quotation marks."""
    unquoted = line.strip(QUOTATION_MARKS)
    variants = (
        line,
        LINE_NUMBER.sub("", line, count=1),
        unquoted,
        LINE_NUMBER.sub("", unquoted, count=1).strip(QUOTATION_MARKS),
    )
    return list(dict.fromkeys(variant for variant in map(_normalize, variants) if variant))


def _normalize(text: str) -> str:
    """Return the text as Claude saw it, without blanks and in one case."""
    return "".join(redact(clean(CodeText(text))).split()).casefold()
