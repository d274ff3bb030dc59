"""Sanitizing of untrusted Markdown for comments: readable, without mentions, closing keywords, images or commands.

`inline` sanitizes lines outside of code. This module rewrites the block structure so that GitHub parses it as we did.
A code block gets a fence longer than any run of backticks in it, indented by at most three spaces, and no line of it is
indented less, so that the fence is valid in any list or quote. Quotes start at the left margin, with a marker on every
line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from hls_handler.untrusted.cleaning import CodeText, clean, truncate
from hls_handler.untrusted.inline import BREAK, escape_markup, sanitize_code, sanitize_line
from hls_handler.untrusted.redaction import redact
from hls_handler.untrusted.stranger import MarkdownFormatter

LONGEST_TEXT = 30_000
"""Limit on the characters of one text in a comment, which may have 65,536 in total."""

FENCE = re.compile(
    r"(?P<indent>[ \t]*+)(?P<marks>(?:(?:[-*+]|[0-9]{1,9}[.)])[ \t]+)*)"
    r"(?P<fence>`{3,}+(?=[^`]*$)|~{3,}+)(?P<language>[ \t]*[\w+#.-]*)"
)
QUOTE = re.compile(r" {0,3}> ?")
MAX_QUOTE_DEPTH = 5

RENDERED_LANGUAGES = frozenset({"mermaid", "math", "geojson", "topojson", "stl", "suggestion"})
"""Languages of code blocks that GitHub renders as something other than code."""

UNSAFE_SCHEME = re.compile(r"(?!https?:|mailto:)[a-z][a-z0-9+.-]*:", re.IGNORECASE)

JOINING_ENDS = ("!", "]", "&", "@", "\uff20", "`", "\\")
"""Endings that would combine with the text after them to an image, link, entity, mention or code."""

BLOCK_MARKER = re.compile(r"(?:[#>+*=-]|[0-9]{1,9}(?=[.)]))")
FENCE_IN_FENCE = re.compile(r"^([ \t>]*[`~])(?=[`~]{2})", re.MULTILINE)


def sanitize_blocks(text: str) -> str:
    """Sanitize Markdown blocks for a comment. Adds a newline at the start or end if a block needs its own line."""
    lines = _sanitize_blocks(_clean_text(text).split("\n"), depth=0)
    if FENCE.match(lines[0]) or QUOTE.match(lines[0]):
        lines.insert(0, "")
    if FENCE.match(lines[-1]) or QUOTE.match(lines[-1]):
        lines.append("")
    return _seal("\n".join(lines))


def sanitize_inline(text: str) -> str:
    """Sanitize a text as one line of Markdown, for table cells, headings and list items."""
    line = sanitize_line(" ".join(_clean_text(text).split()))
    line = re.sub(r"\\.|\|", lambda found: "\\|" if found[0] == "|" else found[0], line)
    mark = BLOCK_MARKER.match(line)
    if mark is not None:
        end = mark.end() if mark[0].isdigit() else 0
        line = f"{line[:end]}\\{line[end:]}"
    return _seal(line)


@dataclass(frozen=True, slots=True)
class _CommentFormatter(MarkdownFormatter):
    """`TextFormatter` for comments: sanitizes untrusted text for its context in the template's Markdown."""

    in_text: Callable[[str], str]

    def __call__(self, text: str, nonce: str) -> str:  # noqa: ARG002 (a comment has no delimiters)
        return self.in_text(truncate(text, LONGEST_TEXT))

    def in_code_span(self, text: str) -> str:
        """Sanitize for a code span of the template: one line without backticks, bars escaped for tables."""
        line = " ".join(_clean_text(truncate(text, LONGEST_TEXT)).split())
        return sanitize_code(line.replace("`", "ˋ").replace("|", "\\|")) or " "  # an empty code span is not code

    def in_code_block(self, text: str) -> str:
        """Sanitize for a code block of the template: no line closes its fence."""
        lines = _clean_text(truncate(text, LONGEST_TEXT)).split("\n")
        return FENCE_IN_FENCE.sub(rf"\g<1>{BREAK}", "\n".join(sanitize_code(line) for line in lines))

    def in_link_target(self, text: str) -> str:
        """Sanitize for the target of a link in the template: cannot end the target early, and has a safe scheme."""
        url = quote("".join(_clean_text(truncate(text, LONGEST_TEXT)).split()), safe="/:?#=&%+,;~").replace(
            "&", "&amp;"
        )
        return url.replace(":", "%3A") if UNSAFE_SCHEME.match(url) else url

    def in_html(self, text: str) -> str:
        """Sanitize for a line with HTML of the template, where Markdown may be parsed or not: one line of text."""
        return escape_markup(" ".join(_clean_text(truncate(text, LONGEST_TEXT)).split()))


format_for_comment = _CommentFormatter(sanitize_blocks)
"""`TextFormatter` for comments."""

format_for_cell = _CommentFormatter(sanitize_inline)
"""`TextFormatter` for a single line in comments: table cells, headings, list items."""


def _clean_text(text: str) -> str:
    """Clean and redact a text. HTML comments are kept, because sanitizing makes them visible."""
    return redact(clean(CodeText(text)))


def _seal(text: str) -> str:
    """Append a zero-width space if the end of the text could combine with what follows."""
    return f"{text}{BREAK}" if text.endswith(JOINING_ENDS) else text


def _sanitize_blocks(lines: Sequence[str], *, depth: int) -> list[str]:
    sanitized: list[str] = []
    at = 0
    while at < len(lines):
        fence = FENCE.match(lines[at])
        if fence is not None:
            end = _find_end_of_code(lines, at + 1, fence["fence"])
            sanitized += _sanitize_code_block(fence, lines[at + 1 : end])
            at = end + 1
        elif depth < MAX_QUOTE_DEPTH and QUOTE.match(lines[at]):
            end = next((i for i in range(at, len(lines)) if not QUOTE.match(lines[i])), len(lines))
            quoted = [QUOTE.sub("", line, count=1) for line in lines[at:end]]
            sanitized += [f"> {line}" for line in _sanitize_blocks(quoted, depth=depth + 1)]
            at = end
        else:
            sanitized.append(sanitize_line(lines[at]))
            at += 1
    return sanitized


def _find_end_of_code(lines: Sequence[str], start: int, fence: str) -> int:
    """Index of the closing fence; the number of lines if the block is not closed."""
    closing = re.compile(rf"[ \t]*+{re.escape(fence)}{re.escape(fence[0])}*+[ \t]*")
    return next((i for i in range(start, len(lines)) if closing.fullmatch(lines[i])), len(lines))


def _sanitize_code_block(opening: re.Match[str], code: Sequence[str]) -> list[str]:
    before = f"{opening['indent']}{opening['marks']}".expandtabs(4)
    indent = " " * min(len(before), 3)
    longest = max((len(run) for line in code for run in re.findall("`+", line)), default=0)
    fence = "`" * max(longest + 1, 3)
    language = opening["language"].strip()
    # A marker without text would make the line before it a heading.
    item = [f"{opening['indent']}{opening['marks']}&nbsp;"] if opening["marks"] else []
    inside = [sanitize_code(f"{indent}{_dedent(line, len(before))}".rstrip(" ")) for line in code]
    return [
        *item,
        f"{indent}{fence}{'' if language.lower() in RENDERED_LANGUAGES else language[:40]}",
        *inside,
        f"{indent}{fence}",
    ]


def _dedent(line: str, columns: int) -> str:
    """Remove up to `columns` columns of leading white space."""
    text = line.lstrip(" \t")
    width = len(line[: len(line) - len(text)].expandtabs(4))
    return " " * max(width - columns, 0) + text
