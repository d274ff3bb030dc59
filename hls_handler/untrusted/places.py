"""Markdown context of each placeholder in a rendered template, which decides how its text is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from hls_handler.untrusted.inline import BREAK
from hls_handler.untrusted.tokens import PLACEHOLDER, PLACEHOLDER_END

MarkdownContext = tuple[Literal["text", "code_span", "code_block", "link_target", "html"], str]
"""Kind of context, and a prefix: for "text" a zero-width space or nothing before the text; for "code_block" the prefix
of its lines, which is inserted before each further line."""

LINE_START = re.compile(r"[ \t>]*")
FENCE = re.compile(r"`{3,}|~{3,}")
TAG = re.compile(r"</?[A-Za-z]")
CODE_SPAN = re.compile(r"(`+)[^`]+?\1(?!`)")
LINK_TARGET = re.compile(r"\]\([^()\s]*$")
JOINING_ENDS = ("!", "@", "<", "&", "]", "\\", PLACEHOLDER_END)
"""Endings that would combine with the text after them to an image, mention, tag, entity or link."""


def find_contexts(rendered: str) -> Iterator[MarkdownContext]:
    """Yield the context of each placeholder in order. Simple rules suffice, because templates are trusted Markdown."""
    open_fence = ""
    in_html_block = False
    for line in rendered.split("\n"):
        start = LINE_START.match(line)
        prefix = start[0] if start else ""
        text = line[len(prefix) :]
        if open_fence:
            if text.startswith(open_fence) and not text.strip(open_fence[0]).strip():
                open_fence = ""
        elif (opening := FENCE.match(text)) is not None and "`" not in text.lstrip("`"):
            open_fence = opening[0]
        in_html_block = bool(text.strip()) and (in_html_block or TAG.match(text) is not None)
        for placeholder in PLACEHOLDER.finditer(line):
            if open_fence:
                yield "code_block", prefix
            else:
                yield _context_in_line(CODE_SPAN.sub("", line[: placeholder.start()]), in_html=in_html_block)


def _context_in_line(before: str, *, in_html: bool) -> MarkdownContext:
    """Context after `before`, which is the template's line so far, without complete code spans."""
    if in_html or TAG.search(before):
        return "html", ""
    if "`" in before.replace("\\`", ""):
        return "code_span", ""
    separator = BREAK if before.endswith(JOINING_ENDS) else ""
    return ("link_target", "") if LINK_TARGET.search(before) else ("text", separator)
