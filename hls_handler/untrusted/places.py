"""Where in the Markdown of our own template a token stands, before its text is put there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from hls_handler.untrusted.inline import BREAK
from hls_handler.untrusted.tokens import CLOSE, TOKEN

Place = tuple[Literal["text", "code_span", "code_block", "link_target", "html"], str]
"""And what goes before the text: nothing, or a break; in a code block, before each further line, what its lines begin
with."""

LINE_START = re.compile(r"[ \t>]*")
FENCE = re.compile(r"`{3,}|~{3,}")
TAG = re.compile(r"</?[A-Za-z]")
CODE_SPAN = re.compile(r"(`+)[^`]+?\1(?!`)")
LINK_TARGET = re.compile(r"\]\([^()\s]*$")
GLUE = ("!", "@", "<", "&", "]", "\\", CLOSE)
"""What would make something else of a text right behind it: an image, a mention, a tag, an entity, a link."""


def places(rendered: str) -> Iterator[Place]:
    """The place of each token, in order. Our templates are trusted to be sane Markdown, so plain rules will do."""
    fence = ""
    in_html_block = False
    for line in rendered.split("\n"):
        start = LINE_START.match(line)
        prefix = start[0] if start else ""
        text = line[len(prefix) :]
        if fence:
            if text.startswith(fence) and not text.strip(fence[0]).strip():
                fence = ""
        elif (opening := FENCE.match(text)) is not None and "`" not in text.lstrip("`"):
            fence = opening[0]
        in_html_block = bool(text.strip()) and (in_html_block or TAG.match(text) is not None)
        for token in TOKEN.finditer(line):
            if fence:
                yield "code_block", prefix
            else:
                yield _in_line(CODE_SPAN.sub("", line[: token.start()]), in_html=in_html_block)


def _in_line(before: str, *, in_html: bool) -> Place:
    """The place behind `before`, which is what our template has on the line, without its whole code spans."""
    if in_html or TAG.search(before):
        return "html", ""
    if "`" in before.replace("\\`", ""):
        return "code_span", ""
    glue = BREAK if before.endswith(GLUE) else ""
    return ("link_target", "") if LINK_TARGET.search(before) else ("text", glue)
