"""Conversion of Markdown and of diffs to safe HTML, for the web pages of the stand-in GitHub."""

from __future__ import annotations

import html
import re

from markdown_it import MarkdownIt

COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
HARMLESS = re.compile(r"&lt;(/?(?:details|summary|sub|sup|kbd|br))\s*/?&gt;", re.IGNORECASE)
"""Escaped tags that GitHub allows and that do no harm; only without attributes."""

TASK = re.compile(r"(<li>\s*(?:<p>)?)\[([ xX])\] ")
BOXES = {" ": "\u2610", "x": "\u2611"}


def rendered(body: str) -> str:
    """Convert Markdown to safe HTML. The pages' Content-Security-Policy keeps images from being
    loaded.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    shown = HARMLESS.sub(r"<\1>", str(parser.render(COMMENT.sub("", body))))
    shown = shown.replace("<pre>", '<pre tabindex="0">')  # it can be scrolled with the keyboard
    return TASK.sub(
        lambda task: f'{task[1]}<span class="box">{BOXES[task[2].lower()]}</span> ', shown
    )


def diff_lines(text: str) -> str:
    """Return a diff as HTML, in which each line has a class such as "plus" for its colour."""
    classes = {"+": ' class="plus"', "-": ' class="minus"', "@": ' class="hunk"'}
    lines = text.removesuffix("\n").split("\n")
    return "\n".join(
        f"<span{classes.get(line[:1], '')}>{html.escape(line)}</span>" for line in lines
    )
